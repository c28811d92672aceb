import type { Duration } from "../base/duration.ts";
import { lifetime } from "../base/duration.ts";
import { LayerError, OptionError } from "../base/errors.ts";
import {
  encodeKey,
  escapeGlob,
  isPlainKey,
  namespacePrefix,
  parsePattern,
  scopePrefix,
} from "../base/key.ts";
import type {
  Cache,
  CacheEvents,
  CacheHealth,
  CacheStats,
  Collection,
  CollectionOptions,
  Explanation,
  PeekedEntry,
  WrapOptions,
  Wrapped,
} from "./api.ts";
import { assemble } from "./assemble.ts";
import { collectionOf } from "./collection.ts";
import type { Core } from "./core.ts";
import { explain, health, peek, stats } from "./inspection.ts";
import type {
  BatchLoader,
  CacheOptions,
  GetOptions,
  GetOrSetOptions,
  InvalidateOptions,
  InvalidationReport,
  Key,
  Loader,
  SetOptions,
} from "./options.ts";
import { Reader } from "./reader.ts";
import { wrapFunction } from "./wrap.ts";
import { Writer } from "./writer.ts";

const EVENTS: ReadonlySet<string> = new Set<keyof CacheEvents>([
  "hit",
  "miss",
  "load",
  "loadError",
  "set",
  "invalidate",
  "shadow",
  "evict",
  "layerError",
  "layerState",
]);

/** Bytes that a namespace must leave for its keys: a hashed key needs 44. */
const SHORTEST_KEY = 64;

/** What all views (namespaces, scopes) of one cache share. */
interface Shared {
  readonly core: Core;
  readonly reader: Reader;
  readonly writer: Writer;
  readonly maxKeyLength: number;
  readonly advice: readonly string[];
  closing: Promise<void> | undefined;
}

/**
 * Makes a cache. Works at once with no options: memory alone, 64 MB.
 * @throws {OptionError} naming the option that cannot be used.
 * @throws {StoreError} when a store cannot be opened.
 * @example
 * const cache = createCache({ layers: [memory(), disk()], ttl: "10m" });
 * const user = await cache.getOrSet(`user:${id}`, () => db.users.find(id));
 */
export function createCache<M = unknown>(options: CacheOptions = {}): Cache<M> {
  const { core, maxKeyLength, advice } = assemble(options);
  const shared: Shared = {
    core,
    reader: new Reader(core),
    writer: new Writer(core),
    maxKeyLength,
    advice,
    closing: undefined,
  };
  // One class serves every type map: the map only narrows what callers may pass.
  return new CacheView(shared, "") as unknown as Cache<M>;
}

