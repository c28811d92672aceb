import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Database } from "../database.ts";
import { SettingError, WORKER } from "../settings.ts";
import { lentDatabase } from "./lent-database.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";

const MAIN = join(import.meta.dirname, "../main.ts");
/** Milliseconds between the end of a worker and its next start: at first, and at most when it keeps failing. */
const PAUSE = { first: 1_000, most: 30_000 };
/** Milliseconds a worker gets to end in order. */
const ENDING = 8_000;

/** A worker that serves. */
export interface Worker {
  readonly number: number;
  readonly pid: number;
  readonly address: string;
  readonly layers: readonly string[];
}

/** The processes of the shop. */
export interface Workers {
  /** Those that serve now. */
  list(): readonly Worker[];
  /** Ends all of them. */
  close(): Promise<void>;
}

/**
 * Starts workers and resolves once all of them serve. A worker that dies is started again on its port.
 * @throws {SettingError} when one of them cannot start; the others are ended then.
 */
export async function startWorkers(
  starts: readonly WorkerStart[],
  database: Pick<Database, "query" | "transaction">,
  say: (line: string) => void,
): Promise<Workers> {
  const posts = starts.map((start) => new Post(start, database, say));
  const close = async () => {
    await Promise.all(posts.map((post) => post.close()));
  };
  try {
    await Promise.all(posts.map((post) => post.first));
  } catch (error) {
    await close();
    throw error;
  }
  return { list: () => posts.flatMap((post) => post.worker ?? []), close };
}

/** The place of one worker, which is filled again when it dies. */
class Post {
  /** Resolves once it serves for the first time. */
  readonly first: Promise<void>;
  worker: Worker | undefined;
  readonly #start: WorkerStart;
  readonly #database: Pick<Database, "query" | "transaction">;
  readonly #say: (line: string) => void;
  readonly #served = Promise.withResolvers<void>();
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #port: number | undefined;
  #pause = PAUSE.first;
  #again: NodeJS.Timeout | undefined;
  #ending = false;

  constructor(
    start: WorkerStart,
    database: Pick<Database, "query" | "transaction">,
    say: (line: string) => void,
  ) {
    this.#start = start;
    this.#database = database;
    this.#say = say;
    this.first = this.#served.promise;
    this.#fill();
  }

  async close(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#again);
    const child = this.#child;
    if (child === undefined) return;
    this.#send(child, { end: true });
    const deadline = setTimeout(() => child.kill("SIGKILL"), ENDING);
    await this.#gone;
    clearTimeout(deadline);
  }

  #fill(): void {
    // Values keep their types on the way: dates, bytes and large numbers are none in JSON.
    const child = fork(MAIN, [WORKER], {
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child = child;
    const lent = lentDatabase(this.#database, (message) => this.#send(child, message));
    let failed: string | undefined;
    child.on("message", (message: FromWorker) => {
      if ("ready" in message) this.#ready(child, message.ready);
      else if ("failed" in message) failed = message.failed;
      else lent.take(message);
    });
    // Not started at all: "exit" does not come then.
    child.once("error", (error) => {
      failed ??= error.message;
      if (child.pid === undefined) child.emit("exit", null, null);
    });
    this.#gone = new Promise((done) => {
      child.once("exit", (code, signal) => {
        lent.gone();
        this.#child = undefined;
        this.worker = undefined;
        this.#ended(child.pid, failed ?? `it ended with ${signal ?? code}`);
        done();
      });
    });
    const port = this.#port;
    // Started again it takes its old port, unless another program has it by now.
    const where = port === undefined ? {} : { port: undefined, usualPort: port };
    this.#send(child, { start: { ...this.#start, ...where } });
  }

  #ready(child: ChildProcess, ready: Pick<Worker, "address" | "layers"> & { readonly port: number }): void {
    const { number } = this.#start;
    const { address, port, layers } = ready;
    this.worker = { number, pid: child.pid ?? -1, address, layers };
    this.#pause = PAUSE.first;
    if (this.#port !== undefined) this.#say(`Process ${number} serves again: pid ${child.pid}, ${address}`);
    this.#port = port;
    this.#served.resolve();
  }

  #ended(pid: number | undefined, why: string): void {
    if (this.#ending) return;
    const { number } = this.#start;
    if (this.#port === undefined) {
      this.#served.reject(new SettingError(`Process ${number} does not start: ${why}`));
      return;
    }
    const pause = this.#pause;
    this.#pause = Math.min(2 * pause, PAUSE.most);
    this.#say(`Process ${number} (pid ${pid}) is gone: ${why}. It is started again in ${pause / 1_000} s.`);
    this.#again = setTimeout(() => this.#fill(), pause);
  }

  #send(child: ChildProcess, message: ToWorker): void {
    // To a worker that has just died nothing can be sent; its end is told by "exit".
    if (child.connected) child.send(message, undefined, undefined, () => {});
  }
}
