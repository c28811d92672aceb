/** Deeper values are left to the careful encoder: they may be circular, and recursion must stay bounded. */
const MAX_DEPTH = 100;
/** Objects a walk visits before it gives up: a value full of repeated references unfolds without end. */
const MAX_OBJECTS = 1_000_000;

/** A place in a value that JSON would lose or change. */
export interface Lossy {
  /** Such as `.user.roles[0]`; empty for the value itself. */
  readonly path: string;
  /** Such as "an instance of Date". */
  readonly what: string;
}

let budget = 0;

/**
 * Whether `JSON.parse(JSON.stringify(value))` gives back an equal value. Repeated references count as plain
 * (they become copies). This walk runs for every value that leaves the process, so it allocates little.
 */
export function isPlain(value: unknown): boolean {
  budget = MAX_OBJECTS;
  return walk(value, 0);
}

function walk(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "string":
      return value.isWellFormed();
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && !(value === 0 && Object.is(value, -0));
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth > MAX_DEPTH || budget-- <= 0) return false;
  if (Array.isArray(value)) return walkArray(value, depth);
  if (!isRecord(value) || Object.getPrototypeOf(value) === null) return false;
  const keys = Object.keys(value);
  if (Object.getOwnPropertyNames(value).length !== keys.length) return false;
  if (Object.getOwnPropertySymbols(value).length > 0) return false;
  for (const key of keys) {
    if (key === "toJSON" || key === "__proto__" || !key.isWellFormed()) return false;
    // Without calling a getter: it has no value here, and is not plain.
    if (!walk(Object.getOwnPropertyDescriptor(value, key)?.value, depth + 1)) return false;
  }
  return true;
}

function walkArray(value: readonly unknown[], depth: number): boolean {
  // A hole reads as undefined, which is not plain either.
  for (let i = 0; i < value.length; i++) if (!walk(value[i], depth + 1)) return false;
  // Properties besides the items (as a RegExp match has) would be lost, and so would a class of its own.
  return Object.keys(value).length === value.length && isBuiltIn(value, Array) && !("toJSON" in value);
}

/** An object of no class: `{}`, one from another realm (a `node:vm` context), or one without a prototype. */
export function isRecord(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  return (
    typeof prototype === "object" &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype as object, "isPrototypeOf")
  ); // null is ruled out above
}

/** Whether a value is of this built-in class itself (of any realm) and not of a class that extends it. */
export function isBuiltIn(
  value: object,
  type: { readonly prototype: object; readonly name: string },
): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === type.prototype || prototype?.constructor?.name === type.name;
}

/** The first place that makes a value not plain; undefined when it is plain. */
export function firstLossy(value: unknown): Lossy | undefined {
  if (isPlain(value)) return undefined;
  // One budget for the whole search: to ask `isPlain` of every part would spend it anew at every level.
  budget = MAX_OBJECTS;
  return lossyIn(value, 0) ?? { path: "", what: `made of more than ${MAX_OBJECTS} objects` };
}

/** Undefined also when the budget ran out. Paths are put together on the way back, from the one place found. */
function lossyIn(value: unknown, depth: number): Lossy | undefined {
  if (typeof value !== "object" || value === null)
    return walk(value, depth) ? undefined : { path: "", what: describe(value) };
  if (depth > MAX_DEPTH) return { path: "", what: `nested more than ${MAX_DEPTH} levels deep, or circular` };
  if (budget-- <= 0) return undefined;
  if (Array.isArray(value) && isBuiltIn(value, Array)) return lossyInArray(value, depth);
  if (Array.isArray(value) || Object.getPrototypeOf(value) === null || !isRecord(value))
    return { path: "", what: describe(value) };
  for (const key of Reflect.ownKeys(value)) {
    const lossy = lossyProperty(value, key, depth);
    if (lossy !== undefined) return { path: step("", key) + lossy.path, what: lossy.what };
    if (budget < 0) return undefined;
  }
  return undefined;
}

function lossyInArray(value: readonly unknown[], depth: number): Lossy | undefined {
  for (let i = 0; i < value.length; i++) {
    const lossy = i in value ? lossyIn(value[i], depth + 1) : { path: "", what: "a hole" };
    if (lossy !== undefined) return { path: step("", i) + lossy.path, what: lossy.what };
    if (budget < 0) return undefined;
  }
  return Object.keys(value).length === value.length && !("toJSON" in value)
    ? undefined
    : { path: "", what: "an array with properties of its own" };
}

function lossyProperty(value: object, key: string | symbol, depth: number): Lossy | undefined {
  if (typeof key === "symbol") return { path: "", what: "keyed by a symbol" };
  const property = Object.getOwnPropertyDescriptor(value, key);
  if (property?.get !== undefined || property?.set !== undefined) return { path: "", what: "a getter" };
  if (property?.enumerable !== true) return { path: "", what: "not enumerable" };
  const lossy = lossyIn(property.value, depth + 1);
  if (lossy !== undefined) return lossy;
  return key === "toJSON" || key === "__proto__" || !key.isWellFormed()
    ? { path: "", what: "under a name that JSON gives another meaning" }
    : undefined;
}

/** A path one property further. */
export function step(path: string, key: PropertyKey): string {
  if (typeof key === "symbol") return `${path}[${String(key)}]`;
  if (typeof key === "number") return `${path}[${key}]`;
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

/** What a value is, in words. */
export function describe(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "string") return "text with a lone surrogate";
  if (typeof value !== "object" || value === null)
    return value === undefined ? "undefined" : `a ${typeof value}`;
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === "string" && name !== "" ? `an instance of ${name}` : "an object without a prototype";
}
