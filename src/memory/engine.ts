/** Why an entry left L1 by itself. */
export type EvictionCause = "capacity" | "expired";

/** What the engine needs to know of an entry. */
export interface Held {
  /** Estimated size of key and value. */
  readonly bytes: number;
  /** By the clock's `now()`, Infinity for none: after it the entry may be dropped at any time. It may be moved. */
  readonly staleUntil: number;
}

/**
 * Contract of the L1 engine: a bounded synchronous map. It knows nothing of freshness in the cache's
 * sense; it only drops what is past `staleUntil` and what does not fit.
 */
export interface MemoryEngine<E extends Held> {
  /** Looks up and counts as a use for the eviction policy. */
  get(key: string): E | undefined;
  /** Looks up without counting as a use. */
  peek(key: string): E | undefined;
  /** Stores an entry. False: refused (larger than the bound allows); then an older entry of the key is gone too. */
  set(key: string, entry: E): boolean;
  delete(key: string): boolean;
  clear(): void;
  /** Entries, the most valuable first. */
  entries(): Iterable<[string, E]>;
  readonly size: number;
  /** Sum of the entries' bytes; never above the bound after an operation returns. */
  readonly bytes: number;
  readonly maxEntries: number;
  readonly maxBytes: number;
  close(): void;
}
