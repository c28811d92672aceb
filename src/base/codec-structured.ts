import * as devalue from "devalue";
import type { Codec } from "./codec.ts";
import { CodecError, reason } from "./errors.ts";
import { isPlain } from "./plain.ts";

/** How the rest is written: the first byte. */
const JSON_TEXT = 0;
const TEXT = 1;
const BYTES = 2;
const BUFFER = 3;
const RICH = 4;
const NOTHING = 5;

const VIEWS = {
  Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array,
  Float32Array, Float64Array, BigInt64Array, BigUint64Array,
} as const; // biome-ignore format: a table
type ViewName = keyof typeof VIEWS;

const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError } as const;

/**
 * The default codec: values keep their types (Date, Map, Set, BigInt, undefined, -0, NaN, Buffer and typed
 * arrays, Error, RegExp, URL, circular and repeated references). Plain JSON values, strings and bytes take
 * fast paths; the rest is written by devalue. What it cannot carry (functions, symbols, instances of
 * other classes) is refused with a `CodecError` that names the path.
 */
export function structured(): Codec {
  return { name: "structured", id: 1, encode, decode };
}

function encode(value: unknown): Uint8Array {
  if (value === undefined) return Uint8Array.of(NOTHING);
  if (typeof value === "string" && value.isWellFormed()) return behind(TEXT, Buffer.from(value));
  if (Buffer.isBuffer(value)) return behind(BUFFER, value);
  if (value instanceof Uint8Array && Object.getPrototypeOf(value) === Uint8Array.prototype) return behind(BYTES, value);
  if (isPlain(value)) return behind(JSON_TEXT, Buffer.from(JSON.stringify(value)));
  try {
    return behind(RICH, Buffer.from(escapeSurrogates(devalue.stringify(value, REDUCERS))));
  } catch (error) {
    throw refusal(error);
  }
}

function decode(bytes: Uint8Array): unknown {
  // A copy: what is handed out must not share memory with the bytes of a store.
  const body = Buffer.from(bytes.subarray(1));
  try {
    switch (bytes[0]) {
      case JSON_TEXT:
        return JSON.parse(body.toString());
      case TEXT:
        return body.toString();
      case BYTES:
        return new Uint8Array(body);
      case BUFFER:
        return body;
      case RICH:
        return devalue.parse(body.toString(), REVIVERS);
      case NOTHING:
        return undefined;
    }
  } catch (error) {
    throw new CodecError("", `A stored value is damaged: ${reason(error)}`, { cause: error });
  }
  throw new CodecError("", `A stored value is of a form this version does not know (${bytes[0] ?? "empty"}).`);
}

const REDUCERS: Record<string, (value: unknown) => unknown> = {
  // Copied out: a Buffer is often a window on a pool that holds other people's data.
  View: (value) => {
    if (!ArrayBuffer.isView(value)) return undefined;
    const name = Buffer.isBuffer(value) ? "Buffer" : Object.getPrototypeOf(value)?.constructor?.name;
    if (name !== "Buffer" && name !== "DataView" && !(name in VIEWS)) return undefined;
    return [name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64")];
  },
  Bytes: (value) => (value instanceof ArrayBuffer ? Buffer.from(value).toString("base64") : undefined),
  Error: (value) => {
    if (!(value instanceof Error)) return undefined;
    const { name, message, stack, cause, ...own } = value;
    const kind: unknown = Object.getPrototypeOf(value)?.constructor?.name;
    const errors = value instanceof AggregateError ? { errors: value.errors } : {};
    const known = typeof kind === "string" && kind in ERRORS ? kind : "Error";
    return { kind: known, name: value.name, message: value.message, stack: value.stack, ...("cause" in value ? { cause } : {}), ...errors, own };
  },
};

const REVIVERS: Record<string, (value: unknown) => unknown> = {
  View: (data) => {
    const [name, text] = data as [string, string]; // what the reducer of this name wrote, or it throws below
    const bytes = Buffer.from(text, "base64");
    if (name === "Buffer") return bytes;
    const memory = new Uint8Array(bytes).buffer;
    if (name === "DataView") return new DataView(memory);
    if (!Object.hasOwn(VIEWS, name)) throw new Error(`no such view: ${name}`);
    return new VIEWS[name as ViewName](memory); // checked just above
  },
  Bytes: (text) => new Uint8Array(Buffer.from(String(text), "base64")).buffer,
  Error: (data) => {
    const { kind, name, message, stack, errors, own, ...rest } = data as Record<string, unknown>; // as above
    const options = "cause" in rest ? { cause: rest.cause } : undefined;
    const error =
      kind === "AggregateError"
        ? new AggregateError(Array.isArray(errors) ? errors : [], String(message), options)
        : new ERRORS[(Object.hasOwn(ERRORS, String(kind)) ? kind : "Error") as "Error"](String(message), options); // checked
    if (error.name !== name) Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
    Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true });
    for (const [key, value] of Object.entries(own ?? {})) Object.defineProperty(error, key, { value, configurable: true, enumerable: true, writable: true });
    return error;
  },
};

function refusal(error: unknown): CodecError {
  if (error instanceof devalue.DevalueError) {
    const path = error.path ?? "";
    return new CodecError(path, `value${path}: ${error.message}. Leave it out, or store plain data.`, { cause: error });
  }
  const deep = error instanceof RangeError ? "it is nested too deep" : reason(error);
  return new CodecError("", `The value cannot be stored: ${deep}.`, { cause: error });
}

/** UTF-8 has no lone surrogates; JSON text may escape them. */
function escapeSurrogates(text: string): string {
  if (text.isWellFormed()) return text;
  return text.replace(/\p{Surrogate}/gu, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`);
}

function behind(how: number, bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(bytes.length + 1);
  framed[0] = how;
  framed.set(bytes, 1);
  return framed;
}
