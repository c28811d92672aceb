/**
 * Longest time in milliseconds that one transaction takes on jobs. Their callbacks run on the event loop, and
 * meanwhile other processes wait for the lock; a bound in jobs would bound neither, since jobs differ.
 */
const BUDGET = 5;

/** Group commit: jobs that come while a transaction is committed share the next one, up to a bounded time. */
export class WriteQueue {
  readonly #transaction: (work: () => void) => Promise<void>;
  #jobs: { readonly work: () => void; readonly reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | undefined;

  /** @param transaction commits what `work` did, or rejects. */
  constructor(transaction: (work: () => void) => Promise<void>) {
    this.#transaction = transaction;
  }

  /** Runs `work` in a write transaction; resolves once it is committed. */
  add<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({
        work: () => {
          try {
            const value = work();
            this.#committed.push(() => resolve(value));
          } catch (error) {
            this.#committed.push(() => reject(error));
          }
        },
        reject,
      });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing is left to write. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** What to do once the transaction that is under way is committed. */
  #committed: (() => void)[] = [];

  async #run(): Promise<void> {
    while (this.#jobs.length > 0) {
      this.#committed = [];
      let taken = 0;
      try {
        await this.#transaction(() => {
          const until = performance.now() + BUDGET;
          for (const { work } of this.#jobs) {
            work();
            taken++;
            if (performance.now() >= until) break;
          }
        });
        this.#jobs = this.#jobs.slice(taken);
        for (const answer of this.#committed) answer();
      } catch (error) {
        // When no transaction could be begun, none of those that wait would do better.
        for (const { reject } of this.#jobs.splice(0, taken > 0 ? taken : this.#jobs.length)) reject(error);
      }
    }
    this.#running = undefined;
  }
}
