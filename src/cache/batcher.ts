import type { Found } from "./options.ts";

/** One load of many keys for all who asked in the same tick. */
export type LoadMany<K, V> = (keys: readonly K[]) => Promise<Found<K, V>>;

/** Gathers single loads of one tick into one `loadMany`, at most `limit` keys at a time, each key once. */
export class Batcher<K, V> {
  readonly #load: LoadMany<K, V>;
  readonly #limit: number;
  #waiting = new Map<K, PromiseWithResolvers<V | undefined>>();

  constructor(load: LoadMany<K, V>, limit = 1_000) {
    this.#load = load;
    this.#limit = limit;
  }

  load(key: K): Promise<V | undefined> {
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) return waiting.promise;
    const mine = Promise.withResolvers<V | undefined>();
    this.#waiting.set(key, mine);
    // In the next turn of the event loop, so that callers who resume from one await are gathered as well.
    if (this.#waiting.size === 1) setImmediate(() => this.#flush());
    else if (this.#waiting.size >= this.#limit) this.#flush();
    return mine.promise;
  }

  #flush(): void {
    const batch = this.#waiting;
    if (batch.size === 0) return;
    this.#waiting = new Map();
    // Also what the loader throws at once rejects those who wait.
    Promise.resolve([...batch.keys()])
      .then(this.#load)
      .then(
        (found) => {
          for (const [key, waiter] of batch) waiter.resolve(found.get(key));
        },
        (error: unknown) => {
          for (const waiter of batch.values()) waiter.reject(error);
        },
      );
  }
}
