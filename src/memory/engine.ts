/** Why an entry left L1. */
export type EvictionCause = "capacity" | "expired" | "replaced" | "removed";

/**
 * Contract of the L1 engine: a bounded synchronous map. It knows nothing of freshness in the cache's
 * sense; it only drops what is past `deadline` and what does not fit.
 */
export interface MemoryEngine<E> {
  /** Looks up and counts as a use for the eviction policy. */
  get(key: string): E | undefined;
  /** Looks up without counting as a use. */
  peek(key: string): E | undefined;
  /**
   * Stores an entry.
   * @param bytes estimated size of key and value.
   * @param deadline by the clock's `now()`; Infinity for none. After it the entry may be dropped at any time.
   * @returns false when it was refused (larger than the bound allows); then an older entry of the key is gone too.
   */
  set(key: string, entry: E, bytes: number, deadline: number): boolean;
  delete(key: string): boolean;
  clear(): void;
  /** Entries, the most valuable first. */
  entries(): Iterable<[string, E]>;
  readonly size: number;
  /** Sum of the sizes given to `set`; never above the bound after an operation returns. */
  readonly bytes: number;
  readonly maxEntries: number;
  readonly maxBytes: number;
  close(): void;
}
