/**
 * Values of a row as JSON that `json_populate_recordset` reads back as the types of the columns. One text
 * parameter serves every client: how they would send a Date, an array or bytes differs, text does not.
 */

/** A row as a JSON object; fields that are `undefined` are left out. */
export function rowJson(row: Readonly<Record<string, unknown>>, utcColumns: ReadonlySet<string>): string {
  const fields = Object.entries(row)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${JSON.stringify(name)}:${valueJson(value, utcColumns.has(name))}`);
  return `{${fields.join(",")}}`;
}

function valueJson(value: unknown, utc: boolean): string {
  if (value === null || value === undefined) return "null";
  // As digits: exact in a bigint, a numeric and a jsonb column.
  if (typeof value === "bigint") return String(value);
  // JSON has no NaN and Infinity, and would make them null; as text the number types read them.
  if (typeof value === "number") return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
  if (value instanceof Date) return JSON.stringify(timestamp(value, utc));
  if (value instanceof Uint8Array) return `"\\\\x${Buffer.from(value).toString("hex")}"`;
  if (Array.isArray(value)) return `[${value.map((item) => valueJson(item, utc)).join(",")}]`;
  const own = postgresText(value);
  if (own !== undefined) return JSON.stringify(own);
  // A function or a symbol has no JSON.
  return JSON.stringify(value, digits) ?? "null";
}

/** Keeps the digits of bigints inside documents; `JSON.rawJSON` is not yet known to TypeScript's libraries. */
function digits(_key: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  // Reason of the cast: every supported Node has it, and no `lib` declares it.
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}

/** Objects that `pg` hands out for some types (intervals) know how they are written. */
function postgresText(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("toPostgres" in value)) return undefined;
  const { toPostgres } = value;
  if (typeof toPostgres !== "function") return undefined;
  const text: unknown = toPostgres.call(value, String);
  return typeof text === "string" ? text : undefined;
}

/**
 * A date with its offset. In local time, because columns without a time zone drop the offset and clients read
 * them as local time, so that what was loaded is saved as it was.
 */
function timestamp(date: Date, utc: boolean): string {
  if (Number.isNaN(date.getTime())) throw new RangeError("An invalid Date cannot be saved.");
  // From the fields of local time, since `getTimezoneOffset` leaves out the seconds that old offsets have.
  const shifted = new Date(date);
  if (!utc) {
    shifted.setUTCFullYear(date.getFullYear(), date.getMonth(), date.getDate());
    shifted.setUTCHours(date.getHours(), date.getMinutes(), date.getSeconds());
  }
  const offset = (shifted.getTime() - date.getTime()) / 1_000;
  const [sign, size] = [offset < 0 ? "-" : "+", Math.abs(offset)];
  const zone = `${sign}${two(size / 3_600)}:${two((size / 60) % 60)}:${two(size % 60)}`;
  const year = shifted.getUTCFullYear();
  const rest = shifted.toISOString().slice(-20, -1);
  const written = `${String(year > 0 ? year : 1 - year).padStart(4, "0")}${rest}${zone}`;
  return year > 0 ? written : `${written} BC`;
}

const two = (n: number) => String(Math.trunc(n)).padStart(2, "0");

/** An array literal of texts, to be cast to an array of any type. */
export function arrayText(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replace(/[\\"]/g, "\\$&")}"`).join(",")}}`;
}
