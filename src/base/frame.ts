import type { Codec } from "./codec.ts";
import { type Compression, compression } from "./compression.ts";
import { CodecError } from "./errors.ts";

/** Values as bytes: the codec's id, then its output, compressed when that pays. */
export interface Frame {
  /** @throws {CodecError} naming the path of what the codec cannot carry. */
  encode(value: unknown): Uint8Array;
  /** @throws {CodecError} when the bytes are of another codec, or damaged. */
  decode(bytes: Uint8Array): unknown;
}

/** @param threshold encoded values of at least this many bytes are compressed; false: never. */
export function frame(codec: Codec, threshold: number | false): Frame {
  const wire: Compression = compression(threshold);
  return {
    encode(value) {
      const packed = wire.pack(codec.encode(value));
      const framed = new Uint8Array(packed.length + 1);
      framed[0] = codec.id;
      framed.set(packed, 1);
      return framed;
    },
    decode(bytes) {
      if (bytes[0] !== codec.id)
        throw new CodecError("", `The bytes were written by codec ${bytes[0] ?? "none"}, not by "${codec.name}" (${codec.id}).`);
      return codec.decode(wire.unpack(bytes.subarray(1)));
    },
  };
}
