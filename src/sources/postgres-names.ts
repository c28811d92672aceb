import { OptionError, show } from "../base/errors.ts";

/** A name in double quotes, so that no content of it can end it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** One part of a dotted name: in double quotes (`""` is one of them), or anything without dots and quotes. */
const PART = /(?:"((?:[^"]|"")+)"|([^".]+))(\.|$)/y;

/**
 * Reads `table` or `schema.table` and quotes it. Parts may be in double quotes to contain dots. Names are taken
 * as they are written: upper case stays.
 * @throws {OptionError} when it is neither.
 */
export function quotedTable(table: unknown, path: string): string {
  const expected = 'a table: "products", "shop.products", or with parts in double quotes';
  if (typeof table !== "string" || table.includes("\0")) throw new OptionError(path, table, expected);
  const parts: string[] = [];
  PART.lastIndex = 0;
  for (let ended = false; !ended; ) {
    const match = PART.exec(table);
    if (match === null || parts.length === 2) throw new OptionError(path, table, expected);
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    ended = match[3] === "";
  }
  return parts.map(quoted).join(".");
}

/** Checks a column's name. It is taken literally: dots and quotes belong to it. */
export function columnName(column: unknown, path: string): string {
  if (typeof column === "string" && column !== "" && !column.includes("\0")) return column;
  throw new OptionError(path, column, "the name of a column");
}

/** Names of types have words, digits and `_`, perhaps a schema, precision or `[]`: nothing that ends a cast. */
const TYPE = /^[a-z_][\w ]*(\.[a-z_]\w*)?(\(\d+(, ?\d+)?\))?(\[\])*$/i;

/** Checks the name of a type, which goes into statements as it is. */
export function typeName(type: unknown, path: string): string {
  if (typeof type === "string" && TYPE.test(type)) return type;
  throw new OptionError(path, type, `the name of a PostgreSQL type, such as ${show("bigint")}`);
}
