import { CacheError, OptionError, show } from "../base/errors.ts";
import { abortable } from "./abortable.ts";
import type { Source, SourceOptions } from "./source.ts";

/** Options of {@link source}. */
export interface CustomSourceOptions<V, K extends string | number | bigint = string> {
  /** Name in stats ["custom"]. */
  readonly name?: string | undefined;
  /**
   * Loads many in one step; never called without keys, nor with the same key twice. Answers with a map of
   * what exists, or with an array in the order of `keys`, `undefined` where nothing is there.
   */
  readonly load: (keys: readonly K[], options: SourceOptions) => Loaded<K, V> | Promise<Loaded<K, V>>;
  /** Inserts or replaces many, all or nothing; each key once [writes are refused]. */
  readonly save?:
    | ((entries: readonly (readonly [key: K, value: V])[], options: SourceOptions) => unknown)
    | undefined;
  /** Deletes many, all or nothing; answers how many existed [deletes are refused]. */
  readonly delete?: ((keys: readonly K[], options: SourceOptions) => number | Promise<number>) | undefined;
}

/** What `load` of a custom source answers. */
export type Loaded<K, V> = ReadonlyMap<K, V> | readonly (V | undefined)[];

/**
 * A source from functions of your own: an ORM, an HTTP API, another database.
 *
 * An aborted signal rejects at once; it is also handed to the functions, so that they can stop their work.
 * @throws {OptionError} when `load` is missing or an option is not a function.
 * @example
 * const users = source<User, number>({
 *   load: (ids) => orm.user.findMany({ id: ids }).then((rows) => new Map(rows.map((row) => [row.id, row]))),
 *   save: (entries) => orm.user.upsertMany(entries.map(([, user]) => user)),
 *   delete: (ids) => orm.user.deleteMany({ id: ids }),
 * });
 */
export function source<V, K extends string | number | bigint = string>(
  options: CustomSourceOptions<V, K>,
): Source<K, V> {
  const { name = "custom", load, save, delete: remove } = options;
  if (typeof name !== "string" || name === "") throw new OptionError("name", name, "a non-empty string");
  if (typeof load !== "function") throw new OptionError("load", load, "a function of an array of keys");
  for (const [path, given] of Object.entries({ save, delete: remove })) {
    if (given !== undefined && typeof given !== "function") throw new OptionError(path, given, "a function");
  }
  const fail = (message: string) => new CacheError("ERR_CACHE_SOURCE", `Source ${show(name)} ${message}`);

  return {
    name,
    async load(keys, { signal } = {}) {
      const wanted = new Set(keys);
      if (wanted.size === 0) return new Map();
      const list = [...wanted];
      const answer: unknown = await abortable(signal, async () => load(list, { signal }));
      if (Array.isArray(answer)) return fromArray(list, answer, fail);
      if (answer instanceof Map) return fromMap(wanted, answer, fail);
      throw fail(
        `answered a load with ${show(answer)}: expected a Map, or an array in the order of the keys.`,
      );
    },
    async save(entries, { signal } = {}) {
      if (save === undefined) throw fail("cannot write: give `save` to source().");
      const latest = new Map(entries);
      if (latest.size > 0) await abortable(signal, async () => save([...latest], { signal }));
    },
    async delete(keys, { signal } = {}) {
      if (remove === undefined) throw fail("cannot delete: give `delete` to source().");
      const list = [...new Set(keys)];
      if (list.length === 0) return 0;
      const count: unknown = await abortable(signal, async () => remove(list, { signal }));
      if (typeof count === "number" && Number.isInteger(count) && count >= 0) return count;
      throw fail(`answered a delete with ${show(count)}: expected how many existed.`);
    },
  };
}

type Fail = (message: string) => CacheError;

function fromArray<K, V>(keys: readonly K[], values: readonly (V | undefined)[], fail: Fail): Map<K, V> {
  if (values.length !== keys.length)
    throw fail(
      `answered a load of ${keys.length} keys with an array of ${values.length}: ` +
        "expected one value a key, in their order, `undefined` where nothing is there.",
    );
  const found = new Map<K, V>();
  keys.forEach((key, at) => {
    const value = values[at];
    if (value !== undefined) found.set(key, value);
  });
  return found;
}

/** A key of another type (5 for "5") would look like "nothing there", so that it is an error. */
function fromMap<K, V>(wanted: ReadonlySet<K>, answer: ReadonlyMap<K, V>, fail: Fail): Map<K, V> {
  const found = new Map<K, V>();
  for (const [key, value] of answer) {
    if (!wanted.has(key))
      throw fail(`answered a load with key ${show(key)} (a ${typeof key}), which was not asked for.`);
    if (value !== undefined) found.set(key, value);
  }
  return found;
}
