import { isUtf8 } from "node:buffer";
import type { Codec } from "./codec.ts";
import { CodecError, reason } from "./errors.ts";
import { firstLossy } from "./plain.ts";

/**
 * Codec of plain JSON text in UTF-8, for sharing a store with programs in other languages. What JSON
 * cannot carry without loss (Date, Map, undefined in objects, NaN, BigInt, ...) is refused by place.
 * "Nothing there" (`undefined` alone, for `negativeTtl`) is no bytes at all.
 */
export function json(): Codec {
  return { name: "json", id: 2, encode, decode };
}

function encode(value: unknown): Uint8Array {
  if (value === undefined) return new Uint8Array(0);
  try {
    const lossy = firstLossy(value);
    if (lossy === undefined) return Buffer.from(JSON.stringify(value));
    throw new CodecError(lossy.path, `value${lossy.path} is ${lossy.what}: the json codec cannot carry it.`);
  } catch (error) {
    if (error instanceof CodecError) throw error;
    throw new CodecError("", `The value cannot be stored: ${reason(error)}.`, { cause: error });
  }
}

function decode(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined;
  try {
    const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    // What is not UTF-8 comes out as this character; so does the character itself.
    if (content.includes("\ufffd") && !isUtf8(bytes)) throw new Error("it is not UTF-8");
    return JSON.parse(content);
  } catch (error) {
    throw new CodecError("", `The bytes are not JSON: ${reason(error)}`, { cause: error });
  }
}
