import { types } from "node:util";
import { CodecError, show } from "./errors.ts";
import { describe, isBuiltIn, isRecord, step } from "./plain.ts";

/** Nesting beyond this is refused, far below where the stack would end while a value is written or read. */
const MAX_DEPTH = 1_000;

/** Views on bytes that keep their type; `Float16Array` where Node has it. */
export const VIEW_NAMES: ReadonlySet<string> = new Set([
  "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array",
  "Float16Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "DataView", "Buffer",
]); // biome-ignore format: a table

/** Errors that keep their class. */
export const ERROR_TYPES = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError } as const; // biome-ignore format: a table

/** What an error carries besides its class, message and stack. */
export interface ErrorParts {
  /** Properties that do not show when it is enumerated: `cause`, `errors`, `name`. */
  readonly hidden: Readonly<Record<string, unknown>>;
  readonly own: Readonly<Record<string, unknown>>;
}

/** How a value is reached from the one that holds it. */
type How = "property" | "mapKey" | "mapValue" | "member";

interface Place {
  readonly value: unknown;
  readonly holder: Place | undefined;
  readonly how: How;
  readonly key: unknown;
  readonly depth: number;
}

/**
 * Walks all of a value, in the order in which it will be written, without recursion.
 * @returns the errors in it.
 * @throws {CodecError} naming the first place that cannot be carried without loss.
 */
export function survey(root: unknown): Set<Error> {
  const seen = new Set<object>();
  const errors = new Set<Error>();
  const stack: Place[] = [{ value: root, holder: undefined, how: "property", key: "", depth: 0 }];
  const children: Place[] = [];
  for (let place = stack.pop(); place !== undefined; place = stack.pop()) {
    const { value } = place;
    if (typeof value === "function" || typeof value === "symbol") throw refused(place, describe(value));
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    if (place.depth > MAX_DEPTH) throw refused(place, `nested more than ${MAX_DEPTH} levels deep`);
    open(value, place, children, errors);
    // Turned round: the first child must come off the stack first.
    for (let child = children.pop(); child !== undefined; child = children.pop()) stack.push(child);
  }
  return errors;
}

type Push = (how: How, key: unknown, child: unknown) => void;

/** Pushes what a value holds. */
function open(value: object, place: Place, children: Place[], errors: Set<Error>): void {
  const push: Push = (how, key, child) => {
    const kind = typeof child;
    // Most values need no visit.
    if (child === null || kind === "string" || kind === "number" || kind === "boolean") return;
    children.push({ value: child, holder: place, how, key, depth: place.depth + 1 });
  };
  if (types.isProxy(value)) throw refused(place, "a Proxy");
  if (Array.isArray(value) ? isBuiltIn(value, Array) : isRecord(value)) openProperties(value, place, push);
  else if (types.isNativeError(value)) {
    if (errorKind(value) === undefined) throw refused(place, describe(value));
    errors.add(value);
    const { hidden, own } = errorParts(value, place);
    for (const [key, child] of [...Object.entries(hidden), ...Object.entries(own)])
      push("property", key, child);
  } else if (ArrayBuffer.isView(value)) {
    // The bytes of shared memory may change while they are written.
    if (viewName(value) === undefined || types.isSharedArrayBuffer(value.buffer))
      throw refused(place, describe(value));
  } else openBuiltIn(value, place, push);
}

function openBuiltIn(value: object, place: Place, push: Push): void {
  const map = types.isMap(value) && isBuiltIn(value, Map);
  const set = types.isSet(value) && isBuiltIn(value, Set);
  if (!map && !set && !isLeaf(value)) throw refused(place, describe(value));
  const shows = (key: PropertyKey): boolean => Object.prototype.propertyIsEnumerable.call(value, key);
  if (Reflect.ownKeys(value).some(shows))
    throw refused(place, `${describe(value)} with properties of its own`);
  let i = 0;
  if (map) {
    for (const [key, child] of value) {
      push("mapKey", i++, key);
      push("mapValue", key, child);
    }
  } else if (set) for (const child of value) push("member", i++, child);
}

