import { describe, expect, it } from "vitest";
import { memory, OptionError } from "../../src/index.ts";
import { mapStore } from "../../src/testing/index.ts";
import { gate, settle, testCache } from "./setup.ts";

describe.each([
  ["memory alone", () => ({})],
  ["memory and a store", () => ({ layers: [...memoryAnd()] })],
])("invalidation with %s", (_name, layers) => {
  it("by key: one, many, and a tuple", async () => {
    const { cache } = testCache(layers());
    await cache.setMany([
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ]);
    await cache.set(["user", 7], "seven");
    const report = await cache.delete("a");
    expect(report.layers.memory).toBe(1);
    expect((await cache.deleteMany(["b", "none"])).layers.memory).toBe(1);
    await cache.delete(["user", 7]);
    expect(await cache.getMany(["a", "b", "c", "user:7"])).toEqual([undefined, undefined, 3, undefined]);
  });

  it("by tag reaches every member and nothing else", async () => {
    const { cache } = testCache(layers());
    for (let i = 0; i < 100; i++)
      await cache.set(`k${i}`, i, { tags: [i % 2 === 0 ? "even" : "odd", `n${i}`] });
    await cache.invalidateTags(["even", "n1"]);
    const left = (await cache.getMany(Array.from({ length: 100 }, (_, i) => `k${i}`))).filter(
      (value) => value !== undefined,
    );
    expect(left).toHaveLength(49);
    expect(left.every((value) => Number(value) % 2 === 1)).toBe(true);
  });

  it("by tag does not concern what is stored afterwards", async () => {
    const { cache } = testCache(layers());
    await cache.invalidateTags(["t"]);
    await cache.set("k", 1, { tags: ["t"] });
    expect(await cache.get("k")).toBe(1);
    await cache.invalidateTags(["other"]);
    expect(await cache.get("k")).toBe(1);
  });

  it("by pattern: prefix, glob, and a plain key", async () => {
    const { cache } = testCache(layers());
    const keys = ["user:1", "user:1:name", "user:2:name", "post:1:name", "user"];
    const fill = (): Promise<unknown> => cache.setMany(keys.map((key) => [key, key] as const));
    const left = async (): Promise<unknown[]> =>
      (await cache.getMany(keys)).filter((value) => value !== undefined);
    await fill();
    await cache.invalidatePattern("user:*");
    expect(await left()).toEqual(["post:1:name", "user"]);
    await fill();
    await cache.invalidatePattern("*:1:name");
    expect(await left()).toEqual(["user:1", "user:2:name", "user"]);
    await fill();
    await cache.invalidatePattern("user:[1]*");
    expect(await left()).toEqual(["user:2:name", "post:1:name", "user"]);
    await fill();
    await cache.invalidatePattern("user");
    expect(await left()).toEqual(["user:1", "user:1:name", "user:2:name", "post:1:name"]);
  });

  it("clear reaches everything, and what is stored afterwards stays", async () => {
    const { cache } = testCache(layers());
    await cache.setMany([
      ["a", 1],
      ["b", 2],
    ]);
    await cache.clear();
    expect(await cache.getMany(["a", "b"])).toEqual([undefined, undefined]);
    await cache.set("a", 3);
    await settle();
    expect(await cache.get("a")).toBe(3);
  });

  it("soft makes stale: grace may serve it, a plain read does not", async () => {
    const { cache } = testCache({ ...layers(), ttl: "1h", grace: "1h" });
    const down = (): Promise<string> => Promise.reject(new Error("down"));
    for (const soften of [
      () => cache.expire("k"),
      () => cache.delete("k", { soft: true }),
      () => cache.invalidateTags(["t"], { soft: true }),
      () => cache.invalidatePattern("k*", { soft: true }),
      () => cache.invalidatePattern("?", { soft: true }),
      () => cache.clear({ soft: true }),
    ]) {
      await cache.set("k", "value", { tags: ["t"] });
      await soften();
      expect(await cache.get("k")).toBeUndefined();
      expect(await cache.get("k", { stale: true })).toBe("value");
      expect(await cache.getOrSet("k", down)).toBe("value");
    }
    expect(await cache.getOrSet("k", () => "new", { fresh: true })).toBe("new");
    expect(await cache.get("k")).toBe("new");
  });

  it("dryRun counts and changes nothing", async () => {
    const { cache } = testCache(layers());
    await cache.setMany(
      [
        ["u:1", 1],
        ["u:2", 2],
        ["v:1", 3],
      ],
      { tags: ["t"] },
    );
    const before = cache.health().log.position;
    for (const [report, count] of [
      [await cache.delete("u:1", { dryRun: true }), 1],
      [await cache.invalidateTags(["t"], { dryRun: true }), 3],
      [await cache.invalidatePattern("u:*", { dryRun: true }), 2],
      [await cache.invalidatePattern("?:1", { dryRun: true }), 2],
      [await cache.clear({ dryRun: true }), 3],
    ] as const) {
      expect(report.position).toBe("");
      expect(Object.values(report.layers)).toEqual(Object.values(report.layers).map(() => count));
    }
    expect(cache.health().log.position).toBe(before);
    expect(await cache.getMany(["u:1", "u:2", "v:1"])).toEqual([1, 2, 3]);
  });

  it("returns a position that a read can wait for", async () => {
    const { cache } = testCache(layers());
    const { position } = await cache.set("k", 1);
    expect(await cache.get("k", { after: position })).toBe(1);
    const { position: later } = await cache.delete("k");
    expect(await cache.getOrSet("k", () => 2, { after: later })).toBe(2);
    await expect(cache.get("k", { after: "nonsense" })).rejects.toThrow(OptionError);
  });

  it("a position of before a clear is reached; one of an unknown generation sends the read past memory", async () => {
    const { cache, clock } = testCache(layers());
    const { position } = await cache.set("k", 1, { l2: false });
    await cache.clear();
    await cache.set("k", 2, { l2: false });
    expect(await cache.getOrSet("k", () => 3, { after: position })).toBe(2);
    const read = cache.getOrSet("k", () => 3, { after: "another:1" });
    await clock.advance(1_000);
    expect(await read).toBe(3);
  });

  it("a read with after does not join a load that began before that position", async () => {
    const { cache } = testCache(layers());
    const old = gate<string>();
    const first = cache.getOrSet("a", old.load);
    const { position } = await cache.set("b", 1);
    expect(await cache.getOrSet("a", () => "new", { after: position })).toBe("new");
    old.open("old");
    await first;
    expect(await cache.get("a")).toBe("new");
  });

  it("by a pattern that a thousand others have since pushed out of memory still holds", async () => {
    const { cache } = testCache(layers());
    await cache.set("user:1", "old");
    await cache.invalidatePattern("user:*");
    for (let i = 0; i < 1_001; i++) await cache.invalidatePattern(`other${i}:*`);
    expect(await cache.get("user:1")).toBeUndefined();
  });

  it("refuses tags, keys and patterns that cannot be meant", async () => {
    const { cache } = testCache(layers());
    // @ts-expect-error an array is needed
    await expect(cache.invalidateTags("t")).rejects.toThrow(OptionError);
    await expect(cache.invalidateTags([""])).rejects.toThrow("tags");
    // @ts-expect-error a string is needed
    await expect(cache.invalidatePattern(/x/)).rejects.toThrow(OptionError);
    // @ts-expect-error an array is needed
    await expect(cache.deleteMany("k")).rejects.toThrow(OptionError);
    await expect(cache.set("", 1)).rejects.toThrow("Key");
    await expect(cache.set("k", 1, { tags: [""] })).rejects.toThrow("tags");
  });

  it("with nothing named does nothing", async () => {
    const { cache } = testCache(layers());
    await cache.set("k", 1);
    await cache.invalidateTags([]);
    await cache.deleteMany([]);
    expect(await cache.get("k")).toBe(1);
  });

  it("tells listeners, and counts", async () => {
    const { cache } = testCache(layers());
    const seen: string[] = [];
    cache.on("invalidate", ({ kind, what }) => seen.push(`${kind} ${what}`));
    await cache.delete("a");
    await cache.invalidateTags(["t"]);
    await cache.invalidatePattern("x:*");
    await cache.invalidatePattern("x?");
    await cache.clear();
    expect(seen).toEqual(["keys a", "tags t", "prefix x:*", "glob x?", "clear everything"]);
    expect(cache.stats().invalidations).toBe(5);
  });
});

