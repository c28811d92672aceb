import { CacheError, OptionError, show } from "../base/errors.ts";
import { abortable } from "./abortable.ts";
import { arrayText } from "./postgres-json.ts";
import { byText, canExist } from "./postgres-keys.ts";
import { columnName, quoted, quotedTable, typeName } from "./postgres-names.ts";
import { saveStatement } from "./postgres-save.ts";
import { type TableFacts, tableFacts } from "./postgres-table.ts";
import type { Source } from "./source.ts";

/** What the source needs of a client: `Pool` and `Client` of `pg` have it, PGlite has it, and so may others. */
export interface PostgresClient {
  query(text: string, params?: unknown[]): Promise<{ readonly rows: Record<string, unknown>[] }>;
}

/** Options of {@link postgres}. Defaults in brackets. */
export interface PostgresOptions<V> {
  /** The table, as it is written in the database: `"products"`, `"shop.products"`; dots inside `"..."` are names'. */
  readonly table: string;
  /** The column of the key; it must be unique (a primary key, or with a unique index). */
  readonly key: string;
  /** Columns to load and to save [all of the row; all that the value has]. */
  readonly columns?: readonly string[] | undefined;
  /** Type of the key column, such as `"bigint"` [looked up once]. */
  readonly keyType?: string | undefined;
  /** A query of your own for loads. `$1` is the array of keys; its rows must have the key column. */
  readonly load?: string | undefined;
  /** Makes a value from a row [the row]. */
  readonly fromRow?: ((row: Record<string, unknown>) => V) | undefined;
  /** Makes a row from a value; columns it lacks keep what they have [the value's own fields]. */
  readonly toRow?: ((value: V) => Record<string, unknown>) | undefined;
}

/** Most keys of one load statement; a longer load is split. */
const MAX_KEYS = 10_000;
/** The column that carries the place of a key through a load; taken off every row. */
const PLACE = "caching_universal_place";

/**
 * A table of PostgreSQL as a source: rows load by key in one statement, values are saved by one upsert and
 * deleted by one statement, so that a write of many is all or nothing without a transaction.
 *
 * Values have the types that your client gives them; they are saved as the types of the columns (jsonb, arrays,
 * numeric, timestamptz, bytea and bigint included). Columns that the database computes are never written.
 * Keys that the key's type cannot hold are "nothing there". Of the same key twice in a save, the last counts.
 * An aborted signal rejects at once with its reason; a statement under way goes on in the database.
 * @throws {OptionError} when an option cannot be used. Errors of the database are passed on as they are.
 * @example
 * const products = cache.collection("product", {
 *   source: postgres<Product>(pool, { table: "products", key: "id" }),
 * });
 */
