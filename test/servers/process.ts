// What all servers of tests share: a free port, a start that is noticed, and an end that leaves nothing behind.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { tellReaper } from "./reaper.ts";

/** A server that a test may use until it calls `stop`. */
export interface TestServer {
  /** Where clients connect to. */
  readonly url: string;
  /** Ends the server and removes its data; an outside one given by a variable goes on. */
  stop(): Promise<void>;
}

/** Another process may take the free port before the server does: so many tries. */
const TRIES = 5;
/** Longest wait in milliseconds for a server to be ready. */
const START_TIMEOUT = 30_000;
/**
 * Where free ports are looked for: below the ports that systems give to outgoing connections, so that nobody
 * takes the port of a server which is down for a moment; plus 10,000 (Redis Cluster's bus) they still are.
 */
const PORTS = { first: 10_000, count: 12_000 };

/** How to start a server, and how to see that it is ready. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** What it writes once it is ready, or a question that is asked every few milliseconds. */
  readonly ready: RegExp | (() => boolean);
}

/** A new folder for one server. */
export async function serverFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `caching-universal-${name}-`));
  tellReaper("folder", folder);
  return folder;
}

/** Removes a server's folder and all in it. */
export async function removeFolder(folder: string): Promise<void> {
  // A process of the server may still be writing its last file.
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** The folder on the PATH that has all these programs. */
export function folderOnPath(names: readonly string[], more: readonly string[] = []): string | undefined {
  return [...(process.env.PATH ?? "").split(delimiter), ...more].find((folder) =>
    names.every((name) => existsSync(join(folder, name))),
  );
}

/** Waits until a command has ended well, and gives what it wrote. */
export async function run(
  command: string,
  args: readonly string[],
  options: Pick<Launch, "user"> & { readonly cwd?: string; readonly anyEnd?: boolean } = {},
): Promise<string> {
  const { anyEnd = false, user, ...rest } = options;
  const child = spawn(command, args, { ...user, ...rest, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on("error", reject).on("close", resolve),
  );
  if (code !== 0 && !anyEnd) throw new Error(`${child.spawnargs.join(" ")} ended with ${code}:\n${output}`);
  return output;
}

/** Starts a server on a free port, again on another one when that was taken meanwhile. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (left <= 1 || !isPortTaken(error)) throw error;
    }
  }
}

/** Whether a server could not start because somebody else listens on its port. */
export function isPortTaken(error: unknown): boolean {
  return error instanceof Error && /in use|EADDRINUSE/i.test(error.message);
}

/** A port of the loopback interface that nobody listens on, nor on the port 10,000 above it. */
export async function freePort(): Promise<number> {
  for (let left = 100; left > 0; left--) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
  throw new Error("No loopback port is free.");
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.on("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
  });
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}

/** Starts a server and resolves once it is ready; rejects with its output when it ended before. */
export async function launch({ command, args, ready, user, ...options }: Launch): Promise<ChildProcess> {
  const child = spawn(command, args, { ...user, ...options, stdio: ["ignore", "pipe", "pipe"] });
  // A test run that dies takes its servers with it.
  const { pid } = child;
  if (pid !== undefined) {
    tellReaper("started", pid);
    child.once("exit", () => tellReaper("ended", pid));
  }
  try {
    await readiness(child, ready);
    return child;
  } catch (error) {
    await end(child, "SIGKILL");
    throw error;
  }
}

function readiness(child: ChildProcess, ready: Launch["ready"]): Promise<void> {
  let poll: NodeJS.Timeout | undefined;
  let timer: NodeJS.Timeout | undefined;
  const answer = new Promise<void>((resolve, reject) => {
    let output = "";
    poll = setInterval(() => {
      if (typeof ready === "function" && ready()) resolve();
    }, 5);
    timer = setTimeout(() => fail("was not ready in time"), START_TIMEOUT);
    const fail = (why: string) => reject(new Error(`${child.spawnfile} ${why}:\n${output}`));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk) => {
        // Read on afterwards too, or the server stalls on a full pipe; only the start is kept.
        if (output.length < 65_536) output += chunk;
        if (ready instanceof RegExp && ready.test(output)) resolve();
      });
    }
    child.on("error", (error) => fail(error.message));
    // Not "exit": what it wrote last is read by then.
    child.on("close", (code, signal) => fail(`ended with ${code ?? signal}`));
  });
  return answer.finally(() => {
    clearInterval(poll);
    clearTimeout(timer);
  });
}

/** Sends the signal and waits for the end, if the process has not ended. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (hasEnded(child)) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

/** Whether the process is gone, or never was. */
export function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Resolves once the process does nothing any more: SIGSTOP takes effect a moment after it was sent. */
export async function stopped(child: ChildProcess): Promise<void> {
  const file = `/proc/${child.pid}/stat`;
  if (!existsSync(file)) return;
  // The state is the first field after the program's name, which is in parentheses.
  while (!hasEnded(child) && !/\) T /.test(readFileSync(file, "utf8"))) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
