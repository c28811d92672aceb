import type { StandardSchemaV1 } from "@standard-schema/spec";
import { CacheError, LayerError, OptionError, show } from "../base/errors.ts";
import { schemaFingerprint } from "../base/fingerprint.ts";
import { validate } from "../base/standard-schema.ts";
import type { Cache, Collection, CollectionOptions, CollectionReadOptions } from "./api.ts";
import { Batcher } from "./batcher.ts";
import type {
  Found,
  GetOrSetOptions,
  InvalidateOptions,
  InvalidationReport,
  Key,
  LoadContext,
  SetOptions,
} from "./options.ts";
import { isEntryOption, refuseUnknown } from "./resolve.ts";

type Scalar = string | number | bigint;

const COLLECTION_OPTIONS = new Set(["load", "loadMany", "source", "write", "schema", "version", "policy"]);

/**
 * Keys bound to where their values come from.
 * @throws {OptionError} when not exactly one of `load`, `loadMany`, `source` is given.
 */
export function collectionOf<V, K extends Scalar>(
  cache: Cache,
  name: string,
  options: CollectionOptions<V, K>,
): Collection<V, K> {
  if (typeof name !== "string" || name === "") throw new OptionError("collection", name, "a non-empty name");
  const path = `collection "${name}"`;
  refuseUnknown(options, path, (option) => COLLECTION_OPTIONS.has(option) || isEntryOption(option));
  const { load, loadMany, source, write = "through", schema, version, tags, ...lifetime } = options;
  const shape = shapeText(version, schema);
  const entry = shape === "" ? lifetime : { ...lifetime, version: shape };
  if ([load, loadMany, source].filter((given) => given !== undefined).length !== 1)
    throw new OptionError(path, Object.keys(options), "exactly one of `load`, `loadMany` and `source`");
  if (write !== "through" && write !== "around")
    throw new OptionError(`${path}.write`, write, '"through" or "around"');

  const keyOf = (key: K): Key => [name, checked(key)];
  const tagsOf = (value: V, key: K): readonly string[] =>
    typeof tags === "function" ? tags(value, key) : (tags ?? []);
  const many = manyLoader(options);
  const batcher = many === undefined ? undefined : new Batcher<K, V>(many);

  const reading = (given: CollectionReadOptions | undefined): GetOrSetOptions<V> => ({
    ...entry,
    ...given,
    ...(schema === undefined ? {} : { schema }),
    ...(Array.isArray(tags) ? { tags } : {}),
  });
  const loaderFor =
    (key: K) =>
    async (context: LoadContext): Promise<V> => {
      const value = batcher === undefined ? await load?.(key, context) : await batcher.load(key);
      if (value !== undefined && typeof tags === "function") context.tags(...tags(value, key));
      return value as V; // undefined is "nothing there"; `get` says so in its type
    };
  const writing = (value: V, key: K): SetOptions => ({ ...entry, tags: tagsOf(value, key) });
  const valid = async (key: K, value: V): Promise<V> => {
    if (value === undefined)
      throw new OptionError(`${path}.set`, value, "a value; use delete(key) to take one out");
    return schema === undefined ? value : await validate(schema, value, String(keyOf(key)));
  };
  const inSource = async <T>(action: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw new LayerError(source?.name ?? "source", action, error);
    }
  };

  const self: Collection<V, K> = {
    name,
    keyOf,

    async get(key, given) {
      // With `onlyCached` the answer may be undefined, which the collection's `get` always allows.
      return cache.getOrSet(keyOf(key), loaderFor(key), reading(given)) as Promise<V | undefined>;
    },

    async getMany(keys, given) {
      const names = keys.map((key) => checked(key));
      if (many === undefined || typeof tags === "function")
        return Promise.all(names.map((key) => self.get(key, given)));
      const byName = new Map(names.map((key) => [keyText(keyOf(key)), key]));
      return cache.getOrSetMany(
        names.map(keyOf),
        async (missing) => {
          const wanted = missing.map((key) => byName.get(keyText(key)) as K); // every key was made from a name
          const found = await many(wanted);
          return new Map(missing.map((key, i) => [key, found.get(wanted[i] as K) as V])); // same length
        },
        reading(given),
      );
    },

    peek(key) {
      const found = cache.peek(keyOf(key));
      return found?.state === "fresh" ? (found.value as V) : undefined; // stored under this name by this collection
    },

    async set(key, value) {
      return self.setMany([[key, value]]);
    },

    async setMany(entries) {
      const rows: [K, V][] = [];
      for (const [key, value] of entries) rows.push([checked(key), await valid(key, value)]);
      if (rows.length === 0) return cache.setMany([]);
      const keys = rows.map(([key]) => keyOf(key));
      if (source !== undefined) {
        // Before, so that a crash after the source was written leaves no old copy; after, so that a load which
        // read the old row in between is not kept (its key's record came after it began).
        await cache.deleteMany(keys);
        try {
          await inSource("save", () => source.save(rows));
        } catch (error) {
          await cache.deleteMany(keys);
          throw error;
        }
      }
      if (write === "around") return cache.deleteMany(keys);
      if (typeof tags !== "function")
        return cache.setMany(
          rows.map(([key, value]) => [keyOf(key), value] as const),
          { ...entry, tags: tags ?? [] },
        );
      const written = await Promise.all(
        rows.map(([key, value]) => cache.set(keyOf(key), value, writing(value, key))),
      );
      return written.at(-1) ?? { position: "" };
    },

    async update(key, fn) {
      const current = await loadOne(checked(key));
      const value = await fn(current);
      await self.set(key, value);
      return value;
    },

    async delete(keys) {
      const list = listOf(keys);
      if (source !== undefined) {
        await cache.deleteMany(list.map(keyOf));
        await inSource("delete", () => source.delete(list));
      }
      return cache.deleteMany(list.map(keyOf));
    },

    async invalidate(keys, given?: InvalidateOptions): Promise<InvalidationReport> {
      return cache.deleteMany(listOf(keys).map(keyOf), given);
    },
  };

  async function loadOne(key: K): Promise<V | undefined> {
    if (many !== undefined) return (await many([key])).get(key);
    const answer: V | undefined = await load?.(key, { signal: new AbortController().signal });
    return answer;
  }

  function listOf(keys: K | readonly K[]): K[] {
    return (Array.isArray(keys) ? keys : [keys as K]).map((key: K) => checked(key)); // not an array: one key
  }

  function checked(key: K): K {
    if (typeof key === "string" || typeof key === "bigint" || typeof key === "number") return key;
    throw new OptionError(`${path} key`, key, "a string, number or bigint");
  }

  return self;
}

/** What the stored values of a collection look like, in a text; "" when nothing tells. */
function shapeText(version: string | number | undefined, schema: StandardSchemaV1 | undefined): string {
  const print = schema === undefined ? "" : schemaFingerprint(schema);
  return version === undefined && print === "" ? "" : `${version ?? ""}#${print}`;
}

/** The loader of many keys that the options give, with its answer checked. */
function manyLoader<V, K extends Scalar>(
  options: CollectionOptions<V, K>,
): ((keys: readonly K[]) => Promise<Found<K, V>>) | undefined {
  const { loadMany, source } = options;
  if (source === undefined && loadMany === undefined) return undefined;
  return async (keys) => {
    const found =
      source === undefined
        ? await loadMany?.(keys, { signal: new AbortController().signal })
        : await source.load(keys);
    if (found instanceof Map) return found;
    const who = source === undefined ? "loadMany" : `The source "${source.name}"`;
    throw new CacheError(
      "ERR_CACHE_LOADER",
      `${who} must answer with a Map of key to value, not ${show(found)}.`,
    );
  };
}

/** A text by which two equal keys are found equal. */
function keyText(key: Key): string {
  return typeof key === "string" ? key : `${typeof key[1]}:${String(key[1])}`;
}
