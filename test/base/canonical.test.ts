import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalArguments } from "../../src/base/canonical.ts";
import { KeyError } from "../../src/base/errors.ts";

const values = (maxDepth: number) =>
  fc.anything({
    withBigInt: true,
    withDate: true,
    withTypedArray: true,
    withSparseArray: true,
    withMap: true,
    withSet: true,
    maxDepth,
    maxKeys: 3,
    key: fc.constantFrom("a", "b", '"', "__x"),
    values: [
      fc.constantFrom(
        0,
        -0,
        1,
        "1",
        1n,
        "a",
        "",
        "null",
        null,
        undefined,
        true,
        Number.NaN,
        "1n",
        "[1]",
        "],[",
      ),
      fc.string({ unit: "binary", maxLength: 3 }),
    ],
  });

/** Equal content with properties, entries and members in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    copy.length = value.length;
    for (const i of Object.keys(value)) copy[Number(i)] = reversed(value[Number(i)]);
    return copy;
  }
  if (value instanceof Map) return new Map([...value].reverse().map(([k, v]) => [reversed(k), reversed(v)]));
  if (value instanceof Set) return new Set([...value].reverse().map(reversed));
  if (value instanceof Date || ArrayBuffer.isView(value) || typeof value !== "object" || value === null)
    return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([k, v]) => [k, reversed(v)]),
  );
}

describe("canonicalArguments()", () => {
  it("gives equal texts to equal arguments only", () => {
    fc.assert(
      fc.property(fc.array(values(2), { maxLength: 2 }), fc.array(values(2), { maxLength: 2 }), (a, b) => {
        expect(canonicalArguments(a) === canonicalArguments(b)).toBe(isDeepStrictEqual(a, b));
      }),
      { numRuns: 5_000 },
    );
  });

  it("tells small changes apart", () => {
    fc.assert(
      fc.property(
        values(3),
        fc.constantFrom<unknown>(0, -0, "0", 0n, null, undefined, "", [], {}, Number.NaN),
        fc.constantFrom<unknown>(0, -0, "0", 0n, null, undefined, "", [], {}, Number.NaN),
        (rest, x, y) => {
          const makers = [
            (v: unknown) => [v, rest],
            (v: unknown) => [[rest, v]],
            (v: unknown) => [{ a: v, b: rest }],
            (v: unknown) => [new Map([[v, rest]])],
            (v: unknown) => [new Set([v])],
          ];
          for (const make of makers) {
            expect(canonicalArguments(make(x)) === canonicalArguments(make(y))).toBe(
              isDeepStrictEqual(make(x), make(y)),
            );
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("does not look at the order of properties, entries and members", () => {
    fc.assert(
      fc.property(values(4), (value) => {
        expect(canonicalArguments([reversed(value)])).toBe(canonicalArguments([value]));
      }),
      { numRuns: 1_000 },
    );
  });

  class User {
    readonly id = 1;
  }
  it.each<[string, readonly unknown[], readonly unknown[]]>([
    ["numbers and text", [1, "2"], ["1", 2]],
    ["how text is cut", ["a,b"], ["a", "b"]],
    ["-0 and 0", [-0], [0]],
    ["undefined and null", [undefined], [null]],
    ["undefined and nothing", [1, undefined], [1]],
    ["no argument and undefined", [], [undefined]],
    ["an undefined property and none", [{ a: undefined }], [{}]],
    ["dates and their numbers", [new Date(5)], [5]],
    ["dates that are invalid and others", [new Date(Number.NaN)], [new Date(0)]],
    ["bigints and numbers", [5n], [5]],
    ["maps and objects", [new Map([["a", 1]])], [{ a: 1 }]],
    ["sets and arrays", [new Set([1])], [[1]]],
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    ["holes and undefined", [[, 1]], [[undefined, 1]]],
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    ["holes at the end", [[1, ,]], [[1]]],
    ["patterns", [/a/g], [/a/i]],
    ["patterns in a search", [/a/g], [Object.assign(/a/g, { lastIndex: 1 })]],
    ["URLs and text", [new URL("http://a/")], ["http://a/"]],
    ["buffers and bytes", [Buffer.from("a")], [new Uint8Array([97])]],
    ["bytes", [new Uint8Array([1])], [new Uint8Array([2])]],
    ["views of the same bytes", [new Int8Array([1])], [new Uint8Array([1])]],
    ["memory", [new ArrayBuffer(1)], [new ArrayBuffer(2)]],
    ["text and what it looks like", ["undefined"], [undefined]],
    ["text and structures it looks like", ['{"a":1}'], [{ a: 1 }]],
  ])("tells %s apart", (_name, a, b) => {
    expect(canonicalArguments(a)).not.toBe(canonicalArguments(b));
    expect(canonicalArguments(a)).toBe(canonicalArguments([...a]));
  });

  it("looks only at the bytes a view shows", () => {
    const memory = new Uint8Array([9, 1, 2, 9]);
    expect(canonicalArguments([memory.subarray(1, 3)])).toBe(canonicalArguments([new Uint8Array([1, 2])]));
  });

  it("is well-formed text, whatever is in it", () => {
    expect(canonicalArguments(["\ud800", { "\udc00": 1 }]).isWellFormed()).toBe(true);
    expect(canonicalArguments(["\ud800"])).not.toBe(canonicalArguments(["\ud801"]));
  });

  class Moment extends Date {}
  const circular: Record<string, unknown> = {};
  circular.a = [circular];
  let deep: unknown = 1;
  for (let i = 0; i < 1_000; i++) deep = [deep];
  let wide: unknown = {};
  for (let i = 0; i < 45; i++) wide = [wide, wide];
  const sparse: unknown[] = [];
  sparse.length = 4_000_000_000;
  it.each<[string, readonly unknown[], string]>([
    ["functions", [{ user: { f() {} } }], "argument 0.user.f"],
    ["symbols", [1, Symbol("x")], "argument 1"],
    ["instances", [[new User()]], "argument 0[0]"],
    ["dates of their own class", [new Moment()], "argument 0"],
    ["errors", [new Error("x")], "argument 0"],
    ["promises", [Promise.resolve()], "argument 0"],
    ["symbols as names", [{ [Symbol("x")]: 1 }], "argument 0"],
    ["arrays with properties", [/(a)/.exec("a")], "argument 0"],
    ["dates with properties", [Object.assign(new Date(0), { zone: "x" })], "argument 0"],
    ["views of their own class", [new (class Pixels extends Uint8Array {})(1)], "argument 0"],
    ["circular values", [circular], "argument 0.a[0]"],
    ["endless nesting", [deep], "argument 0[0]"],
    ["endless unfolding", [wide], "argument 0"],
    ["endless arrays", [sparse], "argument 0"],
  ])("refuses %s and says to give a key function", (_name, args, place) => {
    expect(() => canonicalArguments(args)).toThrow(KeyError);
    expect(() => canonicalArguments(args)).toThrow(place);
    expect(() => canonicalArguments(args)).toThrow(/give a `key` function/);
  });

  it("takes one object twice", () => {
    const shared = { a: 1 };
    expect(canonicalArguments([shared, [shared, shared]])).toBe(
      canonicalArguments([{ a: 1 }, [{ a: 1 }, { a: 1 }]]),
    );
  });
});