export function postgres<V = Record<string, unknown>, K extends string | number | bigint = string>(
  client: PostgresClient,
  options: PostgresOptions<V>,
): Source<K, V> {
  const { table, key, columns, keyType, load: ownLoad, fromRow, toRow } = resolve(client, options);
  const pick = columns?.map((column) => `t.${quoted(column)}`).join(", ") ?? "t.*";

  let facts: Promise<TableFacts> | undefined;
  const factsOnce = () => {
    facts ??= tableFacts(client, table, key, keyType).catch((error) => {
      facts = undefined;
      throw error;
    });
    return facts;
  };
  const typeOnce = async () => keyType ?? (await factsOnce()).keyType;

  /** Rows of keys by the keys' texts. The database says which key a row is of: only it knows what is equal. */
  async function loadRows(
    texts: readonly string[],
    type: string,
  ): Promise<[string, Record<string, unknown>][]> {
    const { rows } = await client.query(
      `SELECT ${pick}, k.place::int AS ${PLACE}
         FROM unnest($1::text::text[]) WITH ORDINALITY AS k(text, place)
         JOIN ${table} AS t ON t.${quoted(key)} = k.text::${type}`,
      [arrayText(texts)],
    );
    return rows.map(({ [PLACE]: place, ...row }) => [texts[Number(place) - 1] ?? "", row]);
  }

  async function loadOwnRows(
    sql: string,
    texts: readonly string[],
  ): Promise<[string, Record<string, unknown>][]> {
    const asked = new Set(texts);
    const { rows } = await client.query(sql, [[...texts]]);
    return rows.map((row) => {
      const text = String(row[key]);
      if (asked.has(text)) return [text, row];
      throw new CacheError(
        "ERR_CACHE_SOURCE",
        `The query of option "load" answered a row whose "${key}" is ${show(row[key])}, which was not asked for.`,
      );
    });
  }

  const rowOf = (entryKey: K, value: V): Record<string, unknown> => {
    const given: unknown = toRow === undefined ? value : toRow(value);
    if (typeof given !== "object" || given === null || Array.isArray(given))
      throw new CacheError(
        "ERR_CACHE_SOURCE",
        `The value of key ${show(entryKey)} is ${show(given)}, not a row: give \`toRow\` to postgres().`,
      );
    // Reason of the cast: an object's fields, whatever they are.
    const row = { ...(given as Record<string, unknown>) };
    const own = row[key];
    if (own !== undefined && own !== null && String(own).toLowerCase() !== String(entryKey).toLowerCase())
      throw new CacheError(
        "ERR_CACHE_SOURCE",
        `The value of key ${show(entryKey)} has ${show(own)} in its key column "${key}".`,
      );
    const picked = columns === undefined ? row : Object.fromEntries(columns.map((name) => [name, row[name]]));
    return { ...picked, [key]: entryKey };
  };

  return {
    name: "postgres",
    load(keys, { signal } = {}) {
      return abortable(signal, async () => {
        const values = new Map<K, V>();
        if (keys.length === 0) return values;
        const type = await typeOnce();
        const wanted = byText(keys);
        const texts = [...wanted.keys()].filter((text) => canExist(text, type));
        for (let at = 0; at < texts.length && !signal?.aborted; at += MAX_KEYS) {
          const some = texts.slice(at, at + MAX_KEYS);
          const rows = await (ownLoad === undefined ? loadRows(some, type) : loadOwnRows(ownLoad, some));
          for (const [text, row] of rows) {
            const value = fromRow(row);
            for (const same of wanted.get(text) ?? []) values.set(same, value);
          }
        }
        return values;
      });
    },
    save(entries, { signal } = {}) {
      return abortable(signal, async () => {
        if (entries.length === 0) return;
        const rows = new Map(entries.map(([entryKey, value]) => [String(entryKey), rowOf(entryKey, value)]));
        const { text, params } = saveStatement(table, key, [...rows.values()], await factsOnce());
        // The look-up above may have taken the time in which the caller gave up.
        signal?.throwIfAborted();
        await client.query(text, params);
      });
    },
    delete(keys, { signal } = {}) {
      return abortable(signal, async () => {
        if (keys.length === 0) return 0;
        const type = await typeOnce();
        const texts = [...byText(keys).keys()].filter((text) => canExist(text, type));
        signal?.throwIfAborted();
        if (texts.length === 0) return 0;
        // A join, like the load: `= ANY` of a parameter is compared item by item where no index is used.
        const { rows } = await client.query(
          `WITH caching_universal_gone AS (
             DELETE FROM ${table} AS t WHERE t.${quoted(key)} IN (
               SELECT k.text::${type} FROM unnest($1::text::text[]) AS k(text)
             ) RETURNING 1
           ) SELECT count(*)::int AS gone FROM caching_universal_gone`,
          [arrayText(texts)],
        );
        return Number(rows[0]?.gone);
      });
    },
  };
}

function resolve<V>(client: PostgresClient, options: PostgresOptions<V>) {
  if (typeof client?.query !== "function")
    throw new OptionError(
      "client",
      client,
      "a Pool or Client of pg, a PGlite, or anything with `query(text, params)`",
    );
  const { columns, keyType, load, fromRow, toRow } = options;
  if (columns !== undefined && (!Array.isArray(columns) || columns.length === 0))
    throw new OptionError("columns", columns, "an array of names of columns");
  if (load !== undefined && (typeof load !== "string" || !load.includes("$1")))
    throw new OptionError("load", load, "SQL with $1, the array of keys");
  for (const [path, given] of Object.entries({ fromRow, toRow })) {
    if (given !== undefined && typeof given !== "function") throw new OptionError(path, given, "a function");
  }
  return {
    table: quotedTable(options.table, "table"),
    key: columnName(options.key, "key"),
    columns: columns?.map((column, at) => columnName(column, `columns[${at}]`)),
    keyType: keyType === undefined ? undefined : typeName(keyType, "keyType").toLowerCase(),
    load,
    // Reason of the cast: without `fromRow` the caller says by `V` what a row is.
    fromRow: fromRow ?? ((row: Record<string, unknown>) => row as V),
    toRow,
  };
}
