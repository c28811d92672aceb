import { LRUCache } from "lru-cache";
import type { Clock, Timer } from "../base/clock.ts";
import type { EvictionCause, Held, MemoryEngine } from "./engine.ts";

/** How often the sweeper looks at a slice of the entries, in milliseconds. */
const SWEEP_EVERY = 1_000;
/** Entries it looks at in one step: bounded, so that it never stalls the event loop. */
const SWEEP_STEP = 2_000;

/** Options of {@link lruEngine}, resolved. */
export interface LruEngineOptions<E> {
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly onEvict: (key: string, entry: E, cause: EvictionCause) => void;
}

/** An L1 engine on the `lru-cache` package: least recently used goes first; a sweeper drops what is past its deadline. */
export function lruEngine<E extends Held>(options: LruEngineOptions<E>): MemoryEngine<E> {
  const { clock, onEvict, maxEntries, maxBytes } = options;
  const bounds = {
    ...(Number.isFinite(maxEntries) ? { max: maxEntries } : {}),
    // Also with an entry bound alone: the sum of sizes is shown in the stats.
    maxSize: Number.isFinite(maxBytes) ? maxBytes : Number.MAX_SAFE_INTEGER,
  };
  const cache = new LRUCache<string, E>({
    ...bounds,
    dispose: (entry, key, why) => {
      if (why === "evict") onEvict(key, entry, "capacity");
    },
  });
  let timer: Timer | undefined;
  // A walk from the least recently used on, resumed step by step. When the entry it stands at moves or
  // goes in between, lru-cache ends the walk and the next step starts again.
  let cursor: ReturnType<typeof cache.rkeys> | undefined;
  /** The earliest deadline met since the walk began: nothing is due before it. */
  let earliest = Number.POSITIVE_INFINITY;
  let sweepAt = Number.POSITIVE_INFINITY;

  const drop = (key: string, entry: E): void => {
    cache.delete(key);
    onEvict(key, entry, "expired");
  };
  const sweep = (): void => {
    timer = undefined;
    sweepAt = Number.POSITIVE_INFINITY;
    const now = clock.now();
    if (cursor === undefined) earliest = Number.POSITIVE_INFINITY;
    const walk = cursor ?? cache.rkeys();
    cursor = walk;
    for (let i = 0; i < SWEEP_STEP; i++) {
      const next = walk.next();
      if (next.done === true) {
        cursor = undefined;
        break;
      }
      const entry = cache.peek(next.value);
      if (entry === undefined) continue;
      if (entry.staleUntil <= now) drop(next.value, entry);
      else earliest = Math.min(earliest, entry.staleUntil);
    }
    // A walk that is not done goes on soon; one that is waits for the earliest deadline it met.
    arm(cursor === undefined ? earliest : now);
  };
  const arm = (deadline: number): void => {
    if (deadline === Number.POSITIVE_INFINITY || cache.size === 0) return;
    const at = Math.max(deadline, clock.now() + SWEEP_EVERY);
    if (at + SWEEP_EVERY > sweepAt) return;
    timer?.cancel();
    sweepAt = at;
    timer = clock.setTimer(at - clock.now(), sweep);
  };

  return {
    maxEntries,
    maxBytes,
    get size() {
      return cache.size;
    },
    get bytes() {
      return cache.calculatedSize;
    },
    get: (key) => cache.get(key),
    peek: (key) => cache.peek(key),
    set(key, entry) {
      const size = Math.max(1, Math.ceil(entry.bytes));
      cache.set(key, entry, { size });
      const { staleUntil } = entry;
      if (staleUntil < earliest) earliest = staleUntil;
      arm(staleUntil);
      return size <= maxBytes;
    },
    delete: (key) => cache.delete(key),
    clear() {
      cursor = undefined;
      cache.clear();
    },
    *entries() {
      for (const key of cache.keys()) {
        const entry = cache.peek(key);
        if (entry !== undefined) yield [key, entry];
      }
    },
    close() {
      timer?.cancel();
      timer = undefined;
      cursor = undefined;
      cache.clear();
    },
  };
}