describe("namespaces and scopes", () => {
  it("keep equal keys apart, nested too", async () => {
    const { cache } = testCache();
    const [a, b, aa] = [cache.namespace("a"), cache.namespace("b"), cache.namespace("a").namespace("a")];
    await cache.set("k", "root");
    await a.set("k", "a");
    await b.set("k", "b");
    await aa.set("k", "aa");
    expect(await Promise.all([cache, a, b, aa].map((view) => view.get("k")))).toEqual([
      "root",
      "a",
      "b",
      "aa",
    ]);
  });

  it("cannot be reached or left by any key", async () => {
    const { cache } = testCache();
    const inner = cache.namespace("a");
    await inner.set("secret", 1);
    for await (const stored of cache.namespace("other").keys()) expect(stored).toBeUndefined();
    for (const key of ["@ns:a:secret", "a:secret", "ns:a:secret", "@@ns:a:secret", "@ns:a:@ns:a:secret"]) {
      expect(await cache.get(key)).toBeUndefined();
      expect(await cache.namespace("b").get(key)).toBeUndefined();
    }
    expect(await cache.get(["@ns", "a", "secret"])).toBeUndefined();
  });

  it("clear and patterns stay inside", async () => {
    const { cache } = testCache();
    const [a, ab] = [cache.namespace("a"), cache.namespace("ab")];
    await Promise.all([cache.set("k", 0), a.set("k", 1), a.set("l", 2), ab.set("k", 3)]);
    await a.invalidatePattern("k*");
    expect(await Promise.all([cache.get("k"), a.get("k"), a.get("l"), ab.get("k")])).toEqual([
      0,
      undefined,
      2,
      3,
    ]);
    await a.clear();
    expect(await Promise.all([cache.get("k"), a.get("l"), ab.get("k")])).toEqual([0, undefined, 3]);
  });

  it("list their own keys as they were given", async () => {
    const { cache } = testCache({ layers: [...memoryAnd()] });
    const list = async (view: typeof cache, prefix?: string): Promise<string[]> => {
      const keys: string[] = [];
      for await (const key of view.keys(prefix === undefined ? {} : { prefix })) keys.push(key);
      return keys.sort();
    };
    await cache.setMany([
      ["a:1", 1],
      ["a:2", 2],
      ["b:1", 3],
      ["@odd", 4],
    ]);
    await cache.set("only-far", 5, { l1: false });
    await cache.namespace("n").set("inner", 1);
    expect(await list(cache)).toEqual(["@odd", "a:1", "a:2", "b:1", "only-far"]);
    expect(await list(cache, "a:")).toEqual(["a:1", "a:2"]);
    expect(await list(cache, "@")).toEqual(["@odd"]);
    expect(await list(cache.namespace("n"))).toEqual(["inner"]);
    for (const key of await list(cache)) expect(await cache.has(key)).toBe(true);
  });

  it("scopes belong to one owner, whatever its id says", async () => {
    const { cache } = testCache();
    const [one, forged] = [cache.scope({ user: "1" }), cache.scope({ user: "1,tenant=2" })];
    await one.set("k", 1);
    expect(await forged.get("k")).toBeUndefined();
    expect(await cache.scope({ tenant: 2, user: "1" }).get("k")).toBeUndefined();
    expect(() => cache.scope({})).toThrow(OptionError);
    // @ts-expect-error an owner without an id would be shared by all
    expect(() => cache.scope({ user: undefined })).toThrow(OptionError);
    expect(() => cache.namespace("")).toThrow(OptionError);
  });
});

describe("events", () => {
  it("report hits, misses, loads and sets; a listener that throws harms nobody", async () => {
    const { cache } = testCache();
    const seen: string[] = [];
    cache.on("hit", ({ key, layer, stale }) => seen.push(`hit ${key} ${layer} ${stale}`));
    cache.on("miss", ({ key }) => seen.push(`miss ${key}`));
    cache.on("load", ({ key, background }) => seen.push(`load ${key} ${background}`));
    const stop = cache.on("set", ({ key }) => seen.push(`set ${key}`));
    cache.on("hit", () => {
      throw new Error("listener");
    });
    await cache.getOrSet("k", () => 1);
    await cache.getOrSet("k", () => 1);
    await cache.get("k");
    await cache.set("s", 1);
    stop();
    await cache.set("s", 1);
    expect(seen).toEqual(["load k false", "miss k", "hit k memory false", "hit k memory false", "set s"]);
    // @ts-expect-error a function is needed
    expect(() => cache.on("hit", 1)).toThrow(OptionError);
  });
});

function memoryAnd() {
  return [memory(), mapStore()] as const;
}
