import { type Cache, type CacheOptions, createCache } from "../../src/index.ts";
import { type ManualClock, manualClock } from "../../src/testing/index.ts";

/** A cache on a clock that the test moves, with randomness the test chooses and every warning kept. */
export function testCache(options: CacheOptions = {}): {
  cache: Cache;
  clock: ManualClock;
  warnings: string[];
} {
  const clock = manualClock();
  const warnings: string[] = [];
  const cache = createCache({
    clock,
    random: () => 0.5,
    logger: (message) => warnings.push(message),
    ...options,
  });
  return { cache, clock, warnings };
}

/** A loader that answers when the test says so, and counts its calls. */
export function gate<T>(): {
  load: () => Promise<T>;
  open(value: T): void;
  fail(error: unknown): void;
  readonly calls: number;
} {
  let pending: PromiseWithResolvers<T>[] = [];
  let calls = 0;
  return {
    load() {
      calls++;
      const mine = Promise.withResolvers<T>();
      pending.push(mine);
      return mine.promise;
    },
    open(value) {
      for (const one of pending) one.resolve(value);
      pending = [];
    },
    fail(error) {
      for (const one of pending) one.reject(error);
      pending = [];
    },
    get calls() {
      return calls;
    },
  };
}

/** Lets every promise job that is due run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
