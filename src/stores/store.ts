import type { LayerContext, LogFactory, Position } from "../coherence/log.ts";

/** An entry as shared stores keep it: the encoded value and the facts that decide whether it may serve. */
export interface StoredEntry {
  /** The value as the codec wrote it. Stores never look inside. */
  readonly value: Uint8Array;
  /** Milliseconds the entry is fresh, counted from the moment the store takes it. May be Infinity. */
  readonly ttl: number;
  /** Milliseconds it may serve stale after that. The store keeps it for `ttl + grace`. May be Infinity. */
  readonly grace: number;
  /** Log position known when its load began. */
  readonly asOf: Position;
  /** Generation of the log that `asOf` belongs to. */
  readonly generation: string;
  readonly tags: readonly string[];
  /** Milliseconds the load took (for probabilistic eager refresh). */
  readonly cost: number;
  /** Sliding lifetime in milliseconds: a hit makes the entry fresh for that long again. 0: not sliding. */
  readonly sliding: number;
  /** Fingerprint of the shape the value was written in (32 bits, unsigned): of another shape, it is a miss. 0: none. */
  readonly shape: number;
}

/** An entry found in a store. */
export interface FoundEntry {
  readonly entry: StoredEntry;
  /** Milliseconds since the store took it (or it was last touched), by the store's own clock. */
  readonly age: number;
}

/**
 * Answer to a read of one key.
 * - `found`: the entry if there is one whose `ttl + grace` has not run out (fresh or stale).
 * - `lease`: only when a lease was asked for and there is no *fresh* entry: a token (the caller loads
 *   and calls `fill` with it), or `"busy"` (someone else holds it).
 */
export interface StoreRead {
  readonly found: FoundEntry | undefined;
  readonly lease: string | "busy" | undefined;
}

/** How a read is done. */
export interface ReadOptions {
  /** Ask for a lease of this many milliseconds on keys without a fresh entry. */
  readonly lease?: number | undefined;
  /** With `lease`: offer it even where there is a fresh entry (which is still returned as `found`). */
  readonly refresh?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What became of a fill. `awaited`: stored, and somebody was told "busy" since the lease was given, so those
 * who wait for it should be woken.
 */
export type FillResult = "refused" | "stored" | "awaited";

/** What a store holds. A store that cannot count cheaply may estimate. */
export interface StoreStats {
  readonly entries: number;
  readonly bytes: number;
}

/**
 * Contract of an L2 driver. Every driver passes `storeContract` of `caching-universal/testing`.
 * Keys are non-empty strings of any content. Methods may reject; the cache counts it and goes on.
 */
export interface Store {
  /** The layer's name in stats, reports and `Cache-Status`: "disk", "redis", ... */
  readonly name: string;
  /** Reads many keys in one step; answers in the order of `keys`. */
  read(keys: readonly string[], options?: ReadOptions): Promise<StoreRead[]>;
  /** Stores an entry only while `token` still holds the lease of the key, and ends the lease. */
  fill(key: string, entry: StoredEntry, token: string): Promise<FillResult>;
  /** Prolongs a lease. False: it is no longer held by `token`. */
  renew(key: string, token: string, ms: number): Promise<boolean>;
  /** Gives a lease back without a value, if `token` still holds it. True: somebody was told "busy" and waits. */
  release(key: string, token: string): Promise<boolean>;
  /** Stores entries whatever was there (or rejects, with `RefusedError` for one that is too large); ends leases of these keys (a load that began earlier is refused). */
  write(entries: readonly (readonly [key: string, entry: StoredEntry])[]): Promise<void>;
  /**
   * Removes entries and leases. Answers how many entries were removed.
   * @param before when given, only entries whose `asOf` is lower go, and leases stay: a replacement loaded
   *   since the invalidation at that position is never removed by its sweep.
   */
  remove(keys: readonly string[], before?: Position): Promise<number>;
  /** Makes fresh entries stale and ends leases of these keys. Answers how many entries were there. */
  expire(keys: readonly string[]): Promise<number>;
  /** Starts the lifetime of a fresh entry anew with `ttl` milliseconds. False: not there, or stale. */
  touch(key: string, ttl: number): Promise<boolean>;
  /** Keys of live entries that start with `prefix`, in batches that never stall the event loop. */
  keys(prefix: string, signal?: AbortSignal): AsyncIterable<readonly string[]>;
  /** Reclaims every entry of this cache name that is of another generation than `keep`, in bounded steps. */
  clear(keep: string): Promise<void>;
  stats(): Promise<StoreStats>;
  /** Resolves when the store answers: how a store that was left alone is tried again. Cheap. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** A store as it is given to `createCache({ layers })`: opened once the cache's name and clock are known. */
export interface StoreLayer {
  readonly kind: "store";
  readonly name: string;
  /** Longest time in milliseconds that a read waits for this store before it goes on without it. */
  readonly timeout: number;
  open(context: LayerContext): Store;
  /** The log that this store brings, so that caches sharing it stay coherent. */
  readonly log?: LogFactory;
}
