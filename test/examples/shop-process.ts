import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../examples/shop/main.ts");

/** An answer of the service. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  /** `Cache-Status`, or nothing. */
  readonly cache: string;
  readonly text: string;
  /** The parsed JSON, where it is JSON. */
  readonly body: unknown;
}

/** The shop in a process of its own. */
export interface Service {
  readonly address: string;
  output(): string;
  /** Waits until it has printed something. */
  printed(pattern: RegExp | string): Promise<RegExpMatchArray>;
  ask(method: string, path: string, body?: unknown): Promise<Answered>;
  /** Statements its database ran so far. */
  statements(): Promise<number>;
  /** Ends it, and resolves with its exit code (null: by the signal). */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts the program; `end` it, or wait until it has ended. `env`: settings besides those of all tests. */
export function launch(
  data: string,
  args: readonly string[],
  more: Readonly<Record<string, string | undefined>> = {},
) {
  const env = { PATH: process.env.PATH, SHOP_DATA: data, SHOP_PRODUCTS: "500", PORT: "0", ...more };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((done) => child.once("close", done));
  let output = "";
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      for (const watch of watchers) watch();
    });
  /** Waits for what the process prints; it fails when the process ends before. */
  const printed = (pattern: RegExp | string) =>
    new Promise<RegExpMatchArray>((done, fail) => {
      const watch = () => {
        const match = output.match(pattern);
        if (match === null) return;
        watchers.delete(watch);
        done(match);
      };
      watchers.add(watch);
      watch();
      void ended.then((code) =>
        fail(new Error(`The shop ended with ${code} before "${pattern}":\n${output}`)),
      );
    });
  return {
    child,
    ended,
    printed,
    output: () => output,
    end: (signal: NodeJS.Signals) => kill(child, ended, signal),
  };
}

async function kill(child: ChildProcess, ended: Promise<number | null>, signal: NodeJS.Signals) {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  return ended;
}

/** Starts the service on a free port and waits for its address, or for another text and then kills it. */
export async function start(data: string, how?: { env: Readonly<Record<string, string>> }): Promise<Service>;
export async function start(data: string, how: { until: string; kill: true }): Promise<undefined>;
export async function start(
  data: string,
  how: { env?: Readonly<Record<string, string>>; until?: string } = {},
): Promise<Service | undefined> {
  const { printed, output, end } = launch(data, [], how.env);
  if (how.until !== undefined) {
    await printed(how.until);
    await end("SIGKILL");
    return undefined;
  }
  const address = (await printed(/Listening on (\S+)\n/))[1] ?? "";
  const ask = asker(address);
  return {
    address,
    output,
    printed,
    ask,
    statements: async () =>
      ((await ask("GET", "/cache/stats")).body as { database: { statements: number } }).database.statements,
    end,
  };
}

/** Asks the service at an address. */
export function asker(address: string): Service["ask"] {
  return async (method, path, body) => {
    const sent =
      body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const response = await fetch(address + path, { method, ...sent });
    const text = await response.text();
    const json = /^application\/json/.test(response.headers.get("content-type") ?? "") && text !== "";
    return {
      status: response.status,
      headers: response.headers,
      cache: response.headers.get("cache-status") ?? "",
      text,
      body: json ? JSON.parse(text) : undefined,
    };
  };
}

/** Runs the shop with arguments to its end. */
export async function run(
  data: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; output: string }> {
  const { ended, output } = launch(data, args, env);
  return { code: await ended, output: output() };
}
