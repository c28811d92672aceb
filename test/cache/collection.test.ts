import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import {
  type Cache,
  LayerError,
  memory,
  OptionError,
  SchemaError,
  type Source,
  source,
} from "../../src/index.ts";
import { mapStore } from "../../src/testing/index.ts";
import { gate, testCache } from "./setup.ts";

interface Product {
  readonly id: string;
  readonly price: number;
}

/** A source over a Map, its statements counted. */
function table(): { rows: Map<string, Product>; source: Source<string, Product>; statements: string[] } {
  const rows = new Map<string, Product>([
    ["p1", { id: "p1", price: 1 }],
    ["p2", { id: "p2", price: 2 }],
  ]);
  const statements: string[] = [];
  return {
    rows,
    statements,
    source: source<Product>({
      name: "table",
      async load(keys) {
        statements.push(`load ${keys.join()}`);
        return new Map(
          keys.flatMap((key) => (rows.has(key) ? [[key, rows.get(key) as Product] as const] : [])),
        );
      },
      async save(entries) {
        statements.push(`save ${entries.map(([key]) => key).join()}`);
        for (const [key, value] of entries) rows.set(key, value);
      },
      async delete(keys) {
        statements.push(`delete ${keys.join()}`);
        return keys.filter((key) => rows.delete(key)).length;
      },
    }),
  };
}

describe("a collection on a source", () => {
  it("reads through the cache, one statement for concurrent gets of one tick", async () => {
    const { cache } = testCache();
    const { source: products, statements } = table();
    const collection = cache.collection("product", { source: products, ttl: "5m" });
    const found = await Promise.all(["p1", "p2", "p1", "none"].map((id) => collection.get(id)));
    expect(found.map((product) => product?.price)).toEqual([1, 2, 1, undefined]);
    expect(statements).toEqual(["load p1,p2,none"]);
    expect(collection.peek("p1")).toEqual({ id: "p1", price: 1 });
    expect(collection.peek("none")).toBeUndefined();
    expect(await cache.get("product:p1")).toEqual({ id: "p1", price: 1 });
    expect(await collection.getMany(["p2", "none", "p1"])).toEqual([
      { id: "p2", price: 2 },
      undefined,
      { id: "p1", price: 1 },
    ]);
    expect(statements).toEqual(["load p1,p2,none", "load none"]);
  });

  it("writes through: the source first, then the cache", async () => {
    const { cache } = testCache({ layers: [memory(), mapStore()] });
    const { source: products, statements, rows } = table();
    const collection = cache.collection("product", { source: products });
    await collection.set("p1", { id: "p1", price: 10 });
    expect(rows.get("p1")?.price).toBe(10);
    expect(await collection.get("p1")).toEqual({ id: "p1", price: 10 });
    expect(
      await collection.update("p1", (current) => ({ id: "p1", price: (current?.price ?? 0) + 1 })),
    ).toEqual({ id: "p1", price: 11 });
    expect((await collection.get("p1"))?.price).toBe(11);
    await collection.setMany([
      ["p3", { id: "p3", price: 3 }],
      ["p4", { id: "p4", price: 4 }],
    ]);
    expect((await collection.getMany(["p3", "p4"])).map((product) => product?.price)).toEqual([3, 4]);
    expect(statements).toEqual(["save p1", "load p1", "save p1", "save p3,p4"]);
    await collection.delete(["p3", "p4"]);
    await collection.delete("p1");
    expect(await collection.get("p3")).toBeUndefined();
    expect([...rows.keys()]).toEqual(["p2"]);
    expect(await collection.setMany([])).toHaveProperty("position");
  });

  it("writes around: the source, then out of the cache", async () => {
    const { cache } = testCache();
    const { source: products, statements } = table();
    const collection = cache.collection("product", { source: products, write: "around" });
    await collection.get("p1");
    await collection.set("p1", { id: "p1", price: 10 });
    expect(collection.peek("p1")).toBeUndefined();
    expect((await collection.get("p1"))?.price).toBe(10);
    expect(statements).toEqual(["load p1", "save p1", "load p1"]);
  });

  it("a write that the source refuses changes nothing, and leaves nothing cached", async () => {
    const { cache } = testCache();
    const { rows } = table();
    const refusing = source<Product>({
      load: async (keys) => new Map(keys.map((key) => [key, rows.get(key) as Product])),
      save: () => Promise.reject(new Error("no")),
      delete: () => Promise.reject(new Error("no")),
    });
    const collection = cache.collection("product", { source: refusing });
    await collection.get("p1");
    await expect(collection.set("p1", { id: "p1", price: 9 })).rejects.toThrow(LayerError);
    await expect(collection.delete("p1")).rejects.toThrow("no");
    expect((await collection.get("p1"))?.price).toBe(1);
  });

  it("a read that began before a write does not put the old row back", async () => {
    const { cache } = testCache();
    const old = gate<Map<string, Product>>();
    const collection = cache.collection<Product>("product", {
      source: { name: "slow", load: old.load, save: async () => undefined, delete: async () => 0 },
    });
    const read = collection.get("p1");
    await new Promise((resolve) => setImmediate(resolve));
    await collection.set("p1", { id: "p1", price: 2 });
    old.open(new Map([["p1", { id: "p1", price: 1 }]]));
    await read;
    expect((await collection.get("p1"))?.price).toBe(2);
  });

  it("invalidates without touching the source, by key, tag and pattern", async () => {
    const { cache } = testCache();
    const { source: products, statements } = table();
    const collection = cache.collection<Product>("product", {
      source: products,
      tags: (product) => [`price:${product.price}`],
    });
    for (const invalidate of [
      () => collection.invalidate("p1"),
      () => cache.invalidateTags(["price:1"]),
      () => cache.invalidatePattern("product:*"),
    ]) {
      await collection.getMany(["p1", "p2"]);
      statements.length = 0;
      await invalidate();
      await collection.get("p1");
      expect(statements).toEqual(["load p1"]);
    }
    await collection.setMany([
      ["p5", { id: "p5", price: 5 }],
      ["p6", { id: "p6", price: 6 }],
    ]);
    await cache.invalidateTags(["price:5"]);
    expect([collection.peek("p5"), collection.peek("p6")?.price]).toEqual([undefined, 6]);
  });

  it("batches at most a thousand keys in one statement, and fails all who waited together", async () => {
    const { cache } = testCache();
    const sizes: number[] = [];
    const collection = cache.collection<number, number>("n", {
      loadMany: async (keys) => {
        sizes.push(keys.length);
        if (keys.includes(-1)) throw new Error("down");
        return new Map(keys.map((key) => [key, key]));
      },
    });
    expect(await Promise.all(Array.from({ length: 2_500 }, (_, i) => collection.get(i)))).toHaveLength(2_500);
    expect(sizes).toEqual([1_000, 1_000, 500]);
    const ended = await Promise.allSettled([collection.get(-1), collection.get(5_000)]);
    expect(ended.map((one) => one.status)).toEqual(["rejected", "rejected"]);
  });
});

