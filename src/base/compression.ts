import * as zlib from "node:zlib";
import { CodecError, reason } from "./errors.ts";

/** How values are compressed. */
export type CompressionAlgorithm = "zstd" | "brotli";

/** Packs bytes behind one byte that says how. */
export interface Compression {
  /** @param head bytes left free in front, for who frames the result further. */
  pack(bytes: Uint8Array, head?: number): Uint8Array;
  /**
   * @param head bytes in front that are not its own.
   * @throws {CodecError} when the bytes are damaged or unpack to more than the bound.
   */
  unpack(bytes: Uint8Array, head?: number): Uint8Array;
}

const PLAIN = 0;
const ZSTD = 1;
const BROTLI = 2;
/** What a packed value may unpack to, so that a forged one cannot exhaust memory. */
const MAX_OUTPUT = 256 * 1024 ** 2;
/** Node has zstd from 22.15 and 23.8 on. */
const HAS_ZSTD = typeof zlib.zstdCompressSync === "function";

/**
 * @param threshold bytes from which on compression is tried; kept only when it saves a tenth. False: never.
 * @param algorithm zstd where Node has it, else brotli. What another process packed is read either way, if Node can.
 * @param maxOutput bytes a value may unpack to; larger ones are stored as they are.
 */
export function compression(
  threshold: number | false,
  algorithm: CompressionAlgorithm = HAS_ZSTD ? "zstd" : "brotli",
  maxOutput: number = MAX_OUTPUT,
): Compression {
  const zstd = algorithm === "zstd" && HAS_ZSTD;
  return {
    pack(bytes, head = 0) {
      if (threshold !== false && bytes.length >= threshold && bytes.length <= maxOutput) {
        const packed = zstd ? zlib.zstdCompressSync(bytes, CHECKED) : zlib.brotliCompressSync(bytes, FAST);
        if (packed.length <= bytes.length * 0.9) return behind(zstd ? ZSTD : BROTLI, packed, head);
      }
      return behind(PLAIN, bytes, head);
    },
    unpack(bytes, head = 0) {
      const how = bytes[head];
      const body = bytes.subarray(head + 1);
      const limit = { maxOutputLength: maxOutput };
      try {
        if (how === PLAIN) return body;
        if (how === ZSTD && HAS_ZSTD) return zlib.zstdDecompressSync(body, limit);
        if (how === BROTLI) return zlib.brotliDecompressSync(body, limit);
      } catch (error) {
        throw new CodecError("", `A compressed value cannot be unpacked: ${reason(error)}`, { cause: error });
      }
      throw new CodecError("", `A value is packed in a way this process does not know (${how ?? "empty"}).`);
    },
  };
}

/** Four bytes that tell a damaged value from a whole one. */
const CHECKED = HAS_ZSTD ? { params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 } } : {};
const FAST = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } };

function behind(how: number, bytes: Uint8Array, head: number): Uint8Array {
  const packed = new Uint8Array(head + 1 + bytes.length);
  packed[head] = how;
  packed.set(bytes, head + 1);
  return packed;
}
