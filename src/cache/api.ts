import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Duration } from "../base/duration.ts";
import type { LatencyStats } from "../observe/latency.ts";
import type { Source } from "../sources/source.ts";
import type {
  BatchLoader,
  CallOptions,
  GetOptions,
  GetOrSetOptions,
  InvalidateOptions,
  InvalidationReport,
  Key,
  Loader,
  SetOptions,
} from "./options.ts";

/** Which layer answered a read: "memory", a store's name, "loader", or "stale" copies thereof. */
export type EntryState = "fresh" | "stale" | "negative" | "error";

/** An entry and its facts, as `peek` shows it. */
export interface PeekedEntry<T = unknown> {
  readonly value: T | undefined;
  readonly state: EntryState;
  /** Milliseconds since it was loaded or written. */
  readonly age: number;
  /** Milliseconds it is still fresh (negative: stale since). */
  readonly ttl: number;
  /** Milliseconds until it can serve no longer. */
  readonly expiresIn: number;
  readonly tags: readonly string[];
  /** Estimated bytes in memory. */
  readonly bytes: number;
}

/** Why one layer would or would not serve a key. */
export interface LayerExplanation {
  readonly layer: string;
  readonly answer: "hit" | "stale" | "miss" | "invalidated" | "skipped";
  /** One sentence: the reason. */
  readonly why: string;
  readonly age?: number;
  readonly ttl?: number;
  readonly tags?: readonly string[];
  readonly asOf?: number;
}

/** What `explain(key)` answers. */
export interface Explanation {
  readonly key: string;
  /** What a read would do now. */
  readonly verdict: "hit" | "stale" | "miss";
  readonly layers: readonly LayerExplanation[];
  /** The last invalidation that concerned the key, if one is remembered. */
  readonly invalidatedBy:
    | { readonly kind: string; readonly what: string; readonly position: number }
    | undefined;
  readonly loading: boolean;
}

/** Counters of one layer. */
export interface LayerStats {
  readonly hits: number;
  readonly staleHits: number;
  readonly misses: number;
  /** hits and staleHits over all reads of this layer; 0 without reads. */
  readonly hitRate: number;
  readonly errors: number;
  readonly timeouts: number;
  /** Reads not tried because the circuit was open. */
  readonly skipped: number;
  /** Milliseconds; memory is sampled. */
  readonly latency: LatencyStats;
  /** Of a shared store: as of the last time it was asked, in the background; undefined until it has answered. */
  readonly entries: number | undefined;
  readonly bytes: number | undefined;
}

/** Counters since the cache was made. */
export interface CacheStats {
  /** Reads answered (one per key). */
  readonly reads: number;
  readonly hits: number;
  readonly staleHits: number;
  readonly misses: number;
  /** Share of reads answered without waiting for a loader: (hits + staleHits) / reads. */
  readonly hitRate: number;
  /** Loader calls, and how they ended. */
  readonly loads: number;
  readonly loadErrors: number;
  /** Callers who joined a load under way. */
  readonly joined: number;
  readonly sets: number;
  readonly invalidations: number;
  readonly evictions: number;
  /** Loaded values not stored because an invalidation came in between (P1). */
  readonly refused: number;
  readonly inFlight: number;
  /** Hits compared with the source (option `shadow`), and how many of them differed from it. */
  readonly shadow: {
    readonly checks: number;
    readonly stale: number;
    /** stale over checks; 0 without checks. */
    readonly rate: number;
    /** Comparisons whose loader failed. */
    readonly errors: number;
  };
  readonly load: LatencyStats;
  readonly layers: Readonly<Record<string, LayerStats>>;
}

/** State of one layer or of the log. */
export interface LayerHealth {
  readonly name: string;
  readonly state: "up" | "down" | "probing";
  /** Milliseconds it has been in this state. */
  readonly since: number;
  readonly lastError: string | undefined;
}

/** What `health()` answers. */
export interface CacheHealth {
  readonly ok: boolean;
  readonly layers: readonly LayerHealth[];
  readonly log: {
    readonly name: string;
    readonly state: "up" | "down";
    /** Milliseconds since that was noticed. */
    readonly since: number;
    readonly lastError: string | undefined;
    readonly generation: string;
    readonly position: number;
    /** Milliseconds since this process last knew that it has seen everything. */
    readonly lag: number;
  };
  /** What is off and why, as the advisor said at start. */
  readonly advice: readonly string[];
}

