import { createHash } from "node:crypto";
import { types } from "node:util";
import { KeyError } from "./errors.ts";
import { describe, isBuiltIn, isRecord, step } from "./plain.ts";
import { viewName } from "./rich.ts";

/** Nesting beyond this is refused: arguments that deep make no good key. */
const MAX_DEPTH = 50;
/** So is more than this many items and properties, which also bounds the time that repeated references can take. */
const MAX_PARTS = 100_000;

/** A walk over the arguments of one call. */
interface Walk {
  /** Objects that hold the place looked at. */
  readonly holders: object[];
  parts: number;
}

/**
 * A text for the arguments of a call in which different arguments never collide, and equal ones are the
 * same in whatever order their properties, Map entries or Set members come. An object without a prototype
 * counts as a plain one; `f(1)` and `f(1, undefined)` differ.
 * @throws {KeyError} for what has no content to tell it by (functions, symbols, class instances, circular values).
 */
export function canonicalArguments(args: readonly unknown[]): string {
  const walk: Walk = { holders: [], parts: 0 };
  return args.map((arg, i) => canonical(arg, walk, `argument ${i}`)).join(",");
}

function canonical(value: unknown, walk: Walk, place: string): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return `${value}n`;
    case "boolean":
    case "undefined":
      return String(value);
    case "object":
      if (value !== null) break;
      return "null";
    default:
      throw refused(value, place);
  }
  const { holders } = walk;
  if (holders.includes(value) || holders.length >= MAX_DEPTH)
    throw new KeyError(
      place,
      "arguments that are not circular (or deeper than 50 levels); give a `key` function",
    );
  holders.push(value);
  const text = canonicalObject(value, walk, place);
  holders.pop();
  return text;
}

function canonicalObject(value: object, walk: Walk, place: string): string {
  const inside = (child: unknown, at: string): string => {
    count(walk, 1, place);
    return canonical(child, walk, at);
  };
  if (Array.isArray(value) && isBuiltIn(value, Array)) return canonicalArray(value, walk, place, inside);
  if (isRecord(value)) {
    const properties = Object.entries(value).map(
      ([key, child]) => [key, inside(child, step(place, key))] as const,
    );
    properties.sort(([a], [b]) => (a < b ? -1 : 1));
    if (hasSymbols(value)) throw refused(value, place, " keyed by symbols");
    return `{${properties.map(([key, child]) => `${JSON.stringify(key)}:${child}`).join(",")}}`;
  }
  if (ArrayBuffer.isView(value)) {
    const name = viewName(value);
    if (name === undefined) throw refused(value, place);
    return `${name}(${digest(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))})`;
  }
  if (Object.keys(value).length > 0 || hasSymbols(value))
    throw refused(value, place, " with properties of its own");
  if (types.isDate(value) && isBuiltIn(value, Date)) return `Date(${value.getTime()})`;
  if (types.isRegExp(value) && isBuiltIn(value, RegExp))
    return `RegExp(${JSON.stringify(value.source)},${value.flags},${value.lastIndex})`;
  if (value instanceof URL && isBuiltIn(value, URL)) return `URL(${JSON.stringify(value.href)})`;
  if (types.isMap(value) && isBuiltIn(value, Map)) {
    const pairs = [...value].map(
      ([key, child], i) =>
        `${inside(key, `${place}.keys()[${i}]`)}=>${inside(child, `${place}.values()[${i}]`)}`,
    );
    return `Map(${pairs.sort().join(",")})`;
  }
  if (types.isSet(value) && isBuiltIn(value, Set))
    return `Set(${[...value]
      .map((child, i) => inside(child, `${place}.values()[${i}]`))
      .sort()
      .join(",")})`;
  if (types.isArrayBuffer(value)) return `ArrayBuffer(${digest(new Uint8Array(value))})`;
  throw refused(value, place);
}

/** Written like array literals, holes and all: `[1,,]` is one item and one hole. */
function canonicalArray(
  value: readonly unknown[],
  walk: Walk,
  place: string,
  inside: (child: unknown, at: string) => string,
): string {
  count(walk, value.length, place);
  const items = Array.from({ length: value.length }, (_, i) =>
    i in value ? inside(value[i], `${place}[${i}]`) : "",
  );
  const filled = Object.keys(value).length;
  if (filled !== value.reduce((n: number) => n + 1, 0) || hasSymbols(value))
    throw refused(value, place, " with properties of its own");
  return `[${items.join(",")}${value.length > 0 && !(value.length - 1 in value) ? "," : ""}]`;
}

function count(walk: Walk, parts: number, place: string): void {
  walk.parts += parts;
  if (walk.parts > MAX_PARTS)
    throw new KeyError(place, `arguments of at most ${MAX_PARTS} parts; give a \`key\` function`);
}

function hasSymbols(value: object): boolean {
  return Object.getOwnPropertySymbols(value).some((key) =>
    Object.prototype.propertyIsEnumerable.call(value, key),
  );
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64url");
}

function refused(value: unknown, place: string, more = ""): KeyError {
  return new KeyError(
    place,
    `arguments that are plain data (it is ${describe(value)}${more}); give a \`key\` function`,
  );
}
