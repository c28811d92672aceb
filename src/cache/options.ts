import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Clock } from "../base/clock.ts";
import type { Codec } from "../base/codec.ts";
import type { Duration } from "../base/duration.ts";
import type { Key, KeyPart } from "../base/key.ts";
import type { Size } from "../base/size.ts";
import type { LogFactory } from "../coherence/log.ts";
import type { MemoryLayer } from "../memory/memory.ts";
import type { StoreLayer } from "../stores/store.ts";

export type { Key, KeyPart };

/** When an entry is refreshed before it expires. */
export type Eager =
  /** Off. */
  | false
  /** At this fraction of the ttl (0 to 1, exclusive): `0.8` refreshes in the last fifth. */
  | number
  /** Probabilistic early expiration (XFetch; Vattani et al., VLDB 2015) with beta = 1. */
  | "xfetch"
  | { readonly beta: number };

/** Options that say how long an entry lives and how it is served. Defaults in brackets. */
export interface EntryOptions {
  /** How long an entry is fresh [Infinity: until it is invalidated or evicted]. */
  readonly ttl?: Duration | undefined;
  /** Spread of the ttl: each entry's is shortened by a random share of at most this (0 to 1) [0]. */
  readonly jitter?: number | undefined;
  /** `true`: a hit makes the entry fresh for its whole ttl again [false]. */
  readonly sliding?: boolean | undefined;
  /** How long after its ttl an entry may still serve when the load fails or is slow [0]. */
  readonly grace?: Duration | undefined;
  /** How long after its ttl a stale entry is served at once while it is refreshed in the background
   *  (`true`: as long as `grace`) [0]. */
  readonly swr?: Duration | boolean | undefined;
  /** After a failed refresh served a stale entry: how long until the next try ["10s"]. */
  readonly retryAfter?: Duration | undefined;
  /** Soft timeout: with a stale entry in grace, how long to wait for the load before it is served [none]. */
  readonly timeout?: Duration | undefined;
  /** How long to wait for the load at all; then the stale entry in grace, else `TimeoutError` [none]. */
  readonly hardTimeout?: Duration | undefined;
  /** Refresh before expiry [false]. */
  readonly eager?: Eager | undefined;
  /** How long "nothing there" (`undefined`) is cached [not cached]. */
  readonly negativeTtl?: Duration | undefined;
  /** How long a failed load is cached in L1 and rethrown [not cached]. */
  readonly errorTtl?: Duration | undefined;
  /** Share of hits (0 to 1) whose value is compared in the background with what the loader gets now: the measured
   *  staleness, in `stats().shadow`. Changes nothing in the cache [0]. */
  readonly shadow?: number | undefined;
  /** Labels to invalidate the entry by. */
  readonly tags?: readonly string[] | undefined;
  /** `false`: this entry is not kept in memory [true]. */
  readonly l1?: boolean | undefined;
  /** `false`: this entry is not kept in shared stores [true]. */
  readonly l2?: boolean | undefined;
}

/** Options of one call. */
export interface CallOptions extends EntryOptions {
  /** Name of a policy given to `createCache({ policies })`; its options lie between the cache's and the call's. */
  readonly policy?: string | undefined;
}

/** Which layer answered a read, and with what. */
export interface Answer {
  /** "memory", a store's name, or "loader"; "none" when nothing was there. */
  readonly layer: string;
  readonly state: "fresh" | "stale" | "miss";
  /** Milliseconds since the value was loaded or written; 0 from a loader. */
  readonly age: number;
  /** Milliseconds it is still fresh: negative when stale; Infinity without a ttl. */
  readonly ttl: number;
}

/** Options of a read without a loader. */
export interface GetOptions {
  /** Called once with which layer answered, before the promise settles. Not called when it rejects. */
  readonly report?: ((answer: Answer) => void) | undefined;
  readonly policy?: string | undefined;
  /** `true`: an entry in its grace may be returned [false]. */
  readonly stale?: boolean | undefined;
  /** `false`: do not look into memory / the shared stores. */
  readonly l1?: boolean | undefined;
  readonly l2?: boolean | undefined;
  /** Only see what was written or invalidated at or before this position, returned by a mutation. */
  readonly after?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Version of the value's shape: entries stored with another version are a miss [told from `schema` where it can be]. */
  readonly version?: string | number | undefined;
}

/** Options of a read with a loader. */
export interface GetOrSetOptions<T = unknown> extends CallOptions {
  /** `true`: load now, whatever is cached, and store the result [false]. */
  readonly fresh?: boolean | undefined;
  /** `true`: never call the loader; `undefined` on a miss [false]. */
  readonly onlyCached?: boolean | undefined;
  /** Read-your-writes: see what was done at this position (returned by a mutation), here or in another process. */
  readonly after?: string | undefined;
  /** Called once with which layer answered, before the promise settles. Not called when it rejects. */
  readonly report?: ((answer: Answer) => void) | undefined;
  /** Ends this caller's wait; the load goes on for the others that wait for it. */
  readonly signal?: AbortSignal | undefined;
  /** Values that do not match are not cached: `SchemaError` from a loader, a miss from a shared store. */
  readonly schema?: StandardSchemaV1<unknown, T> | undefined;
  /** Version of the value's shape: entries stored with another version are a miss [told from `schema` where it can be]. */
  readonly version?: string | number | undefined;
}

/** Options of a write. */
export interface SetOptions<T = unknown> extends CallOptions {
  readonly schema?: StandardSchemaV1<unknown, T> | undefined;
  /** Version of the value's shape: entries stored with another version are a miss [told from `schema` where it can be]. */
  readonly version?: string | number | undefined;
}

