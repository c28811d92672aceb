import type { Codec } from "./codec.ts";
import { CodecError, reason } from "./errors.ts";
import { firstLossy } from "./plain.ts";

/**
 * Codec of plain JSON text in UTF-8, for sharing a store with programs in other languages. What JSON
 * cannot carry without loss (Date, Map, undefined in objects, NaN, BigInt, ...) is refused by path.
 */
export function json(): Codec {
  return {
    name: "json",
    id: 2,
    encode(value) {
      if (value === undefined) return new Uint8Array(0);
      const lossy = firstLossy(value);
      if (lossy !== undefined)
        throw new CodecError(lossy.path, `${lossy.path === "" ? "The value" : `value${lossy.path}`} is ${lossy.what}: the json codec cannot carry it.`);
      return Buffer.from(JSON.stringify(value));
    },
    decode(bytes) {
      if (bytes.length === 0) return undefined;
      try {
        return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
      } catch (error) {
        throw new CodecError("", `The bytes are not JSON: ${reason(error)}`, { cause: error });
      }
    },
  };
}
