import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { structured } from "../../src/base/codec-structured.ts";
import { CodecError } from "../../src/base/errors.ts";
import { anyText, rich } from "./arbitrary.ts";

const codec = structured();
const trip = (value: unknown): unknown => codec.decode(codec.encode(value));
const refusal = (value: unknown): CodecError => {
  try {
    codec.encode(value);
  } catch (error) {
    if (error instanceof CodecError) return error;
    throw error;
  }
  throw new Error("it was not refused");
};

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("structured()", () => {
  it("gives back every value it takes, with its types", () => {
    fc.assert(
      fc.property(rich, (value) => {
        expect(isDeepStrictEqual(trip(value), value)).toBe(true);
      }),
      { numRuns: 1500 },
    );
  });

  it("gives back any text, lone surrogates and all, as value, item, property and name", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(trip(text)).toBe(text);
        expect(trip([text])).toEqual([text]);
        if (text !== "__proto__")
          expect(isDeepStrictEqual(trip({ [text]: text }), { [text]: text })).toBe(true);
        expect(trip(new Map([[text, text]]))).toEqual(new Map([[text, text]]));
      }),
    );
  });

  it.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["-0", -0],
    ["-0 inside", [{ at: -0 }]],
    ["NaN", Number.NaN],
    ["-Infinity", Number.NEGATIVE_INFINITY],
    ["a bigint", 2n ** 80n],
    ["a property that is undefined", { a: undefined, b: 1 }],
    ["an item that is undefined", [undefined]],
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    ["holes", [, 1, , ,]],
    ["a very sparse array", Object.assign([], { 4000000000: 1 })],
    ["a date", { at: new Date(5) }],
    ["a date that is invalid", new Date(Number.NaN)],
    [
      "a map with object keys",
      new Map<unknown, unknown>([
        [{ a: 1 }, new Set([1])],
        [undefined, null],
      ]),
    ],
    ["a pattern", /a\/(?<b>.)/giu],
    ["a pattern in the middle of a search", Object.assign(/a/g, { lastIndex: 3 })],
    ["a URL", new URL("https://user@example.org/a?b#c")],
    ["a query", new URLSearchParams("a=1&a=2")],
    ["a buffer", Buffer.from([0, 255, 128])],
    ["bytes", new Uint8Array([1, 2, 3])],
    ["bytes inside", { a: new Uint8Array([1, 2, 3]), b: Buffer.from("b") }],
    ["empty memory", { a: new ArrayBuffer(0) }],
    ["memory", new Uint8Array([1, 2]).buffer],
    ["a view", new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2)],
    ["floats", new Float64Array([Number.NaN, -0, 1.5])],
    ["long integers", new BigInt64Array([-1n])],
    ["no prototype", Object.assign(Object.create(null), { a: Object.create(null) })],
    ["a name that means something to JSON", { toJSON: 1, a: 1 }],
  ])("keeps %s", (_name, value) => {
    const back = trip(value);
    expect(isDeepStrictEqual(back, value)).toBe(true);
    if (typeof value === "object" && value !== null)
      expect(Object.getPrototypeOf(back)).toBe(Object.getPrototypeOf(value));
  });

  it.each([
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    DataView,
  ])("keeps the window of a %o, and nothing of what lies around it", (View) => {
    const memory = Uint8Array.from({ length: 32 }, (_, i) => i).buffer;
    // One signature for all of them.
    const Any = View as new (memory: ArrayBuffer, from: number, items: number) => ArrayBufferView;
    const view = new Any(memory, 8, "BYTES_PER_ELEMENT" in View ? 8 / View.BYTES_PER_ELEMENT : 8);
    const { back } = trip({ back: view }) as { back: ArrayBufferView };
    expect(isDeepStrictEqual(back, view)).toBe(true);
    expect(Object.getPrototypeOf(back)).toBe(View.prototype);
    expect([back.byteOffset, back.byteLength, back.buffer.byteLength]).toEqual([0, 8, 8]);
    expect(codec.encode(view).length).toBeLessThan(60);
  });

  it("carries megabytes: bytes as they are, text and bytes inside a value", () => {
    const bytes = Buffer.alloc(5 * 1024 ** 2, "0123456789");
    expect(codec.encode(bytes).length).toBe(bytes.length + 1);
    expect(bytes.equals(trip(bytes) as Buffer)).toBe(true);
    expect(bytes.equals((trip({ body: bytes }) as { body: Buffer }).body)).toBe(true);
    const text = "é".repeat(2_000_000);
    expect(trip(text) === text).toBe(true);
  });

  it("asks no value for its toJSON, be it own or of a prototype", () => {
    class Price {
      toJSON() {
        return 1;
      }
    }
    expect(refusal({ price: new Price() }).path).toBe(".price");
    expect(refusal({ price: { toJSON: () => 1 } }).path).toBe(".price.toJSON");
    const prices = Object.defineProperty([1], "toJSON", { value: () => "other" });
    expect(refusal({ prices }).path).toBe(".prices.toJSON");
    expect(trip({ at: new Date(5), toJSON: "text" })).toEqual({ at: new Date(5), toJSON: "text" });
  });

  it("keeps circular and repeated references", () => {
    const shared = { at: new Date(1) };
    const circular: Record<string, unknown> = { a: shared, b: [shared], bytes: Buffer.from("x") };
    circular.self = circular;
    circular.map = new Map([[circular, new Set([circular])]]);
    const back = trip(circular) as typeof circular;
    expect(back.self).toBe(back);
    expect((back.b as unknown[])[0]).toBe(back.a);
    expect([...(back.map as Map<unknown, Set<unknown>>)][0]?.[0]).toBe(back);
  });

  it("writes a plain value that refers to one object very often without unfolding it for ever", () => {
    let value: unknown = { leaf: true };
    for (let i = 0; i < 80; i++) value = [value, value];
    let back = trip(value);
    for (let i = 0; i < 80; i++) back = (back as unknown[])[1];
    expect(back).toEqual({ leaf: true });
  });

  describe("of errors", () => {
    it.each([Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError])(
      "keeps the class, text, cause and properties of %o",
      (Type) => {
        const error = Object.assign(new Type("no", { cause: new Date(3) }), { code: "E1", details: [1n] });
        const { back } = trip({ back: error }) as { back: typeof error };
        expect(Object.getPrototypeOf(back)).toBe(Type.prototype);
        expect(isDeepStrictEqual(back, error)).toBe(true);
        expect(back.stack).toBe(error.stack);
        expect(back.cause).toEqual(new Date(3));
        expect(Object.keys(back)).toEqual(["code", "details"]);
      },
    );

    it("keeps what is absent absent, and a name of its own", () => {
      const bare = trip(new Error()) as Error;
      expect(Object.hasOwn(bare, "message")).toBe(false);
      expect(Object.hasOwn(bare, "cause")).toBe(false);
      const named = new Error("x");
      named.name = "Special";
      expect(isDeepStrictEqual(trip(named), named)).toBe(true);
      expect(Object.hasOwn(trip(new Error("x", { cause: undefined })) as Error, "cause")).toBe(true);
    });

    it("keeps the errors of an AggregateError", () => {
      const error = new AggregateError([new TypeError("a"), "b"], "all");
      const back = trip(error) as AggregateError;
      expect(isDeepStrictEqual(back, error)).toBe(true);
      expect(back.errors[0]).toBeInstanceOf(TypeError);
    });

    it("keeps errors that hold themselves", () => {
      const error: Error & { self?: unknown } = new Error("loop");
      error.self = [error];
      error.cause = error;
      const back = trip({ error }) as { error: typeof error };
      expect(back.error.cause).toBe(back.error);
      expect((back.error.self as unknown[])[0]).toBe(back.error);
    });

    it.each<[string, PropertyKey, PropertyDescriptor, string, string]>([
      ["keyed by a symbol", Symbol("tag"), { value: 1 }, ".e[Symbol(tag)]", "keyed by a symbol"],
      ["under __proto__", "__proto__", { value: 1 }, ".e.__proto__", "a name that is not safe"],
      ["that is a getter", "at", { get: () => 1 }, ".e.at", "a getter"],
    ])("refuses a property %s, which would be lost or misread", (_name, key, property, path, what) => {
      const error = Object.defineProperty(new Error("x"), key, { ...property, enumerable: true });
      expect(refusal({ e: error })).toMatchObject({ path, message: expect.stringContaining(what) });
    });

    it("leaves out hidden properties that are not part of every error", () => {
      const error = new Error("x");
      for (const key of [Symbol("tag"), "token"]) Object.defineProperty(error, key, { value: "secret" });
      expect(Reflect.ownKeys(trip(error) as Error).sort()).toEqual(["message", "stack"]);
    });

    it("keeps a message or a stack that is not text as what it is", () => {
      const error = new Error("x");
      Object.defineProperty(error, "message", { value: { code: 1n }, enumerable: true });
      Object.defineProperty(error, "stack", { value: undefined, enumerable: false });
      const back = trip(error) as Error;
      expect(back.message).toEqual({ code: 1n });
      expect(back.stack).toBeUndefined();
    });

    it("refuses errors of classes it does not know", () => {
      class NotFound extends Error {}
      expect(refusal({ result: new NotFound("x") }).message).toContain(
        "value.result is an instance of NotFound",
      );
    });
  });

  describe("never shares memory", () => {
    it("with the pool behind a Buffer: neighbours' bytes are not written", () => {
      const secret = Buffer.from("neighbour's secret");
      const mine = Buffer.from("mine");
      expect(mine.buffer.byteLength).toBeGreaterThan(4); // It is a window on a pool.
      const window = new Uint8Array(new TextEncoder().encode(`mine${secret}`).buffer, 0, 4);
      for (const value of [
        mine,
        window,
        { mine },
        [window],
        new Map([["a", mine]]),
        { a: new DataView(window.buffer, 0, 4) },
        { e: Object.assign(new Error("e", { cause: mine }), { stack: "" }) },
      ]) {
        const bytes = Buffer.from(codec.encode(value));
        expect(bytes.includes("secret")).toBe(false);
        expect(bytes.includes(Buffer.from("mineneighbour").toString("base64").slice(0, 12))).toBe(false);
        expect(bytes.length).toBeLessThan(200);
      }
    });

    it("with the stored bytes, nor with a pool, in what it gives back", () => {
      for (const value of [Buffer.from("abc"), new Uint8Array([97, 98, 99]), [Buffer.from("abc")]]) {
        const bytes = codec.encode(value);
        const back = codec.decode(bytes);
        bytes.fill(0);
        expect(back).toEqual(value);
        const view = (Array.isArray(back) ? back[0] : back) as Uint8Array;
        expect(view.buffer.byteLength).toBe(3);
      }
    });

    it("with the value that was encoded", () => {
      const value = Buffer.from("abc");
      const bytes = codec.encode(value);
      value.fill(0);
      expect(codec.decode(bytes)).toEqual(Buffer.from("abc"));
    });
  });

  class User {
    id = 1;
  }
  class Numbers extends Array {}
  class Moment extends Date {}
  class Registry extends Map {}
  class Pixels extends Uint8Array {}
  it.each<[string, unknown, string, string]>([
    ["a function", { user: { handlers: [() => 1] } }, ".user.handlers[0]", "a function"],
    ["a function alone", () => 1, "", "value is a function"],
    ["a symbol", [Symbol("x")], "[0]", "a symbol"],
    ["an instance", { user: new User() }, ".user", "an instance of User"],
    ["an array of its own class", { a: new Numbers() }, ".a", "an instance of Numbers"],
    ["a date of its own class", { a: new Moment() }, ".a", "an instance of Moment"],
    ["a map of its own class", new Registry(), "", "an instance of Registry"],
    ["bytes of their own class", new Pixels(1), "", "an instance of Pixels"],
    ["a WeakMap", { weak: new WeakMap() }, ".weak", "an instance of WeakMap"],
    ["a promise", [Promise.resolve()], "[0]", "an instance of Promise"],
    ["a boxed string", [Object("text")], "[0]", "an instance of String"],
    ["shared memory", [new SharedArrayBuffer(1)], "[0]", "an instance of SharedArrayBuffer"],
    ["a view on shared memory", new Uint8Array(new SharedArrayBuffer(1)), "", "an instance of Uint8Array"],
    ["a value in a map", { m: new Map([["k", { f() {} }]]) }, '.m.get("k").f', "a function"],
    [
      "a key of a map",
      new Map([
        [1, 1],
        [new User(), 2],
      ] as [unknown, unknown][]),
      ".keys()[1]",
      "an instance of User",
    ],
    ["a member of a set", new Set([1, new User()]), ".values()[1]", "an instance of User"],
    ["a cause", { e: new Error("x", { cause: new User() }) }, ".e.cause", "an instance of User"],
    ["an odd name", { "a b": [new User()] }, '["a b"][0]', "an instance of User"],
    [
      "a getter",
      {
        get now() {
          return 1;
        },
      },
      ".now",
      "a getter",
    ],
    [
      "a hidden property",
      Object.defineProperty({ a: 1 }, "hidden", { value: 2 }),
      ".hidden",
      "not enumerable",
    ],
    ["a symbol as a name", { [Symbol("tag")]: 1 }, "[Symbol(tag)]", "keyed by a symbol"],
    ["a property of an array", /(a)/.exec("a"), ".index", "a property of an array"],
    ["a property of a date", Object.assign(new Date(1), { zone: "UTC" }), "", "with properties of its own"],
    ["__proto__ as a name", JSON.parse('{"a":{"__proto__":1}}'), ".a.__proto__", "a name that is not safe"],
    ["a Proxy", { a: new Proxy({ b: undefined }, {}) }, ".a", "a Proxy"],
  ])("refuses %s and names the place", (_name, value, path, what) => {
    const error = refusal(value);
    expect(error.path).toBe(path);
    expect(error.message).toContain(what);
    expect(error.message.startsWith(`value${path} is `)).toBe(true);
  });

  it("names the first of many places, and calls no getter to find it", () => {
    let calls = 0;
    const value = {
      a: [new Date(1)],
      b: { c: [1, () => 1], d: () => 2 },
      e: () => 3,
    };
    expect(refusal(value).path).toBe(".b.c[1]");
    expect(
      refusal({
        get a() {
          return calls++;
        },
      }).path,
    ).toBe(".a");
    expect(calls).toBe(0);
  });

  it("refuses what is nested without end, in words and not by running out of stack", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = i % 2 === 0 ? [deep] : { deep };
    expect(refusal(deep).message).toContain("nested more than 1000 levels deep");
    let chain = new Error("x");
    for (let i = 0; i < 2_000; i++) chain = new Error("x", { cause: chain });
    expect(refusal(chain).message).toContain("nested more than 1000 levels deep");
  });

  it("carries nesting of up to 1000 levels", () => {
    let deep: unknown = 1n;
    for (let i = 0; i < 990; i++) deep = i % 2 === 0 ? [deep] : { deep };
    let [a, b] = [trip(deep), deep];
    for (let i = 0; i < 990; i++) [a, b] = [Object.values(a as object)[0], Object.values(b as object)[0]];
    expect(a).toBe(1n);
  });

  it.each([
    [new RangeError("ha"), "The value cannot be stored: it is too large or nested too deep."],
    [new TypeError("ha"), "The value cannot be stored: ha."],
  ])("turns what a proxy throws (%o) into a CodecError that keeps it", (cause, message) => {
    const hostile = new Proxy(
      {},
      {
        getPrototypeOf() {
          throw cause;
        },
      },
    );
    const error = refusal([hostile]);
    expect(error.message).toBe(message);
    expect(error.cause).toBe(cause);
  });

  it("takes objects of another realm as plain ones", async () => {
    const { runInNewContext } = await import("node:vm");
    expect(trip(runInNewContext("({ a: [1, { b: new Date(5), c: new Map([[1, /x/g]]) }] })"))).toEqual({
      a: [1, { b: new Date(5), c: new Map([[1, /x/g]]) }],
    });
  });
});