class CacheView
  implements
    Omit<Cache<unknown>, "get" | "getOrSet" | "getMany" | "getOrSetMany" | "peek" | "namespace" | "scope">
{
  readonly #shared: Shared;
  readonly #prefix: string;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #core: Core;
  readonly #keyLength: number;

  constructor(shared: Shared, prefix: string) {
    this.#shared = shared;
    this.#prefix = prefix;
    this.#reader = shared.reader;
    this.#writer = shared.writer;
    this.#core = shared.core;
    this.#keyLength = shared.maxKeyLength - Buffer.byteLength(prefix);
    if (this.#keyLength < SHORTEST_KEY)
      throw new OptionError(
        "namespace",
        prefix,
        `shorter names (with maxKeyLength ${shared.maxKeyLength}, fewer than ${SHORTEST_KEY} bytes are left for keys)`,
      );
  }

  get name(): string {
    return this.#core.name;
  }

  get(key: Key, options?: GetOptions): Promise<unknown> {
    try {
      return this.#reader.get(this.#key(key), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  getOrSet(key: Key, loader: Loader<unknown>, options?: GetOrSetOptions): Promise<unknown> {
    // What is stored under a plain key's own text was stored by that key: no need to check the key to find it.
    if (typeof key === "string" && isPlainKey(key)) {
      const hit = this.#reader.hit(this.#prefix === "" ? key : this.#prefix + key, options);
      if (hit !== undefined) return hit;
    }
    try {
      return this.#reader.getOrSet(this.#key(key), loader, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async getMany(keys: readonly Key[], options?: GetOptions): Promise<unknown[]> {
    return this.#reader.getMany(this.#keys(keys, "keys"), options);
  }

  async getOrSetMany<K extends Key>(
    keys: readonly K[],
    loader: BatchLoader<K, unknown>,
    options?: GetOrSetOptions,
  ): Promise<unknown[]> {
    return this.#reader.getOrSetMany(this.#keys(keys, "keys"), keys, loader, options);
  }

  async set(key: Key, value: unknown, options?: SetOptions): Promise<{ readonly position: string }> {
    return this.#writer.setMany([[this.#key(key), value]], options);
  }

  async setMany(
    entries: Iterable<readonly [Key, unknown]>,
    options?: SetOptions,
  ): Promise<{ readonly position: string }> {
    const iterable = typeof entries === "object" && entries !== null && Symbol.iterator in entries;
    if (!iterable) throw new OptionError("entries", entries, "a Map, or an iterable of [key, value]");
    const keyed: [string, unknown][] = [];
    for (const [key, value] of entries) keyed.push([this.#key(key), value]);
    return this.#writer.setMany(keyed, options);
  }

  async has(key: Key, options?: GetOptions): Promise<boolean> {
    return (await this.get(key, options)) !== undefined;
  }

  async delete(key: Key, options?: InvalidateOptions): Promise<InvalidationReport> {
    return this.#writer.remove([this.#key(key)], options);
  }

  async deleteMany(keys: readonly Key[], options?: InvalidateOptions): Promise<InvalidationReport> {
    return this.#writer.remove(this.#keys(keys, "keys"), options);
  }

  async expire(key: Key): Promise<InvalidationReport> {
    return this.#writer.remove([this.#key(key)], { soft: true });
  }

  async touch(key: Key, ttl?: Duration): Promise<boolean> {
    return this.#writer.touch(
      this.#key(key),
      ttl === undefined ? undefined : lifetime(ttl, "ttl", this.#core.suspect),
    );
  }

  async clear(options?: InvalidateOptions): Promise<InvalidationReport> {
    return this.#prefix === ""
      ? this.#writer.clear(options)
      : this.#writer.invalidatePrefix(this.#prefix, options);
  }

  async invalidateTags(tags: readonly string[], options?: InvalidateOptions): Promise<InvalidationReport> {
    return this.#writer.invalidateTags(tags, options);
  }

  async invalidatePattern(pattern: string, options?: InvalidateOptions): Promise<InvalidationReport> {
    if (typeof pattern !== "string") throw new OptionError("pattern", pattern, 'a string such as "user:*"');
    const parsed = parsePattern(pattern);
    // A pattern without a wildcard is a key, and follows the rules of keys.
    if (parsed.kind === "key") return this.#writer.remove([this.#key(parsed.key)], options);
    return this.#writer.invalidatePattern(escapeGlob(this.#prefix) + escapeReserved(pattern), options);
  }

  wrap<A extends unknown[], R>(
    fn: (...args: A) => R | Promise<R>,
    options?: WrapOptions<A, R>,
  ): Wrapped<A, R> {
    // The view takes any key; `Cache<unknown>` is the same thing with its overloads.
    return wrapFunction(this as unknown as Cache, fn, options);
  }

  collection<V, K extends string | number | bigint = string>(
    name: string,
    options: CollectionOptions<V, K>,
  ): Collection<V, K> {
    return collectionOf(this as unknown as Cache, name, options); // as above
  }

  namespace(name: string): CacheView {
    return new CacheView(this.#shared, this.#prefix + namespacePrefix(name));
  }

  scope(owner: Readonly<Record<string, string | number | bigint>>): CacheView {
    return new CacheView(this.#shared, this.#prefix + scopePrefix(owner));
  }

  peek(key: Key): PeekedEntry | undefined {
    return peek(this.#core, this.#key(key));
  }

  async explain(key: Key): Promise<Explanation> {
    return explain(this.#core, this.#key(key));
  }

  async *keys(
    options: { readonly prefix?: string; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<string> {
    const core = this.#core;
    core.assertOpen();
    const prefix = this.#prefix + escapeReserved(options.prefix ?? "");
    const shown = (key: string): string => {
      const name = key.slice(this.#prefix.length);
      return name.startsWith("@@") ? name.slice(1) : name;
    };
    // Keys of nested namespaces are not this view's own.
    const own = (key: string): boolean => key.startsWith(prefix) && !isNested(key, this.#prefix);
    const seen = new Set<string>();
    const now = core.clock.now();
    for (const [key] of core.memory?.entries() ?? []) {
      if (own(key) && core.glance(key, now) !== undefined) seen.add(key);
    }
    for (const key of [...seen]) yield shown(key);
    for (const store of core.stores) {
      const batches = store.keys(prefix, options.signal);
      try {
        for (;;) {
          const next = await batches.next();
          options.signal?.throwIfAborted();
          if (next.done === true) {
            if (next.value) break;
            throw new LayerError(store.name, "list its keys", store.lastError ?? "it is left alone");
          }
          for (const key of next.value) {
            if (!own(key) || seen.has(key)) continue;
            seen.add(key);
            yield shown(key);
          }
        }
      } finally {
        await batches.return(false);
      }
    }
  }

  stats(): CacheStats {
    return stats(this.#core);
  }

  health(): CacheHealth {
    return health(this.#core, this.#shared.advice);
  }

  on<E extends keyof CacheEvents>(event: E, listener: (event: CacheEvents[E]) => void): () => void {
    if (!EVENTS.has(event)) throw new OptionError("event", event, `one of ${[...EVENTS].join(", ")}`);
    if (typeof listener !== "function") throw new OptionError("listener", listener, "a function");
    return this.#core.events.on(event, listener);
  }

  close(): Promise<void> {
    const { core, writer } = this.#shared;
    core.closed = true;
    writer.stop();
    this.#shared.closing ??= core.close();
    return this.#shared.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #key(key: Key): string {
    const encoded = encodeKey(key, this.#keyLength);
    return this.#prefix === "" ? encoded : this.#prefix + encoded;
  }

  #keys(keys: readonly Key[], path: string): string[] {
    if (!Array.isArray(keys)) throw new OptionError(path, keys, "an array of keys");
    return keys.map((key) => this.#key(key));
  }
}

/** A leading "@" is doubled in stored keys: what is not doubled is a namespace. */
function escapeReserved(start: string): string {
  return start.startsWith("@") ? `@${start}` : start;
}

/** Whether a key belongs to a namespace or scope inside the view with this prefix. */
function isNested(key: string, prefix: string): boolean {
  return key.charCodeAt(prefix.length) === 64 && key.charCodeAt(prefix.length + 1) !== 64; // "@" not doubled
}