/** Events of a cache. Listeners run synchronously and must not throw (what they throw is counted and dropped). */
export interface CacheEvents {
  hit: { readonly key: string; readonly layer: string; readonly stale: boolean };
  miss: { readonly key: string };
  load: { readonly key: string; readonly ms: number; readonly background: boolean };
  loadError: { readonly key: string; readonly error: unknown; readonly servedStale: boolean };
  set: { readonly key: string };
  invalidate: { readonly kind: "keys" | "tags" | "prefix" | "glob" | "clear"; readonly what: string };
  /** A hit was compared with the source (option `shadow`). */
  shadow: { readonly key: string; readonly stale: boolean };
  evict: { readonly key: string; readonly cause: "capacity" | "expired" };
  /** A layer failed or timed out; readers did not notice. */
  layerError: { readonly layer: string; readonly action: string; readonly error: unknown };
  /** A layer's circuit opened ("down"), is probed, or closed again ("up"). */
  layerState: { readonly layer: string; readonly state: "up" | "down" | "probing" };
}

/** Value type of a key: from the type map when the cache has one. */
export type ValueOf<M, K> = K extends keyof M ? M[K] : unknown;
/** Keys a cache takes: those of its type map, else any. */
export type KeyOf<M> = unknown extends M
  ? Key
  : (keyof M & string) | readonly [string, ...(string | number | bigint | boolean | null)[]];

/** A typed key selects from the map `M`; a cache without a map takes any key and infers the value. */
export interface Cache<M = unknown> extends AsyncDisposable {
  readonly name: string;

  /** The cached value, or `undefined` on a miss. Never calls a loader. */
  get<K extends KeyOf<M>>(key: K, options?: GetOptions): Promise<ValueOf<M, K> | undefined>;
  get<T>(key: unknown extends M ? Key : never, options?: GetOptions): Promise<T | undefined>;
  /** The cached value, else what `loader` gets: one load at a time per key, whoever asks. */
  getOrSet<K extends KeyOf<M>, T extends ValueOf<M, K>>(
    key: K,
    loader: Loader<T, ValueOf<M, K>>,
    options: GetOrSetOptions<T> & { onlyCached: true },
  ): Promise<T | undefined>;
  getOrSet<K extends KeyOf<M>, T extends ValueOf<M, K>>(
    key: K,
    loader: Loader<T, ValueOf<M, K>>,
    options?: GetOrSetOptions<T>,
  ): Promise<T>;
  /** Cached values in the order of `keys`; `undefined` for misses. */
  getMany<K extends KeyOf<M>>(
    keys: readonly K[],
    options?: GetOptions,
  ): Promise<(ValueOf<M, K> | undefined)[]>;
  getMany<T>(
    keys: unknown extends M ? readonly Key[] : never,
    options?: GetOptions,
  ): Promise<(T | undefined)[]>;
  /** Values in the order of `keys`; one call of `loader` for all that are missing. */
  getOrSetMany<K extends KeyOf<M>, T extends ValueOf<M, K>>(
    keys: readonly K[],
    loader: BatchLoader<K, T>,
    options?: GetOrSetOptions<T>,
  ): Promise<(T | undefined)[]>;

  set<K extends KeyOf<M>>(
    key: K,
    value: unknown extends M ? unknown : ValueOf<M, K>,
    options?: SetOptions,
  ): Promise<{ readonly position: string }>;
  setMany<K extends KeyOf<M>>(
    entries: Iterable<readonly [K, unknown extends M ? unknown : ValueOf<M, K>]>,
    options?: SetOptions,
  ): Promise<{ readonly position: string }>;
  /** Whether a fresh value is cached. */
  has(key: KeyOf<M>, options?: GetOptions): Promise<boolean>;
  /** Removes a key from all layers. */
  delete(key: KeyOf<M>, options?: InvalidateOptions): Promise<InvalidationReport>;
  /** Removes many keys in one step. Its own method, since an array given to `delete` is one tuple key. */
  deleteMany(keys: readonly KeyOf<M>[], options?: InvalidateOptions): Promise<InvalidationReport>;
  /** Makes an entry stale: it serves in its grace only. Same as `delete(key, { soft: true })`. */
  expire(key: KeyOf<M>): Promise<InvalidationReport>;
  /** Starts an entry's lifetime anew. False: not there. */
  touch(key: KeyOf<M>, ttl?: Duration): Promise<boolean>;
  /** Removes everything of this cache (of this namespace or scope, when called on one). */
  clear(options?: InvalidateOptions): Promise<InvalidationReport>;
  /** Makes every entry with any of these tags unusable, in O(1) however many there are. */
  invalidateTags(tags: readonly string[], options?: InvalidateOptions): Promise<InvalidationReport>;
  /** Makes every key that matches unusable: `user:*` (a prefix, O(1)) or any glob (`*`, `?`, `[ab]`). */
  invalidatePattern(pattern: string, options?: InvalidateOptions): Promise<InvalidationReport>;

