import { createHash } from "node:crypto";
import { KeyError } from "./errors.ts";
import { describe } from "./plain.ts";

/** Nesting beyond this is refused: arguments that deep make no good key. */
const MAX_DEPTH = 50;

/**
 * A text for the arguments of a call in which different arguments never collide, and equal ones are the
 * same in whatever order their properties, Map entries or Set members come.
 * @throws {KeyError} for what has no content to tell it by (functions, symbols, class instances, circular values).
 */
export function canonicalArguments(args: readonly unknown[]): string {
  return args.map((arg, i) => canonical(arg, [], `argument ${i}`)).join(",");
}

function canonical(value: unknown, parents: readonly object[], place: string): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return `${value}n`;
    case "boolean":
      return String(value);
    case "undefined":
      return "undefined";
    case "object":
      return value === null ? "null" : canonicalObject(value, parents, place);
    default:
      throw refused(value, place);
  }
}

function canonicalObject(value: object, parents: readonly object[], place: string): string {
  if (parents.includes(value) || parents.length > MAX_DEPTH)
    throw new KeyError(place, "arguments that are not circular (or deeper than 50 levels); give a `key` function");
  const inside = (child: unknown, at: string): string => canonical(child, [...parents, value], `${place}${at}`);
  if (Array.isArray(value)) {
    // Holes are not undefined.
    const items = Array.from({ length: value.length }, (_, i) => (i in value ? inside(value[i], `[${i}]`) : ""));
    return `[${items.join(",")}${value.length > 0 && !(value.length - 1 in value) ? "," : ""}]`;
  }
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (value instanceof RegExp) return `RegExp(${JSON.stringify(value.source)},${value.flags})`;
  if (value instanceof URL) return `URL(${JSON.stringify(value.href)})`;
  if (value instanceof Map) {
    const pairs = [...value].map(([key, child], i) => `${inside(key, `.key(${i})`)}=>${inside(child, `.value(${i})`)}`);
    return `Map(${pairs.sort().join(",")})`;
  }
  if (value instanceof Set) return `Set(${[...value].map((child, i) => inside(child, `.member(${i})`)).sort().join(",")})`;
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `${value.constructor.name}(${createHash("sha256").update(bytes).digest("base64url")})`;
  }
  if (value instanceof ArrayBuffer) return `ArrayBuffer(${createHash("sha256").update(new Uint8Array(value)).digest("base64url")})`;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refused(value, place);
  const properties = Reflect.ownKeys(value).map((key) => {
    if (typeof key === "symbol") throw refused(key, place);
    return [key, inside((value as Record<string, unknown>)[key], `.${key}`)] as const; // an own key
  });
  properties.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${properties.map(([key, child]) => `${JSON.stringify(key)}:${child}`).join(",")}}`;
}

function refused(value: unknown, place: string): KeyError {
  return new KeyError(place, `arguments that are plain data (it is ${describe(value)}); give a \`key\` function`);
}
