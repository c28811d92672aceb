import { describe, expect, it } from "vitest";
import { lifetime, milliseconds } from "../../src/base/duration.ts";
import { CacheError, OptionError, reason, show } from "../../src/base/errors.ts";
import { bytes } from "../../src/base/size.ts";

describe("durations", () => {
  it.each([
    [0, 0],
    [1_500, 1_500],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ["250ms", 250],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1.5h", 5_400_000],
    ["7d", 604_800_000],
    [" 2 s ", 2_000],
  ])("%s is %s ms", (given, ms) => {
    expect(milliseconds(given, "ttl")).toBe(ms);
  });
  it.each([-1, Number.NaN, "", "5", "m", "5 min", "-5s", null, undefined, {}, true])(
    "refuses %s by the option's name",
    (given) => {
      expect(() => milliseconds(given, "grace")).toThrow('"grace"');
    },
  );
  it("suspects numbers between 0 and 1000 of being seconds, not texts", () => {
    const suspected: string[] = [];
    const suspect = (path: string, ms: number): void => void suspected.push(`${path} ${ms}`);
    for (const given of [0, 60, "60ms", 1_000] as const) lifetime(given, "ttl", suspect);
    expect(suspected).toEqual(["ttl 60"]);
  });
});

describe("sizes", () => {
  it.each([
    [1, 1],
    [1.5, 2],
    ["10b", 10],
    ["64kb", 65_536],
    ["64 MB", 67_108_864],
    ["0.5gb", 536_870_912],
  ])("%s is %s bytes", (given, size) => {
    expect(bytes(given, "maxBytes")).toBe(size);
  });
  it.each([0, -1, Number.NaN, "0kb", "64", "mb", "64tb", null])(
    "refuses %s by the option's name",
    (given) => {
      expect(() => bytes(given, "maxBytes")).toThrow(OptionError);
    },
  );
});

describe("errors", () => {
  it("have a stable code, a name and a cause", () => {
    const error = new CacheError("ERR_CACHE_TEST", "message", { cause: 1 });
    expect(error).toMatchObject({ code: "ERR_CACHE_TEST", name: "CacheError", cause: 1 });
    expect(new OptionError("a.b", 5n, "a string")).toMatchObject({
      name: "OptionError",
      path: "a.b",
      message: 'Option "a.b" is 5n: expected a string.',
    });
  });
  it("show any value, shortly", () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    expect([
      show("a"),
      show(undefined),
      show(() => 1),
      show({ a: 1 }),
      show(circular),
      show(null),
      show({ toJSON: () => undefined }),
      show("x".repeat(500)).length,
    ]).toEqual([
      '"a"',
      "undefined",
      "a function",
      '{"a":1}',
      "[object Object]",
      "null",
      "[object Object]",
      120,
    ]);
    expect([reason(new Error("why")), reason("text")]).toEqual(["why", "text"]);
  });
});