describe("structured() reading damaged bytes", () => {
  const decodes = (bytes: Uint8Array): unknown => {
    try {
      return codec.decode(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(CodecError);
      return error;
    }
  };

  it("throws nothing but CodecError, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void decodes(bytes)),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 7 }),
        fc.json({ maxDepth: 4 }),
        (tag, text) => void decodes(Buffer.concat([Buffer.of(tag), Buffer.from(text)])),
      ),
      { numRuns: 1000 },
    );
  });

  it("throws nothing but CodecError when a written value is cut or changed", () => {
    fc.assert(
      fc.property(rich, fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 }), (value, cut, at, byte) => {
        const bytes = codec.encode(value);
        decodes(bytes.subarray(0, cut % (bytes.length + 1)));
        bytes[at % bytes.length] = byte;
        decodes(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it("notices truncated text, values and bytes that are not UTF-8", () => {
    for (const value of [{ a: [1] }, new Map([[1, 2]]), new Error("x"), "né"]) {
      const bytes = codec.encode(value);
      expect(() => codec.decode(bytes.subarray(0, -1))).toThrow(CodecError);
    }
    expect(() => codec.decode(new Uint8Array(0))).toThrow(/empty/);
    expect(() => codec.decode(Uint8Array.of(99, 1))).toThrow(/99/);
    expect(() => codec.decode(Uint8Array.of(5, 1))).toThrow(CodecError);
  });

  it.each([
    '[{"__proto__":1},{"polluted":2},true]',
    '[["null","__proto__",1],{"polluted":2},true]',
    '[{"constructor":1},{"prototype":2},{"polluted":3},true]',
    '[["View",1],["__proto__","AAAA"]]',
    '[["Error",1],["__proto__","x"]]',
    '[["Error",1],["constructor",2],"x"]',
    '[["View",0]]',
    '[["Error",0]]',
    '[["toString",0]]',
    "[[-7,4294967295]]",
    '[["Uint8Array",1],4000000000]',
  ])("does not let %s reach a prototype, nor take memory", (text) => {
    for (const tag of [4, 6]) {
      decodes(Buffer.concat([Buffer.of(tag), Buffer.from(text)]));
      expect("polluted" in {}).toBe(false);
    }
  });

  it.each([
    '[["View",1],"Uint8Array"]',
    '[["View",1],[2,3],"Uint8Array",5]',
    '[["View",1],[2,3],"Int16Array","QQ=="]',
    '[["Error",1],"TypeError"]',
    '[["Search",1],"a"]',
    '[["Search",1],[2,2,3],"(",0]',
  ])("refuses %s, which no version wrote", (text) => {
    expect(() => codec.decode(Buffer.concat([Buffer.of(4), Buffer.from(text)]))).toThrow(CodecError);
  });

  it("refuses a view of a class that this version of Node lacks", () => {
    const bytes = codec.encode([new Float32Array([1])]);
    vi.stubGlobal("Float32Array", undefined);
    expect(() => codec.decode(bytes)).toThrow(/this version of Node has no Float32Array/);
    vi.unstubAllGlobals();
    expect(codec.decode(bytes)).toEqual([new Float32Array([1])]);
  });

  it("makes no error of a class that only looks like one", () => {
    for (const kind of ["constructor", "toString", "__proto__", "Function"]) {
      const text = `[["Error",1],[2,3,3],"${kind}","x"]`;
      expect(() => codec.decode(Buffer.concat([Buffer.of(4), Buffer.from(text)]))).toThrow(CodecError);
    }
  });

  it("does not let the parts of an error reach a prototype", () => {
    const parts =
      '[[1,2],["Error",3],[4],["Error",1],[1,5],{"hidden":6,"own":7},{"cause":8},{"a":8},{"polluted":9},true]';
    decodes(Buffer.concat([Buffer.of(6), Buffer.from(parts)]));
    for (const text of ["[[1,1],5]", "[[1,2],1,[3],[4,4],{}]", "[5]", "[[1,2],1,[3],[4,5],[],{}]"]) {
      expect(() => codec.decode(Buffer.concat([Buffer.of(6), Buffer.from(text)]))).toThrow(CodecError);
    }
    expect("polluted" in {}).toBe(false);
  });
});
