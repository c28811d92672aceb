import { rowJson } from "./postgres-json.ts";
import { quoted } from "./postgres-names.ts";
import type { TableFacts } from "./postgres-table.ts";

/** One statement and its parameters. */
export interface Statement {
  readonly text: string;
  readonly params: string[];
}

/**
 * The one statement that inserts or replaces rows, all or nothing. Rows of the same columns share one insert;
 * the others are further parts of the same statement, so that no transaction is needed (a pool has none).
 * Each key must be there once.
 */
export function saveStatement(
  table: string,
  key: string,
  rows: readonly Readonly<Record<string, unknown>>[],
  facts: TableFacts,
): Statement {
  const groups = Map.groupBy(rows, (row) =>
    JSON.stringify(
      Object.keys(row)
        .filter((column) => row[column] !== undefined && !facts.generated.has(column))
        .sort(),
    ),
  );
  const parts: string[] = [];
  const params: string[] = [];
  for (const [id, group] of groups) {
    // Reason of the cast: the group's id is the list that was written above.
    const columns = JSON.parse(id) as string[];
    params.push(`[${group.map((row) => rowJson(row, facts.utcColumns)).join(",")}]`);
    parts.push(...upsert(table, key, columns, facts, params.length));
  }
  return { text: `WITH ${parts.join(",\n")}\nSELECT 1 AS saved`, params };
}

function upsert(table: string, key: string, columns: string[], facts: TableFacts, n: number): string[] {
  const list = columns.map(quoted).join(", ");
  const others = columns.filter((column) => column !== key).map(quoted);
  const k = quoted(key);
  // No table may have the name of a part: it could not be written to.
  const [rows, updated, saved] = ["rows", "updated", "saved"].map((part) => `caching_universal_${part}${n}`);
  const given = `${rows} AS (SELECT ${list} FROM json_populate_recordset(NULL::${table}, $${n}::text::json))`;
  const onConflict = others.length === 0 ? "NOTHING" : `UPDATE SET ${assign(others, "excluded")}`;
  const insert = (where: string) =>
    `${saved} AS (INSERT INTO ${table} (${list}) OVERRIDING SYSTEM VALUE
       SELECT ${list} FROM ${rows}${where} ON CONFLICT (${k}) DO ${onConflict})`;
  // An insert is checked for missing columns before it can turn out to be an update, so rows that lack some
  // which a new row must have are updated first. What another transaction inserts meanwhile conflicts as usual.
  const partial = facts.required.some((column) => !columns.includes(column));
  if (!partial || others.length === 0) return [given, insert("")];
  return [
    given,
    `${updated} AS (UPDATE ${table} AS t SET ${assign(others, `${rows}`)} FROM ${rows}
       WHERE t.${k} = ${rows}.${k} RETURNING t.${k})`,
    insert(` WHERE ${k} NOT IN (SELECT ${k} FROM ${updated})`),
  ];
}

const assign = (columns: readonly string[], from: string) =>
  columns.map((column) => `${column} = ${from}.${column}`).join(", ");
