import type { RootDatabase } from "lmdb";
import { reason, StoreError } from "../../base/errors.ts";

interface Job {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Longest time in milliseconds that one transaction takes on jobs. Their callbacks run on the event loop, and
 * meanwhile other processes wait for the lock; a bound in jobs would bound neither, since jobs differ.
 */
const BUDGET = 5;

/** What the queue writes to. */
export interface WriteTarget {
  /** The database to write to now. Throws when there is none. */
  root(): RootDatabase<Buffer, Buffer>;
  /** Looks whether the file is still in its place, and opens the new one when not. False: it was replaced. */
  verify(): boolean;
  /** Told of what a job or a commit failed with. */
  failed(error: unknown): void;
}

/** Group commit: jobs that wait while a transaction is committed share the next one, up to a bounded time. */
export class WriteQueue {
  readonly #target: WriteTarget;
  #jobs: Job[] = [];
  #running: Promise<void> | undefined;

  constructor(target: WriteTarget) {
    this.#target = target;
  }

  /** Runs `work` in a write transaction. Resolves once it is committed to the file that is in its place then. */
  add<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // A job resolves with what its own work returned.
      this.#jobs.push({ work, resolve: resolve as (value: unknown) => void, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing is left to write. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#jobs.length > 0) {
      const answers: (() => void)[] = [];
      const taken: Job[] = [];
      try {
        this.#target.verify();
        const root = this.#target.root();
        await root.transaction(() => this.#work(root, taken, answers));
        // What was committed to a file that is no longer there is done again: nobody else would ever see it.
        if (this.#target.verify()) for (const answer of answers) answer();
        else this.#jobs = [...taken, ...this.#jobs];
      } catch (error) {
        this.#target.failed(error);
        const why = await commitError(error);
        // When none was begun, none of those that wait would do better.
        for (const job of taken.length > 0 ? taken : this.#jobs.splice(0)) job.reject(why);
      }
    }
    this.#running = undefined;
  }

  #work(root: RootDatabase<Buffer, Buffer>, taken: Job[], answers: (() => void)[]): void {
    // The file was replaced between asking for the transaction and getting it: the next one is of the new file.
    if (root !== this.#target.root()) return;
    const until = performance.now() + BUDGET;
    for (const job of this.#jobs) {
      taken.push(job);
      try {
        const value = job.work();
        answers.push(() => job.resolve(value));
      } catch (error) {
        this.#target.failed(error);
        answers.push(() => job.reject(error));
      }
      if (performance.now() >= until) break;
    }
    this.#jobs = this.#jobs.slice(taken.length);
  }
}

/** The reason of a failed commit, which lmdb hands over as a promise of its own: unheard, that would end the process. */
async function commitError(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  const told = Promise.resolve(error.commitError).then(() => "unknown", reason);
  const why = await Promise.race([
    told,
    new Promise<string>((resolve) => setImmediate(resolve, error.message)),
  ]);
  return new StoreError(`The disk store could not write: ${why}.`, { cause: error });
}
