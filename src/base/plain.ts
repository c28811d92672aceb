/** Deeper values are left to the careful encoder: they may be circular, and recursion must stay bounded. */
const MAX_DEPTH = 100;

/** A place in a value that JSON would lose or change. */
export interface Lossy {
  /** Such as `.user.roles[0]`; empty for the value itself. */
  readonly path: string;
  /** Such as "a Date". */
  readonly what: string;
}

/** Whether `JSON.parse(JSON.stringify(value))` gives back an equal value. One pass, no allocation. */
export function isPlain(value: unknown, depth = 0): boolean {
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
  if (depth > MAX_DEPTH) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!(i in value) || !isPlain(value[i], depth + 1)) return false;
    // Extra properties of an array would be lost.
    return Object.keys(value).length === value.length;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const key of Reflect.ownKeys(value)) {
    if (typeof key !== "string" || key === "toJSON" || key === "__proto__" || !key.isWellFormed()) return false;
    const property = Object.getOwnPropertyDescriptor(value, key);
    if (property === undefined || property.enumerable !== true || property.get !== undefined) return false;
    if (!isPlain(property.value, depth + 1)) return false;
  }
  return true;
}

/** The first place that makes a value not plain; undefined when it is plain. */
export function firstLossy(value: unknown, path = "", depth = 0): Lossy | undefined {
  if (isPlain(value, depth)) return undefined;
  if (depth > MAX_DEPTH) return { path, what: `nested more than ${MAX_DEPTH} levels deep, or circular` };
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      if (!(i in value)) return { path: `${path}[${i}]`, what: "a hole" };
      const inside = firstLossy(value[i], `${path}[${i}]`, depth + 1);
      if (inside !== undefined) return inside;
    }
    return { path, what: "an array with properties of its own" };
  }
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const key of Reflect.ownKeys(value)) {
      const place = step(path, key);
      const property = Object.getOwnPropertyDescriptor(value, key);
      if (typeof key === "symbol") return { path: place, what: "keyed by a symbol" };
      if (property?.get !== undefined) return { path: place, what: "a getter" };
      if (property?.enumerable !== true) return { path: place, what: "not enumerable" };
      const inside = firstLossy(property.value, place, depth + 1);
      if (inside !== undefined) return inside;
      if (key === "toJSON" || key === "__proto__" || !key.isWellFormed()) return { path: place, what: "a property of a name that JSON gives another meaning" };
    }
  }
  return { path, what: describe(value) };
}

/** A path one property further. */
export function step(path: string, key: PropertyKey): string {
  if (typeof key === "symbol") return `${path}[${String(key)}]`;
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(String(key)) ? `${path}.${String(key)}` : `${path}[${JSON.stringify(key)}]`;
}

/** What a value is, in words. */
export function describe(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "string") return "text with a lone surrogate";
  if (typeof value !== "object" || value === null) return value === undefined ? "undefined" : `a ${typeof value}`;
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === "string" && name !== "" ? `an instance of ${name}` : "an object without a prototype";
}
