import { isUtf8 } from "node:buffer";
import { RefusedError } from "../../base/errors.ts";
import type { FoundEntry, StoredEntry } from "../store.ts";
import type { EncodedRecord, Lifetime } from "./record.ts";

/** First byte of every record in this layout: `{`. */
export const BRACE = 0x7b;

/** Values that codecs of this package wrote as JSON or text stand as such; the first bytes say which. */
const INLINE = [
  { as: "structured", head: Buffer.from([1, 0, 0]) },
  { as: "json", head: Buffer.from([2, 0]) },
] as const;
/** A text of the structured codec stands as a JSON string. */
const TEXT = { as: "text", head: Buffer.from([1, 0, 1]) } as const;

/** An entry in the JSON layout of docs/redis.md. The order of its fields is part of it: scripts go by it. */
export function encodeJson(entry: StoredEntry, { ttl, grace }: Lifetime): EncodedRecord {
  const end = (ms: number): string => (ms === Number.POSITIVE_INFINITY ? "null" : String(ms));
  const generation = plainText(entry.generation);
  // Scripts look for it in the first bytes of a record.
  if (Buffer.byteLength(generation) > 257)
    throw new RefusedError("A generation's name takes at most 255 bytes.");
  const { as, value } = encodeValue(entry.value);
  const facts = [
    // Thirteen digits, which the server fills in: until the year 2286 it has so many.
    '{"storedAt":0000000000000',
    `"ttl":${end(ttl)}`,
    `"grace":${end(grace)}`,
    `"asOf":${entry.asOf}`,
    `"generation":${generation}`,
    `"tags":${JSON.stringify(entry.tags)}`,
    `"cost":${Math.max(0, entry.cost)}`,
    `"sliding":${end(Math.ceil(entry.sliding))}`,
    `"shape":${entry.shape}`,
    `"as":"${as}"`,
    '"value":',
  ];
  return Buffer.concat([Buffer.from(facts.join(",")), value, CLOSE]);
}

const CLOSE = Buffer.from("}");
const VALUE = Buffer.from('"value":');
const LEASE = /^\{"lease":"[\w-]+","until":\d+,"awaited":[01]/;
const FACTS =
  /^[{,]"storedAt":(\d{13}),"ttl":(\d+|null),"grace":(\d+|null),"asOf":([\d.]+),"generation":("[^"]*"),"tags":(\[.*\]),"cost":([\d.e-]+),"sliding":(\d+|null),"shape":(\d+),"as":"(\w+)",$/s;

/** The entry in a record, behind its lease if it has one; undefined for anything else. */
export function decodeJson(record: Buffer, now: number): FoundEntry | undefined {
  // The facts end where the value begins: tags are the only place before it where that text could stand, quoted.
  const valueAt = record.indexOf(VALUE);
  if (valueAt < 0 || record.at(-1) !== CLOSE[0]) return undefined;
  const text = record.toString("utf8", 0, valueAt);
  const facts = FACTS.exec(text.slice(LEASE.exec(text)?.[0].length ?? 0));
  if (facts === null) return undefined;
  const [, storedAt, ttl, grace, asOf, generation, tags, cost, sliding, shape, as] = facts;
  try {
    const value = decodeValue(as ?? "", record.subarray(valueAt + VALUE.length, -1));
    const names: unknown = JSON.parse(tags ?? "");
    if (value === undefined || !Array.isArray(names)) return undefined;
    const entry: StoredEntry = {
      value,
      ttl: span(ttl),
      grace: span(grace),
      asOf: Number(asOf),
      generation: String(JSON.parse(generation ?? "")),
      tags: names.map(String),
      cost: Number(cost),
      sliding: span(sliding),
      shape: Number(shape),
    };
    return { entry, age: Math.max(0, now - Number(storedAt)) };
  } catch {
    return undefined; // not JSON
  }
}

/** A JSON text with no escaped quote or backslash in it, so that a script finds its end: they stand as \u0022, \u005c. */
export function plainText(text: string): string {
  return JSON.stringify(text).replace(/\\(["\\])/g, (_, found) => (found === '"' ? "\\u0022" : "\\u005c"));
}

function encodeValue(frame: Uint8Array): { readonly as: string; readonly value: Buffer } {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  if (startsWith(bytes, TEXT.head)) {
    const body = bytes.subarray(TEXT.head.length);
    if (isUtf8(body)) return { as: TEXT.as, value: Buffer.from(JSON.stringify(body.toString())) };
  }
  for (const { as, head } of INLINE) {
    const body = bytes.subarray(head.length);
    if (startsWith(bytes, head) && isJson(body)) return { as, value: body };
  }
  return { as: "bytes", value: Buffer.from(`"${bytes.toString("base64")}"`) };
}

function decodeValue(as: string, value: Buffer): Uint8Array | undefined {
  const inline = INLINE.find((form) => form.as === as);
  if (inline !== undefined) return Buffer.concat([inline.head, value]);
  const text: unknown = JSON.parse(value.toString());
  if (typeof text !== "string") return undefined;
  if (as === TEXT.as) return Buffer.concat([TEXT.head, Buffer.from(text)]);
  return as === "bytes" ? Buffer.from(text, "base64") : undefined;
}

function startsWith(bytes: Buffer, head: Buffer): boolean {
  return bytes.length > head.length && bytes.subarray(0, head.length).equals(head);
}

/** Other programs read it: what is not JSON must not stand there, whatever the codec. */
function isJson(bytes: Buffer): boolean {
  try {
    if (!isUtf8(bytes)) return false;
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

function span(text: string | undefined): number {
  return text === "null" ? Number.POSITIVE_INFINITY : Number(text);
}
