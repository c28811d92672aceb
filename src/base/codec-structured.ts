import { isUtf8 } from "node:buffer";
import { types } from "node:util";
import * as devalue from "devalue";
import type { Codec } from "./codec.ts";
import { CodecError, reason } from "./errors.ts";
import { isPlain } from "./plain.ts";
import { ERROR_TYPES, errorKind, errorParts, errorText, survey, VIEW_NAMES, viewName } from "./rich.ts";

/** How the rest is written: the first byte. */
const JSON_TEXT = 0;
const TEXT = 1;
const BYTES = 2;
const BUFFER = 3;
const RICH = 4;
const NOTHING = 5;
/** Like RICH, with the parts of its errors beside it, so that an error may hold what holds it. */
const RICH_WITH_ERRORS = 6;

/**
 * The default codec: values keep their types (Date, Map, Set, BigInt, undefined, -0, NaN, holes, Buffer and
 * typed arrays, ArrayBuffer, built-in errors, RegExp, URL, objects without prototype, circular references).
 * Plain JSON values, strings and bytes take fast paths; the rest is written by devalue. What it cannot
 * carry without loss (functions, symbols, instances of other classes, getters) is refused with a
 * `CodecError` that names the place. A plain value that holds one object twice comes back with two copies.
 */
export function structured(): Codec {
  return { name: "structured", id: 1, encode, decode };
}

function encode(value: unknown): Uint8Array {
  if (value === undefined) return Uint8Array.of(NOTHING);
  if (typeof value === "string" && value.isWellFormed()) return text(TEXT, value);
  try {
    if (types.isUint8Array(value) && !types.isSharedArrayBuffer(value.buffer)) {
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === Uint8Array.prototype) return behind(BYTES, value);
      if (prototype === Buffer.prototype) return behind(BUFFER, value);
    }
    if (isPlain(value)) return text(JSON_TEXT, JSON.stringify(value));
    const errors = survey(value);
    if (errors.size === 0) return text(RICH, devalue.stringify(value, REDUCERS));
    const parts = [...errors].map((error) => [error, errorParts(error)]);
    return text(RICH_WITH_ERRORS, devalue.stringify([value, parts], REDUCERS));
  } catch (error) {
    if (error instanceof CodecError) throw error;
    const why = error instanceof RangeError ? "it is too large or nested too deep" : reason(error);
    throw new CodecError("", `The value cannot be stored: ${why}.`, { cause: error });
  }
}

function decode(bytes: Uint8Array): unknown {
  try {
    switch (bytes[0]) {
      case JSON_TEXT:
        return JSON.parse(textOf(bytes));
      case TEXT:
        return textOf(bytes);
      // Copies: what is handed out must not share memory with the bytes of a store, nor with a pool.
      case BYTES:
        return new Uint8Array(bytes.subarray(1));
      case BUFFER:
        return Buffer.from(new Uint8Array(bytes.subarray(1)).buffer);
      case RICH:
        return devalue.parse(textOf(bytes), REVIVERS);
      case RICH_WITH_ERRORS:
        return reunite(devalue.parse(textOf(bytes), REVIVERS));
      case NOTHING:
        if (bytes.length === 1) return undefined;
    }
  } catch (error) {
    throw new CodecError("", `A stored value is damaged: ${reason(error)}`, { cause: error });
  }
  throw new CodecError(
    "",
    `A stored value is of a form this version does not know (${bytes[0] ?? "empty"}).`,
  );
}

/** Called for every value on the way, scalars too. Their names are in stored values: never change them. */
const REDUCERS: Record<string, (value: unknown) => unknown> = {
  // Copied out: a Buffer is often a window on a pool that holds other people's data.
  View: (value) =>
    ArrayBuffer.isView(value) && [
      viewName(value),
      Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64"),
    ],
  Error: (value) =>
    types.isNativeError(value) && [errorKind(value), errorText(value, "message"), errorText(value, "stack")],
  // Without lastIndex, devalue's own form does.
  Search: (value) =>
    types.isRegExp(value) && value.lastIndex !== 0 && [value.source, value.flags, value.lastIndex],
};

const REVIVERS: Record<string, (value: unknown) => unknown> = {
  View: (data) => {
    const [name, base64] = Array.isArray(data) ? data : [];
    if (typeof base64 !== "string" || !VIEW_NAMES.has(name)) throw new Error(`no such view: ${String(name)}`);
    const memory = new Uint8Array(Buffer.from(base64, "base64")).buffer;
    if (name === "Buffer") return Buffer.from(memory);
    // A name of the list above; one that this version of Node lacks throws, and that is a CodecError.
    const View = (globalThis as unknown as Record<string, new (memory: ArrayBuffer) => unknown>)[name];
    if (View === undefined) throw new Error(`this version of Node has no ${name}`);
    return new View(memory);
  },
  Error: (data) => {
    const [kind, message, stack] = Array.isArray(data) ? data : [];
    if (typeof kind !== "string" || !Object.hasOwn(ERROR_TYPES, kind))
      throw new Error(`no such error: ${String(kind)}`);
    const error = kind === "AggregateError" ? new AggregateError([]) : new ERROR_TYPES[kind as "Error"](); // checked just above
    if (typeof message === "string") define(error, "message", message, false);
    define(error, "stack", typeof stack === "string" ? stack : undefined, false);
    return error;
  },
  Search: (data) => {
    const [source, flags, lastIndex] = Array.isArray(data) ? data : [];
    return Object.assign(new RegExp(String(source), String(flags)), { lastIndex: Number(lastIndex) });
  },
};

/** Gives the errors in a value the parts that were written beside it. */
function reunite(data: unknown): unknown {
  const [value, parts] = Array.isArray(data) ? data : [];
  if (!Array.isArray(parts)) throw new Error("its errors are missing");
  for (const part of parts) {
    const [error, { hidden, own }] = part;
    if (!types.isNativeError(error)) throw new Error("its errors are missing");
    for (const [key, child] of Object.entries(hidden)) define(error, key, child, false);
    for (const [key, child] of Object.entries(own)) define(error, key, child, true);
  }
  return value;
}

function define(error: Error, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, key, { value, enumerable, configurable: true, writable: true });
}

function textOf(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const content = buffer.toString("utf8", 1);
  // What is not UTF-8 comes out as this character; so does the character itself.
  if (content.includes("\ufffd") && !isUtf8(bytes.subarray(1))) throw new Error("it is not UTF-8");
  return content;
}

function text(how: number, content: string): Uint8Array {
  const framed = Buffer.allocUnsafe(Buffer.byteLength(content) + 1);
  framed[0] = how;
  framed.write(content, 1);
  return framed;
}

function behind(how: number, bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(bytes.length + 1);
  framed[0] = how;
  framed.set(bytes, 1);
  return framed;
}
