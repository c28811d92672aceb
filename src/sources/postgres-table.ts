import { CacheError } from "../base/errors.ts";
import type { PostgresClient } from "./postgres.ts";

/** What the database's catalog says of a table. */
export interface TableFacts {
  /** Name of the key's type, ready to be cast to. */
  readonly keyType: string;
  /** Columns that the database computes: never written. */
  readonly generated: ReadonlySet<string>;
  /** Columns that a new row must have. */
  readonly required: readonly string[];
  /** Columns whose dates the client reads in UTC. */
  readonly utcColumns: ReadonlySet<string>;
}

const FACTS = `
  SELECT a.attname AS name,
         -- A domain by its base type: its checks must not fail a load of keys that cannot be there. Without
         -- a length, since a cast to one cuts off.
         format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, -1) AS type,
         a.attgenerated <> '' AS generated,
         a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped`;

/** Asks the catalog about a table. @throws {CacheError} when it has no such key column. */
export async function tableFacts(
  client: PostgresClient,
  table: string,
  key: string,
  keyType: string | undefined,
): Promise<TableFacts> {
  const result = await client.query(FACTS, [table]);
  const columns = result.rows;
  const ofKey = columns.find((column) => column.name === key);
  if (ofKey === undefined)
    throw new CacheError(
      "ERR_CACHE_SOURCE",
      `Table ${table} has no column "${key}": check the option "key".`,
    );
  const names = (wanted: (column: Record<string, unknown>) => boolean) =>
    columns.filter(wanted).map((column) => String(column.name));
  // PGlite reads a `date` in UTC, pg in local time; only PGlite's results count `affectedRows`.
  const isPglite = "affectedRows" in result;
  return {
    keyType: keyType ?? String(ofKey.type),
    generated: new Set(names((column) => column.generated === true)),
    required: names((column) => column.required === true),
    utcColumns: new Set(names(({ type }) => isPglite && (type === "date" || type === "date[]"))),
  };
}