describe("a collection on a loader", () => {
  it("loads one by one, adapts tags from the value, and takes fixed tags", async () => {
    const { cache } = testCache();
    const load = vi.fn(async (id: number) => ({ id, team: "red" }));
    const users = cache.collection<{ id: number; team: string }, number>("user", {
      load,
      tags: (user) => [`team:${user.team}`],
      ttl: "1m",
    });
    expect(await users.getMany([1, 2, 1])).toHaveLength(3);
    expect(load).toHaveBeenCalledTimes(2);
    expect(cache.peek(["user", 1])).toMatchObject({ tags: ["team:red"], ttl: 60_000 });
    await users.set(1, { id: 1, team: "blue" });
    expect(cache.peek(["user", 1])).toMatchObject({ tags: ["team:blue"] });
    expect(await users.update(2, (user) => ({ id: 2, team: `${user?.team}der` }))).toEqual({
      id: 2,
      team: "redder",
    });
    const fixed = cache.collection<number, string>("fixed", { load: async () => 1, tags: ["f"] });
    await fixed.get("a");
    expect(cache.peek("fixed:a")?.tags).toEqual(["f"]);
    expect(fixed.keyOf("a")).toEqual(["fixed", "a"]);
  });

  it("passes call options on: fresh, onlyCached, after, signal, report", async () => {
    const { cache } = testCache();
    let version = 0;
    const numbers = cache.collection<number>("n", { load: async () => ++version });
    expect(await numbers.get("k", { onlyCached: true })).toBeUndefined();
    expect(await numbers.get("k")).toBe(1);
    expect(await numbers.get("k", { fresh: true })).toBe(2);
    const answers: string[] = [];
    await numbers.get("k", { report: ({ layer }) => answers.push(layer) });
    expect(answers).toEqual(["memory"]);
    await expect(numbers.get("x", { signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop");
  });

  it("checks values by its schema: on load, on set, and from the store", async () => {
    const schema = z.object({ id: z.string(), price: z.number().positive() });
    const store = mapStore();
    const { cache } = testCache({ layers: [store] });
    const collection = cache.collection<Product>("p", {
      load: async (id) => ({ id, price: id === "bad" ? -1 : 1 }),
      schema,
    });
    await expect(collection.get("bad")).rejects.toThrow(SchemaError);
    await expect(collection.get("bad")).rejects.toThrow("price");
    await expect(collection.set("x", { id: "x", price: 0 })).rejects.toThrow(SchemaError);
    await cache.set(["p", "old"], { id: "old" }); // of an older version of the program
    expect(await collection.get("old")).toEqual({ id: "old", price: 1 });
    expect(await cache.getOrSet("raw", () => ({ id: "r", price: 2, extra: true }), { schema })).toEqual({
      id: "r",
      price: 2,
    });
  });

  it("refuses what cannot be meant, by name", async () => {
    const { cache } = testCache();
    const load = async (): Promise<number> => 1;
    const make = (options: object): unknown => cache.collection("c", options);
    expect(() => make({})).toThrow("exactly one");
    expect(() => make({ load, loadMany: load })).toThrow("exactly one");
    expect(() => make({ load, write: "behind" })).toThrow("write");
    expect(() => make({ load, ttll: 1 })).toThrow("ttll");
    expect(() => cache.collection("", { load })).toThrow(OptionError);
    const collection = cache.collection<number | undefined>("c", { load });
    await expect(collection.set("k", undefined)).rejects.toThrow("delete(key)");
    // @ts-expect-error no key
    await expect(collection.get({})).rejects.toThrow(OptionError);
    const bad = cache.collection("bad", { loadMany: async () => [] as unknown as Map<string, number> });
    await expect(bad.get("k")).rejects.toThrow("Map");
    await expect(cache.getOrSetMany(["k"], async () => [] as unknown as Map<string, number>)).rejects.toThrow(
      "Map",
    );
  });
});

describe("getOrSetMany", () => {
  it("answers in order, leaves out what is not there, and shares flights with getOrSet", async () => {
    const { cache } = testCache({ ttl: "1m" });
    const slow = gate<number>();
    const single = cache.getOrSet("b", slow.load);
    const many = cache.getOrSetMany(
      ["a", "b", "c"],
      async (keys) => new Map(keys.filter((key) => key !== "c").map((key) => [key, key.length])),
    );
    slow.open(42);
    expect(await many).toEqual([1, 42, undefined]);
    expect(await single).toBe(42);
  });

  it("serves stale per key when the batch fails, else the error", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h" });
    await cache.getOrSetMany(["a"], async () => new Map([["a", 1]]));
    await clock.advance(11_000);
    const failing = (): Promise<Map<string, number>> => Promise.reject(new Error("down"));
    expect(await cache.getOrSetMany(["a"], failing)).toEqual([1]);
    await expect(cache.getOrSetMany(["a", "b"], failing)).rejects.toThrow("down");
  });

  it("refreshes in the background within swr, all stale keys in one call", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: "1h" });
    const load = vi.fn(
      async (keys: readonly string[]) => new Map(keys.map((key) => [key, load.mock.calls.length])),
    );
    await cache.getOrSetMany(["a", "b"], load);
    await clock.advance(11_000);
    expect(await cache.getOrSetMany(["a", "b"], load)).toEqual([1, 1]);
    await clock.advance(0);
    expect(await cache.getOrSetMany(["a", "b"], load)).toEqual([2, 2]);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it("aborts the one load when nobody wants any key of it any more", async () => {
    const { cache } = testCache();
    const controller = new AbortController();
    let signal: AbortSignal | undefined;
    const many = cache.getOrSetMany(
      ["a", "b"],
      (_keys, context) => {
        signal = context.signal;
        return new Promise<Map<string, number>>(() => undefined);
      },
      { signal: controller.signal },
    );
    controller.abort(new Error("gone"));
    await expect(many).rejects.toThrow("gone");
    expect(signal?.aborted).toBe(true);
  });

  it("takes tuples, an empty list, and a cached failure", async () => {
    const { cache } = testCache({ errorTtl: "5s" });
    expect(
      await cache.getOrSetMany(
        [
          ["u", 1],
          ["u", 2],
        ] as const,
        async (keys) => new Map(keys.map((key) => [key, key[1]])),
      ),
    ).toEqual([1, 2]);
    expect(await cache.getOrSetMany([], async () => new Map())).toEqual([]);
    await expect(cache.getOrSet("k", () => Promise.reject(new Error("down")))).rejects.toThrow("down");
    await expect(cache.getOrSetMany(["k"], async () => new Map())).rejects.toThrow("down");
    // @ts-expect-error a function is needed
    await expect((cache as Cache).getOrSetMany(["k"], undefined)).rejects.toThrow("loader");
  });
});
