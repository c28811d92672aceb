import { describe, expect, it } from "vitest";
import { lifetime, milliseconds } from "../../src/base/duration.ts";
import {
  CacheError,
  ClosedError,
  CodecError,
  KeyError,
  LayerError,
  OptionError,
  RefusedError,
  reason,
  SchemaError,
  StoreError,
  show,
  TimeoutError,
} from "../../src/base/errors.ts";
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
  it("reads a text the same way the second time, and however many texts came before", () => {
    for (let i = 0; i < 1_100; i++) expect(milliseconds(`${i}s`, "ttl")).toBe(i * 1_000);
    for (let i = 0; i < 1_100; i++) expect(milliseconds(`${i}s`, "ttl")).toBe(i * 1_000);
  });
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
  it.each<[CacheError, string, string]>([
    [
      new OptionError("ttl", -1, "a duration"),
      "ERR_CACHE_OPTION",
      'Option "ttl" is -1: expected a duration.',
    ],
    [new KeyError("", "text"), "ERR_CACHE_KEY", 'Key "" cannot be used: expected text.'],
    [new CodecError(".a", "no"), "ERR_CACHE_CODEC", "no"],
    [
      new SchemaError("k", [{ message: "no", path: "" }]),
      "ERR_CACHE_SCHEMA",
      'The value of key "k" does not match its schema: (root): no.',
    ],
    [new TimeoutError("The load", 5), "ERR_CACHE_TIMEOUT", "The load did not answer within 5 ms."],
    [new LayerError("db", "write", "gone"), "ERR_CACHE_LAYER", 'Layer "db" failed to write: gone'],
    [new StoreError("no rights"), "ERR_CACHE_STORE", "no rights"],
    [new RefusedError("too large"), "ERR_CACHE_REFUSED", "too large"],
    [
      new ClosedError("shop"),
      "ERR_CACHE_CLOSED",
      'Cache "shop" is closed. Create a new one, or close it later.',
    ],
  ])("%s has its own code and says what happened", (error, code, message) => {
    expect(error).toMatchObject({ code, message, name: error.constructor.name });
    expect(error).toBeInstanceOf(CacheError);
  });
  it("keep what caused them", () => {
    const cause = new Error("disk full");
    expect(new StoreError("x", { cause }).cause).toBe(cause);
    expect(new CodecError("", "x", { cause }).cause).toBe(cause);
    expect(new LayerError("db", "read", cause)).toMatchObject({ cause, layer: "db" });
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
  it("say something of whatever was thrown, and throw nothing themselves", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const silent = Object.defineProperty(new Error("x"), "message", {
      get() {
        throw new Error("no");
      },
    });
    const coded = Object.defineProperty(new Error("x"), "message", { value: Symbol("s") });
    expect([Object.create(null), proxy, silent, coded, undefined, Symbol("s")].map(reason)).toEqual([
      "[object Object]",
      "a value that cannot be shown",
      "[object Error]",
      "Symbol(s)",
      "undefined",
      "Symbol(s)",
    ]);
    expect(show(proxy)).toBe("a value that cannot be shown");
    expect(new LayerError("db", "read", Object.create(null)).message).toBe(
      'Layer "db" failed to read: [object Object]',
    );
  });
});
