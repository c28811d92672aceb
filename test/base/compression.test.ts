import { randomBytes } from "node:crypto";
import * as zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CompressionAlgorithm, compression } from "../../src/base/compression.ts";
import { CodecError } from "../../src/base/errors.ts";

const TEXT = Buffer.from("the same words over and over, ".repeat(500));
const HAS_ZSTD = typeof zlib.zstdCompressSync === "function";

describe.each<[CompressionAlgorithm, number]>([
  ...(HAS_ZSTD ? [["zstd", 1] as [CompressionAlgorithm, number]] : []),
  ["brotli", 2],
])("compression by %s", (algorithm, format) => {
  const { pack, unpack } = compression(100, algorithm);

  it("gives back any bytes, packed or not", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 1, max: 30 }), (bytes, times) => {
        const long = Buffer.concat(Array.from({ length: times }, () => bytes));
        expect(Buffer.from(unpack(pack(long))).equals(long)).toBe(true);
      }),
    );
  });

  it("packs what gains by it", () => {
    expect(pack(TEXT)[0]).toBe(format);
    expect(pack(TEXT).length).toBeLessThan(TEXT.length / 10);
  });

  it("leaves room in front for who asks for it", () => {
    for (const bytes of [TEXT, Buffer.from("short")]) {
      const packed = pack(bytes, 3);
      expect([...packed.subarray(0, 3)]).toEqual([0, 0, 0]);
      expect(Buffer.from(unpack(packed.subarray(3))).equals(bytes)).toBe(true);
    }
  });

  it("stores as is what is short, or gains less than a tenth", () => {
    expect(pack(TEXT.subarray(0, 99))[0]).toBe(0);
    expect(pack(TEXT.subarray(0, 100))[0]).toBe(format);
    const noise = Buffer.concat([randomBytes(10_000), Buffer.alloc(500)]);
    expect(pack(noise)[0]).toBe(0);
    expect(pack(noise).length).toBe(noise.length + 1);
  });

  it("refuses to unpack more than its bound, and never packs what it could not unpack", () => {
    const small = compression(100, algorithm, 1_000);
    expect(() => small.unpack(pack(TEXT))).toThrow(CodecError);
    expect(small.pack(TEXT)[0]).toBe(0);
    const bomb = pack(Buffer.alloc(2_000));
    expect(() => small.unpack(bomb)).toThrow(CodecError);
  });

  it("throws CodecError for every truncation", () => {
    const packed = pack(TEXT);
    for (let end = 0; end < packed.length; end++) {
      expect(() => unpack(packed.subarray(0, end)), `cut at ${end}`).toThrow(CodecError);
    }
  });

  it("throws nothing but CodecError for changed bytes", () => {
    const packed = pack(TEXT);
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(packed);
        damaged[at] = (damaged[at] ?? 0) ^ change;
        try {
          unpack(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
    );
  });
});

describe("compression()", () => {
  it("never packs when it is off, and still reads what others packed", () => {
    const off = compression(false);
    expect(off.pack(TEXT)[0]).toBe(0);
    expect(Buffer.from(off.unpack(compression(1, "brotli").pack(TEXT))).equals(TEXT)).toBe(true);
  });

  it.runIf(HAS_ZSTD)("notices a flipped bit in a zstd value by its checksum", () => {
    const { pack, unpack } = compression(1, "zstd");
    const packed = pack(Buffer.from(randomBytes(2_000).toString("hex")));
    expect(packed[0]).toBe(1);
    for (let at = 8; at < packed.length; at += 7) {
      const damaged = Buffer.from(packed);
      damaged[at] = (damaged[at] ?? 0) ^ 4;
      expect(() => unpack(damaged), `byte ${at}`).toThrow(CodecError);
    }
  });

  it("does not know other formats", () => {
    expect(() => compression(1).unpack(Uint8Array.of(9, 1))).toThrow(/9/);
    expect(() => compression(1).unpack(new Uint8Array(0))).toThrow(/empty/);
  });
});
