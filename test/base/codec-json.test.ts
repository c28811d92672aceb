import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { json } from "../../src/base/codec-json.ts";
import { CodecError } from "../../src/base/errors.ts";
import { anyText, rich } from "./arbitrary.ts";

const codec = json();
const refusal = (value: unknown): CodecError => {
  try {
    codec.encode(value);
  } catch (error) {
    if (error instanceof CodecError) return error;
    throw error;
  }
  throw new Error("it was not refused");
};

describe("json()", () => {
  it("writes JSON text in UTF-8 that any program reads", () => {
    expect(Buffer.from(codec.encode({ name: "Zoë", n: [1, null, true] })).toString()).toBe(
      '{"name":"Zoë","n":[1,null,true]}',
    );
    expect(codec.decode(new TextEncoder().encode(' {"a" : 1.0} '))).toEqual({ a: 1 });
  });

  it("gives back an equal value, or refuses it with its place", () => {
    fc.assert(
      fc.property(fc.oneof(rich, fc.jsonValue(), anyText), (value) => {
        let bytes: Uint8Array;
        try {
          bytes = codec.encode(value);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
          return;
        }
        expect(isDeepStrictEqual(codec.decode(bytes), value)).toBe(true);
      }),
      { numRuns: 1500 },
    );
  });

  it("takes every JSON value but -0, unless a name in it is __proto__", () => {
    fc.assert(
      fc.property(
        fc
          .jsonValue()
          .map((value) => JSON.stringify(value))
          .filter((text) => !text.includes('"__proto__"'))
          .map((text) => JSON.parse(text)),
        (value) => {
          expect(isDeepStrictEqual(codec.decode(codec.encode(value)), value)).toBe(true);
        },
      ),
    );
  });

  it("keeps `nothing there`", () => {
    expect(codec.decode(codec.encode(undefined))).toBeUndefined();
  });

  class User {}
  it.each<[unknown, string, string]>([
    [{ user: { born: new Date(1) } }, ".user.born", "an instance of Date"],
    [{ a: undefined }, ".a", "undefined"],
    [[1, undefined], "[1]", "undefined"],
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    [[1, , 2], "[1]", "a hole"],
    [[Number.NaN], "[0]", "NaN"],
    [-0, "", "-0"],
    [Number.POSITIVE_INFINITY, "", "Infinity"],
    [{ n: 1n }, ".n", "a bigint"],
    [{ f() {} }, ".f", "a function"],
    [[new Map()], "[0]", "an instance of Map"],
    [{ "a b": [Buffer.from("x")] }, '["a b"][0]', "an instance of Buffer"],
    [{ user: new User() }, ".user", "an instance of User"],
    [Object.create(null), "", "an object without a prototype"],
    [{ a: { toJSON: 1 } }, ".a.toJSON", "under a name that JSON gives another meaning"],
    [JSON.parse('{"__proto__":1}'), ".__proto__", "under a name that JSON gives another meaning"],
    [{ text: "\ud800" }, ".text", "text with a lone surrogate"],
    [{ [Symbol("x")]: 1 }, "[Symbol(x)]", "keyed by a symbol"],
    [
      [Object.defineProperty([1], "toJSON", { value: () => 2 })],
      "[0]",
      "an array with properties of its own",
    ],
    [/(a)/.exec("a"), "", "an array with properties of its own"],
    [
      {
        get now() {
          return 1;
        },
      },
      ".now",
      "a getter",
    ],
    [
      {
        a: [1],
        set b(_value: number) {},
      },
      ".b",
      "a getter",
    ],
    [Object.defineProperty({}, "h", { value: 1 }), ".h", "not enumerable"],
    [[new (class Rows extends Array {})()], "[0]", "an instance of Rows"],
    [{ a: [{ b: 1 }], c: [{ d: [0, -0] }], e: undefined }, ".c[0].d[1]", "-0"],
  ])("refuses %o at its place", (value, path, what) => {
    const error = refusal(value);
    expect(error.path).toBe(path);
    expect(error.message).toBe(`value${path} is ${what}: the json codec cannot carry it.`);
  });

  it("refuses circular and endlessly unfolding values after a bounded search, not one for every level", () => {
    const circular: unknown[] = [];
    circular.push(circular, circular);
    expect(refusal(circular).message).toContain("nested more than 100 levels deep, or circular");
    expect(refusal(circular).path).toBe("[0]".repeat(101));
    let visits = 0;
    const items = [{ leaf: true }];
    // Counts visits by the questions asked of it.
    const counted = new Proxy(items, {
      getPrototypeOf: () => {
        visits++;
        return Array.prototype;
      },
    });
    let wide: unknown = [counted];
    for (let i = 0; i < 60; i++) wide = i % 2 === 0 ? [wide, wide] : { a: wide, b: wide };
    expect(refusal(wide)).toMatchObject({
      path: "",
      message: "value is made of more than 1000000 objects: the json codec cannot carry it.",
    });
    expect(visits).toBeLessThan(2_000_000);
  });

  it("turns what a proxy throws into a CodecError", () => {
    const hostile = new Proxy(
      {},
      {
        getPrototypeOf() {
          throw new RangeError("ha");
        },
      },
    );
    expect(refusal([hostile]).message).toBe("The value cannot be stored: ha.");
  });

  it("throws CodecError for bytes that are not JSON", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
        try {
          codec.decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
    );
    expect(() => codec.decode(Buffer.from('{"a":'))).toThrow(CodecError);
    expect(() => codec.decode(Buffer.from([0x22, 0xff, 0x22]))).toThrow(/UTF-8/);
  });
});
