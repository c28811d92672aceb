import { describe, expect, it } from "vitest";
import { OptionError } from "../../src/base/errors.ts";
import { type CustomSourceOptions, source } from "../../src/sources/custom.ts";

describe("source()", () => {
  it("is named custom, or as it is told", () => {
    expect(source({ load: () => [] }).name).toBe("custom");
    expect(source({ name: "orm", load: () => [] }).name).toBe("orm");
  });

  it("hands each key once to load, with the signal, and never an empty list", async () => {
    const calls: unknown[] = [];
    const numbers = source<string, number>({
      load(keys, { signal }) {
        calls.push([keys, signal]);
        return keys.map(String);
      },
    });
    const { signal } = new AbortController();
    expect(await numbers.load([1, 2, 1], { signal })).toEqual(
      new Map([
        [1, "1"],
        [2, "2"],
      ]),
    );
    await numbers.load([]);
    expect(calls).toEqual([[[1, 2], signal]]);
  });

  it("takes undefined for nothing there, and null for a value", async () => {
    const array = source<null>({ load: () => [null, undefined] });
    expect(await array.load(["a", "b"])).toEqual(new Map([["a", null]]));
    const map = source<null | undefined>({
      load: () =>
        new Map([
          ["a", null],
          ["b", undefined],
        ]),
    });
    expect(await map.load(["a", "b"])).toEqual(new Map([["a", null]]));
  });

  it("says what is wrong with an answer", async () => {
    const short = source<number>({ name: "api", load: () => [1] });
    await expect(short.load(["a", "b"])).rejects.toThrow(
      'Source "api" answered a load of 2 keys with an array of 1',
    );
    // Reason of the casts here: what functions without types may answer.
    const typed = source<number, number>({
      load: () => new Map([["5", 1]]) as unknown as Map<number, number>,
    });
    await expect(typed.load([5])).rejects.toThrow('with key "5" (a string), which was not asked for');
    const object = source<number>({ load: () => ({ a: 1 }) as unknown as Map<string, number> });
    await expect(object.load(["a"])).rejects.toThrow("expected a Map, or an array in the order of the keys");
    for (const count of [undefined, -1, 1.5, "1"]) {
      const counting = source<number>({ load: () => [], delete: () => count as unknown as number });
      await expect(counting.delete(["a"])).rejects.toThrow("expected how many existed");
    }
  });

  it("refuses writes it has no function for, naming the option to give", async () => {
    const readOnly = source<number>({ load: () => [] });
    await expect(readOnly.save([["a", 1]])).rejects.toMatchObject({
      code: "ERR_CACHE_SOURCE",
      message: 'Source "custom" cannot write: give `save` to source().',
    });
    await expect(readOnly.delete(["a"])).rejects.toThrow("cannot delete: give `delete` to source()");
  });

  it("passes on errors as they are, thrown or rejected", async () => {
    const error = new Error("down");
    const throwing = source<number>({
      load() {
        throw error;
      },
      save: () => Promise.reject(error),
    });
    await expect(throwing.load(["a"])).rejects.toBe(error);
    await expect(throwing.save([["a", 1]])).rejects.toBe(error);
  });

  it("stops waiting at an abort; a late failure is nobody's", async () => {
    const abort = new AbortController();
    let fail = (_error: Error) => {};
    const slow = source<number>({
      load: () =>
        new Promise((_, reject) => {
          fail = reject;
        }),
    });
    const load = slow.load(["a"], { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(load).rejects.toThrow("enough");
    fail(new Error("late"));
    await expect(slow.load(["a"], { signal: abort.signal })).rejects.toThrow("enough");
  });

  it.each([
    ["load", {}],
    ["load", { load: "sql" }],
    ["save", { load: () => [], save: 1 }],
    ["delete", { load: () => [], delete: {} }],
    ["name", { load: () => [], name: "" }],
  ])("refuses a bad %s where it is given", (path, options) => {
    // Reason of the cast: what a caller without types may give.
    const make = () => source(options as unknown as CustomSourceOptions<unknown>);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(`Option "${path}"`);
  });
});
