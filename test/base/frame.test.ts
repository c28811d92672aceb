import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { json } from "../../src/base/codec-json.ts";
import { structured } from "../../src/base/codec-structured.ts";
import { CodecError } from "../../src/base/errors.ts";
import { frame } from "../../src/base/frame.ts";
import { rich } from "./arbitrary.ts";

describe("frame()", () => {
  const wire = frame(structured(), 64);

  it("gives back every value, compressed or not", () => {
    fc.assert(
      fc.property(rich, fc.boolean(), (value, repeat) => {
        const whole = repeat ? Array.from({ length: 50 }, () => value) : value;
        expect(isDeepStrictEqual(wire.decode(wire.encode(whole)), whole)).toBe(true);
      }),
    );
  });

  it("begins with the codec's id, then how it is packed", () => {
    expect([...wire.encode("a").subarray(0, 2)]).toEqual([1, 0]);
    expect(wire.encode("a".repeat(1000))[1]).not.toBe(0);
    expect(wire.encode("a".repeat(1000)).length).toBeLessThan(100);
    expect([...frame(json(), false).encode(1)]).toEqual([2, 0, 49]);
  });

  it("refuses the bytes of another codec, and none at all", () => {
    expect(() => wire.decode(frame(json(), false).encode({ a: 1 }))).toThrow(
      /codec 2, not by "structured" \(1\)/,
    );
    expect(() => wire.decode(new Uint8Array(0))).toThrow(CodecError);
    expect(() => wire.decode(Uint8Array.of(1))).toThrow(CodecError);
  });

  it("works on a window of a larger memory", () => {
    const bytes = wire.encode({ a: new Map([[1, "b".repeat(200)]]) });
    const memory = new Uint8Array(bytes.length + 20).fill(7);
    memory.set(bytes, 10);
    expect(wire.decode(memory.subarray(10, 10 + bytes.length))).toEqual({
      a: new Map([[1, "b".repeat(200)]]),
    });
  });
});
