import { expect, it, vi } from "vitest";
import { CodecError } from "../../src/base/errors.ts";

// Node 22.12 to 22.14 and 23.0 to 23.7 have no zstd.
vi.mock("node:zlib", async (original) => {
  const {
    zstdCompressSync: _compress,
    zstdDecompressSync: _decompress,
    ...rest
  } = await original<object & Zstd>();
  return { ...rest, zstdCompressSync: undefined, zstdDecompressSync: undefined };
});
interface Zstd {
  readonly zstdCompressSync: unknown;
  readonly zstdDecompressSync: unknown;
}
const { compression } = await import("../../src/base/compression.ts");

const TEXT = Buffer.from("the same words over and over, ".repeat(100));

it.each([undefined, "zstd"] as const)("packs by brotli where Node has no zstd, asked for %s", (algorithm) => {
  const { pack, unpack } = compression(100, algorithm);
  const packed = pack(TEXT);
  expect(packed[0]).toBe(2);
  expect(Buffer.from(unpack(packed)).equals(TEXT)).toBe(true);
});

it("refuses what another process packed by zstd, as bytes it cannot read", () => {
  expect(() => compression(100).unpack(Uint8Array.of(1, 0x28, 0xb5, 0x2f, 0xfd))).toThrow(CodecError);
});
