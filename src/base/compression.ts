import * as zlib from "node:zlib";
import { CodecError, reason } from "./errors.ts";

/** Packs bytes behind one byte that says how. */
export interface Compression {
  pack(bytes: Uint8Array): Uint8Array;
  /** @throws {CodecError} when the bytes are damaged or unpack to more than the bound. */
  unpack(bytes: Uint8Array): Uint8Array;
}

const PLAIN = 0;
const ZSTD = 1;
const BROTLI = 2;
/** What a packed value may unpack to, so that a forged one cannot exhaust memory. */
const MAX_OUTPUT = 256 * 1024 ** 2;
/** Node has zstd from 22.15 and 23.8 on. */
const HAS_ZSTD = typeof zlib.zstdCompressSync === "function";

/** @param threshold bytes from which on it is tried; kept only when it saves a tenth. False: never. */
export function compression(threshold: number | false): Compression {
  return {
    pack(bytes) {
      if (threshold !== false && bytes.length >= threshold) {
        const packed = HAS_ZSTD ? zlib.zstdCompressSync(bytes) : zlib.brotliCompressSync(bytes, { params: FAST });
        if (packed.length <= bytes.length * 0.9) return behind(HAS_ZSTD ? ZSTD : BROTLI, packed);
      }
      return behind(PLAIN, bytes);
    },
    unpack(bytes) {
      const body = bytes.subarray(1);
      const limit = { maxOutputLength: MAX_OUTPUT };
      try {
        if (bytes[0] === PLAIN) return body;
        if (bytes[0] === ZSTD && HAS_ZSTD) return zlib.zstdDecompressSync(body, limit);
        if (bytes[0] === BROTLI) return zlib.brotliDecompressSync(body, limit);
      } catch (error) {
        throw new CodecError("", `A compressed value cannot be unpacked: ${reason(error)}`, { cause: error });
      }
      throw new CodecError("", `A value is packed in a way this process does not know (${bytes[0] ?? "empty"}).`);
    },
  };
}

const FAST = { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 };

function behind(how: number, bytes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(bytes.length + 1);
  packed[0] = how;
  packed.set(bytes, 1);
  return packed;
}