function openProperties(value: object, place: Place, push: Push): void {
  const isArray = Array.isArray(value);
  for (const key of Reflect.ownKeys(value)) {
    if (isArray && key === "length") continue;
    const property = Object.getOwnPropertyDescriptor(value, key);
    const why = trouble(key, property, isArray);
    if (why !== undefined) throw refused({ value, holder: place, how: "property", key, depth: 0 }, why);
    push("property", isArray ? Number(key) : key, property?.value);
  }
}

function trouble(
  key: PropertyKey,
  property: PropertyDescriptor | undefined,
  isArray: boolean,
): string | undefined {
  if (typeof key === "symbol") return "keyed by a symbol";
  if (isArray && !isIndex(String(key))) return "a property of an array";
  if (property?.get !== undefined || property?.set !== undefined) return "a getter";
  if (property?.enumerable !== true) return "not enumerable";
  return key === "__proto__" ? "under a name that is not safe to write back" : undefined;
}

function isIndex(key: string): boolean {
  const index = Number(key) >>> 0;
  return String(index) === key && index < 2 ** 32 - 1;
}

/** Built-in values without parts. */
function isLeaf(value: object): boolean {
  return (
    (types.isDate(value) && isBuiltIn(value, Date)) ||
    (types.isRegExp(value) && isBuiltIn(value, RegExp)) ||
    (value instanceof URL && isBuiltIn(value, URL)) ||
    (value instanceof URLSearchParams && isBuiltIn(value, URLSearchParams)) ||
    (types.isAnyArrayBuffer(value) && !types.isSharedArrayBuffer(value))
  );
}

/** The name of a view's class; undefined for one that is not carried. */
export function viewName(view: ArrayBufferView): string | undefined {
  const name: unknown = Object.getPrototypeOf(view)?.constructor?.name;
  if (name === "Buffer" || name === "FastBuffer") return "Buffer";
  return typeof name === "string" && VIEW_NAMES.has(name) ? name : undefined;
}

/** The name of an error's class; undefined for one that is not carried. */
export function errorKind(error: Error): keyof typeof ERROR_TYPES | undefined {
  const name: unknown = Object.getPrototypeOf(error)?.constructor?.name;
  return typeof name === "string" && Object.hasOwn(ERROR_TYPES, name)
    ? (name as keyof typeof ERROR_TYPES)
    : undefined; // checked
}

/** Message and stack are the error's own text unless somebody assigned other things. */
export function errorText(error: Error, key: "message" | "stack"): string | undefined {
  const property = Object.getOwnPropertyDescriptor(error, key);
  const text: unknown = property === undefined || property.enumerable === true ? undefined : error[key];
  return typeof text === "string" ? text : undefined;
}

export function errorParts(error: Error, place?: Place): ErrorParts {
  const hidden: Record<string, unknown> = {};
  const own: Record<string, unknown> = {};
  for (const key of Reflect.ownKeys(error)) {
    const property = Object.getOwnPropertyDescriptor(error, key);
    if (property?.enumerable === true) {
      const why = trouble(key, property, false);
      if (why !== undefined)
        throw refused({ value: error, holder: place, how: "property", key, depth: 0 }, why);
    }
    if (typeof key === "symbol") continue;
    if (property?.enumerable === true)
      own[key] = error[key as "message"]; // any own key
    else if (key === "cause" || key === "errors" || key === "name") hidden[key] = error[key as "cause"];
  }
  return { hidden, own };
}

function refused(place: Place, what: string): CodecError {
  const path = pathOf(place);
  return new CodecError(path, `value${path} is ${what}: leave it out, or store plain data in its place.`);
}

function pathOf(place: Place): string {
  const places: Place[] = [];
  for (let at: Place | undefined = place; at?.holder !== undefined; at = at.holder) places.push(at);
  return places.reduceRight((path, { how, key }) => {
    if (how === "mapValue") return `${path}.get(${show(key)})`;
    if (how === "mapKey") return `${path}.keys()[${String(key)}]`;
    if (how === "member") return `${path}.values()[${String(key)}]`;
    return step(path, key as PropertyKey); // a property's key is one
  }, "");
}
