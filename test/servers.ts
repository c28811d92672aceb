// Real servers for tests: private ones, on free loopback ports, with their data in a temporary folder.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

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
 * Starts a PostgreSQL for tests, or uses the database that `TEST_DATABASE_URL` names (then shared by all
 * tests, so they give their tables names of their own and drop them).
 */
export async function startPostgres(): Promise<TestServer> {
  const outside = process.env.TEST_DATABASE_URL;
  if (outside !== undefined && outside !== "") return { url: outside, stop: async () => {} };
  const bin = postgresBinaries();
  const user = serverUser();
  const folder = await mkdtemp(join(tmpdir(), "caching-universal-postgres-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    if (user !== undefined) await chown(folder, user.uid, user.gid);
    const data = join(folder, "data");
    await run(
      spawnAs(user, folder, join(bin, "initdb"), [
        ...["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
      ]),
    );
    const { child, port } = await onFreePort((port) => {
      const settings = [
        ["listen_addresses", "127.0.0.1"],
        ["port", port],
        ["unix_socket_directories", ""],
        // What is written need not survive a crash of the machine.
        ["fsync", "off"],
        ["synchronous_commit", "off"],
        ["full_page_writes", "off"],
        ["shared_buffers", "32MB"],
        ["lc_messages", "C"],
      ];
      const args = ["-D", data, ...settings.flatMap(([name, value]) => ["-c", `${name}=${value}`])];
      return spawnAs(user, folder, join(bin, "postgres"), args);
    }, /database system is ready to accept connections/);
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    return {
      url,
      async stop() {
        // The immediate shutdown: nobody needs the data, and clients left behind do not delay it.
        await end(child, "SIGQUIT");
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The folder of `initdb` and `postgres`: on the PATH, else the newest that Debian's packages installed. */
function postgresBinaries(): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const folders = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin")),
  ];
  const found = folders.find((folder) =>
    ["initdb", "postgres"].every((name) => existsSync(join(folder, name))),
  );
  if (found !== undefined) return found;
  throw new Error(
    "PostgreSQL is not installed: run `bash scripts/install-servers.sh`, or set TEST_DATABASE_URL.",
  );
}

/** PostgreSQL refuses to run as root: then its own user does it, or one without rights. */
function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const wanted of ["postgres", "nobody"]) {
    const entry = users.find(([name]) => name === wanted);
    if (entry !== undefined) return { uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error("PostgreSQL does not run as root, and this machine has no user `postgres` or `nobody`.");
}

function spawnAs(
  user: { readonly uid: number; readonly gid: number } | undefined,
  cwd: string,
  command: string,
  args: readonly string[],
): ChildProcess {
  return spawn(command, args, { ...user, cwd, stdio: ["ignore", "ignore", "pipe"] });
}

/** Waits until a command has ended well. */
async function run(child: ChildProcess): Promise<void> {
  let output = "";
  child.stderr?.on("data", (chunk) => {
    output += chunk;
  });
  const code = await new Promise<number | null>((resolve, reject) =>
    child.on("error", reject).on("close", resolve),
  );
  if (code !== 0) throw new Error(`${child.spawnargs.join(" ")} ended with ${code}:\n${output}`);
}

/** Starts a server on a free port, again on another one when that was taken meanwhile. */
async function onFreePort(
  start: (port: number) => ChildProcess,
  ready: RegExp,
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  for (let left = TRIES; ; left--) {
    const port = await freePort();
    const child = start(port);
    try {
      await readiness(child, ready);
      return { child, port };
    } catch (error) {
      await end(child, "SIGKILL");
      if (left <= 1) throw error;
    }
  }
}

/** A port of the loopback interface that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("No loopback port is free.");
  return address.port;
}

/** Resolves once the server has written that it is ready; rejects with its output when it ended before. */
function readiness(child: ChildProcess, ready: RegExp): Promise<void> {
  // A test run that dies takes its servers with it.
  const killOnExit = () => child.kill("SIGKILL");
  process.once("exit", killOnExit);
  return new Promise((resolve, reject) => {
    let output = "";
    const fail = (why: string) => reject(new Error(`${child.spawnfile} ${why}:\n${output}`));
    const timer = setTimeout(() => fail("was not ready in time"), START_TIMEOUT);
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code, signal) => {
      process.off("exit", killOnExit);
      fail(`ended with ${code ?? signal}`);
    });
    child.stderr?.on("data", (chunk) => {
      // Read on afterwards too, or the server stalls on a full pipe; only the start is kept.
      if (output.length < 65_536) output += chunk;
      if (ready.test(output)) {
        clearTimeout(timer);
        resolve();
      }
    });
    child.on("close", () => clearTimeout(timer));
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}
