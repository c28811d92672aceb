import type { Codec } from "./codec.ts";
import { compression } from "./compression.ts";
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
  const { pack, unpack } = compression(threshold);
  return {
    encode(value) {
      const framed = pack(codec.encode(value), 1);
      framed[0] = codec.id;
      return framed;
    },
    decode(bytes) {
      const [id] = bytes;
      if (id === codec.id) return codec.decode(unpack(bytes, 1));
      throw new CodecError(
        "",
        `The bytes were written by codec ${id ?? "none"}, not by "${codec.name}" (${codec.id}).`,
      );
    },
  };
}