  /** A function whose results are cached by its arguments. */
  wrap<A extends unknown[], R>(
    fn: (...args: A) => R | Promise<R>,
    options?: WrapOptions<A, R>,
  ): Wrapped<A, R>;
  /** Keys bound to where their values come from. */
  collection<V, K extends string | number | bigint = string>(
    name: string,
    options: CollectionOptions<V, K>,
  ): Collection<V, K>;
  /** A view of this cache in which every key is kept apart from all others. */
  namespace<N = M>(name: string): Cache<N>;
  /** A namespace of one owner: a user, a tenant. */
  scope<N = M>(owner: Readonly<Record<string, string | number | bigint>>): Cache<N>;

  /** The memory entry and its facts; counts nothing, changes nothing, no I/O. */
  peek<K extends KeyOf<M>>(key: K): PeekedEntry<ValueOf<M, K>> | undefined;
  /** Why a read of this key would hit, miss or be stale. Changes nothing. */
  explain(key: KeyOf<M>): Promise<Explanation>;
  /**
   * Keys of live entries in all layers, as stored, each once (of this namespace, without its prefix).
   * @throws {LayerError} at the end, when a store could not list all of its keys.
   */
  keys(options?: { readonly prefix?: string; readonly signal?: AbortSignal }): AsyncIterable<string>;
  stats(): CacheStats;
  health(): CacheHealth;
  /** Listens to an event; returns the function that stops it. */
  on<E extends keyof CacheEvents>(event: E, listener: (event: CacheEvents[E]) => void): () => void;
  /** Ends background work and closes the layers. Loads under way are aborted. */
  close(): Promise<void>;
}

/** Options of `wrap` and `@cached`. */
export interface WrapOptions<A extends unknown[], R>
  extends Omit<GetOrSetOptions<Awaited<R>>, "tags" | "signal" | "onlyCached"> {
  /** The key of a call [the function's name and its arguments, canonically encoded]. */
  readonly key?: ((...args: A) => Key) | undefined;
  /** Names the function in generated keys [its `name`]; needed for anonymous functions. */
  readonly name?: string | undefined;
  readonly tags?: readonly string[] | ((...args: A) => readonly string[]) | undefined;
}

/** A wrapped function. */
export interface Wrapped<A extends unknown[], R> {
  (...args: A): Promise<Awaited<R>>;
  /** The key of a call with these arguments. */
  keyOf(...args: A): Key;
  /** Removes the result of a call with these arguments. */
  delete(...args: A): Promise<InvalidationReport>;
}

/** Options of a collection: exactly one of `load`, `loadMany`, `source`. */
export interface CollectionOptions<V, K extends string | number | bigint> extends Omit<CallOptions, "tags"> {
  /** Gets one value on a miss. */
  readonly load?:
    | ((key: K, context: { readonly signal: AbortSignal }) => V | undefined | Promise<V | undefined>)
    | undefined;
  /** Gets all missing values in one step. */
  readonly loadMany?: BatchLoader<K, V> | undefined;
  /** Where values are loaded from and written to. */
  readonly source?: Source<K, V> | undefined;
  /** Writes: to the source, then the cache ("through"), or to the source, then out of the cache ("around") ["through"]. */
  readonly write?: "through" | "around" | undefined;
  readonly tags?: readonly string[] | ((value: V, key: K) => readonly string[]) | undefined;
  readonly schema?: StandardSchemaV1<unknown, V> | undefined;
  /** Version of the value's shape, besides what `schema` tells: entries stored with another are a miss. */
  readonly version?: string | number | undefined;
}

/** Options of a read of a collection. */
export type CollectionReadOptions = Pick<
  GetOrSetOptions,
  "fresh" | "onlyCached" | "after" | "signal" | "report"
>;

/** Keys bound to where their values come from. Concurrent `get`s of one tick make one load. */
export interface Collection<V, K extends string | number | bigint = string> {
  readonly name: string;
  get(key: K, options?: CollectionReadOptions): Promise<V | undefined>;
  getMany(keys: readonly K[], options?: CollectionReadOptions): Promise<(V | undefined)[]>;
  /** The value in memory, if it is fresh: synchronous, no I/O. */
  peek(key: K): V | undefined;
  /** Writes to the source (when it has one) and the cache. @throws {LayerError} when the source failed. */
  set(key: K, value: V): Promise<{ readonly position: string }>;
  setMany(entries: Iterable<readonly [K, V]>): Promise<{ readonly position: string }>;
  /** Reads from the source, applies `fn`, writes back. Not atomic across processes. */
  update(key: K, fn: (current: V | undefined) => V | Promise<V>): Promise<V>;
  /** Deletes from the source (when it has one) and the cache. */
  delete(keys: K | readonly K[]): Promise<InvalidationReport>;
  /** Takes out of the cache only: the source changed otherwise. */
  invalidate(keys: K | readonly K[], options?: InvalidateOptions): Promise<InvalidationReport>;
  /** The key under which the cache keeps it. */
  keyOf(key: K): Key;
}