/** Options of `delete`, `expire`, `invalidateTags`, `invalidatePattern`, `clear`. */
export interface InvalidateOptions {
  /** `true`: make stale instead of unusable; grace may still serve it [false]. */
  readonly soft?: boolean | undefined;
  /** `true`: change nothing, count what would be reached [false]. */
  readonly dryRun?: boolean | undefined;
  /** `"all"`: resolve only when no process can serve the old value any more (P3): each has acknowledged the
   *  invalidation, or could not and stopped trusting its memory (within `maxLag`) [this process and the stores]. */
  readonly wait?: "all" | undefined;
  /** Told while what a pattern concerned is taken out of the stores in the background, which only reclaims space. */
  readonly progress?: ((progress: SweepProgress) => void) | undefined;
  /** Ends the wait of `wait`, the count of `dryRun` and that work in the background; the invalidation holds. */
  readonly signal?: AbortSignal | undefined;
}

/** How far the work in the background after an invalidation by pattern is. */
export interface SweepProgress {
  /** The store it is in. */
  readonly layer: string;
  /** Keys looked at, and entries removed, in that store so far. */
  readonly seen: number;
  readonly removed: number;
  /** Whether all stores are done. */
  readonly done: boolean;
}

/** What an invalidation did. */
export interface InvalidationReport {
  /** Hand it to a read as `after` to see this change on any process. `""` for a dry run. */
  readonly position: string;
  /** Entries reached by layer, keyed by the layer's name. A tag, a prefix and `clear()` are O(1), so what they
   *  reach is counted only with `dryRun` (else `undefined`, "not counted"). */
  readonly layers: Readonly<Record<string, number | undefined>>;
  /** Layers that did not answer and owe the removal; they are not read until it is done. */
  readonly pending: readonly string[];
}

/** A stale entry, as a loader sees it. */
export interface StaleEntry<T> {
  readonly value: T;
  /** Milliseconds since it was loaded or written. */
  readonly age: number;
  readonly tags: readonly string[];
}

/** What a loader is given. */
export interface LoadContext<T = unknown> {
  /** The key as it is stored. */
  readonly key: string;
  /** Aborted when nobody waits for the load any more, at `hardTimeout`, and when the cache closes. */
  readonly signal: AbortSignal;
  /** The stale entry this load replaces, to ask the source "changed since?". */
  readonly stale: StaleEntry<T> | undefined;
  /** Sets the lifetime from the value; `0` does not cache it. */
  ttl(ttl: Duration): void;
  /** Sets how long the entry may serve stale. */
  grace(grace: Duration): void;
  /** Adds tags found in the value. */
  tags(...tags: readonly string[]): void;
  /** Return its result: the value goes to the callers and is not cached. */
  skip<V>(value: V): V;
  /** Return its result: the stale entry is still right, and is fresh for its ttl again. Typed `never`, so that
   *  it adds nothing to the type of the loader's other answers. @throws {CacheError} without a stale entry. */
  notModified(): never;
}

/** Gets the value on a miss. `undefined` means "nothing there". `S`: type of a stale value, where a type map tells it. */
export type Loader<T, S = unknown> = (context: LoadContext<S>) => T | Promise<T>;
/** Values by key, as a batch loader answers: a Map (of these keys, or of a wider type). */
export type Found<K, T> = Pick<ReadonlyMap<K, T>, "get" | "size">;
/** Gets all missing values in one step; the answer is a Map with an entry for each key that exists. */
export type BatchLoader<K, T> = (
  keys: readonly K[],
  context: { readonly signal: AbortSignal },
) => Found<K, T> | Promise<Found<K, T>>;

/** How values in memory are protected from changes by those who read them. */
export type Isolate = false | "freeze" | "clone";

/** Receives the messages of the advisor and of background work. */
export type Logger = (message: string) => void;

/** Options of {@link createCache}. Defaults in brackets. */
export interface CacheOptions extends EntryOptions {
  /** Names the cache in stores, stats and logs; caches of one name share entries ["cache"]. */
  readonly name?: string | undefined;
  /** Layers from near to far: at most one `memory()`, first; then stores [`[memory()]`]. */
  readonly layers?: readonly (MemoryLayer | StoreLayer)[] | undefined;
  /** The log that keeps processes coherent [the one of the farthest store that has one, else local]. */
  readonly log?: LogFactory | undefined;
  /** How long a process that cannot follow the log still trusts its memory ["5s"]. */
  readonly maxLag?: Duration | undefined;
  /** How long a process that loads a key holds its lease without a sign of life; renewed while it loads ["10s"]. */
  readonly lease?: Duration | undefined;
  /** Options chosen per call by name, so that one place can be reviewed. */
  readonly policies?: Readonly<Record<string, EntryOptions>> | undefined;
  /** How values are written to shared stores [`structured()`]. */
  readonly codec?: Codec | undefined;
  /** Encoded values of at least this size are compressed; `false` never ["16kb" where Node has zstd]. */
  readonly compressAbove?: Size | false | undefined;
  /** What memory hands out: the stored object, a frozen one, or a clone [false: the stored object]. */
  readonly isolate?: Isolate | undefined;
  /** Longest stored key in bytes; longer ones keep a readable head and are hashed [250]. */
  readonly maxKeyLength?: number | undefined;
  /** Where the advisor and background trouble speak [`process.emitWarning`]; `false`: nowhere. */
  readonly logger?: Logger | false | undefined;
  /** Time [the machine's]. */
  readonly clock?: Clock | undefined;
  /** Randomness, uniform in [0, 1) [Math.random]. */
  readonly random?: (() => number) | undefined;
}
