import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  createCache,
  json,
  KeyError,
  memory,
  OptionError,
  type PeekedEntry,
  RefusedError,
} from "../../src/index.ts";
import { faulty, mapStore } from "../../src/testing/index.ts";
import { gate, testCache } from "./setup.ts";

describe("peek", () => {
  it("shows the memory entry and its facts, and changes nothing", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1m" });
    await cache.set("k", { a: 1 }, { tags: ["t"] });
    await clock.advance(4_000);
    const before = cache.stats();
    expect(cache.peek("k")).toMatchObject({
      value: { a: 1 },
      state: "fresh",
      age: 4_000,
      ttl: 6_000,
      expiresIn: 66_000,
      tags: ["t"],
    } satisfies Partial<PeekedEntry>);
    expect(cache.peek("missing")).toBeUndefined();
    await clock.advance(7_000);
    expect(cache.peek("k")).toMatchObject({ state: "stale", ttl: -1_000 });
    expect(cache.stats()).toEqual(before);
    expect(() => cache.peek("")).toThrow(KeyError);
  });
});

describe("explain", () => {
  it("tells for each layer why a read would hit, be stale or miss", async () => {
    const { cache, clock } = testCache({ layers: [memory(), mapStore()], ttl: "10s", grace: "1m" });
    expect(await cache.explain("k")).toMatchObject({
      verdict: "miss",
      layers: [
        { layer: "memory", answer: "miss" },
        { layer: "map", answer: "miss" },
      ],
      loading: false,
    });
    await cache.set("k", 1, { tags: ["t"] });
    expect(await cache.explain("k")).toMatchObject({
      verdict: "hit",
      layers: [{ answer: "hit", tags: ["t"] }, { answer: "hit" }],
    });
    await clock.advance(11_000);
    const stale = await cache.explain("k");
    expect(stale).toMatchObject({ verdict: "stale", layers: [{ answer: "stale" }, { answer: "stale" }] });
    expect(stale.layers[0]?.why).toContain("1000 ms ago");
    await cache.invalidateTags(["t"]);
    const gone = await cache.explain("k");
    expect(gone).toMatchObject({
      verdict: "miss",
      layers: [{ answer: "invalidated" }, { answer: "invalidated" }],
      invalidatedBy: { kind: "tags", what: "t" },
    });
    expect(gone.layers[1]?.why).toContain('"t"');
    await cache.set("k", 1);
    await cache.invalidatePattern("k*", { soft: true });
    expect(await cache.explain("k")).toMatchObject({
      verdict: "stale",
      invalidatedBy: { kind: "prefix", what: "k*" },
    });
    await clock.advance(100_000);
    expect((await cache.explain("k")).layers[0]).toMatchObject({ answer: "miss" });
  });

  it("tells of loads under way, cleared generations, cached failures and layers that do not answer", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [memory(), faults.layer], errorTtl: "1m" });
    const slow = gate<number>();
    void cache.getOrSet("slow", slow.load);
    await cache.set("k", 1);
    expect((await cache.explain("slow")).loading).toBe(true);
    const hold = Promise.withResolvers<void>();
    faults.before("clear", () => hold.promise);
    await cache.clear();
    expect((await cache.explain("k")).layers).toMatchObject([
      { answer: "miss" },
      { answer: "invalidated", why: expect.stringContaining("generation") },
    ]);
    await expect(cache.getOrSet("failed", () => Promise.reject(new Error("x")))).rejects.toThrow("x");
    expect((await cache.explain("failed")).layers[0]?.why).toContain("failed load");
    faults.fail(new Error("boom"));
    expect((await cache.explain("k")).layers[1]).toMatchObject({
      answer: "skipped",
      why: expect.stringContaining("boom"),
    });
    hold.resolve();
    slow.open(1);
  });
});

describe("stats and health", () => {
  it("count by layer, with latencies and what layers hold", async () => {
    const { cache, clock } = testCache({ layers: [memory(), mapStore()] });
    await cache.getOrSet("k", async () => {
      await clock.advance(20);
      return 1;
    });
    await cache.get("k");
    await cache.get("k", { l1: false });
    cache.stats();
    await clock.advance(0);
    const stats = cache.stats();
    expect(stats).toMatchObject({
      reads: 3,
      hits: 2,
      misses: 1,
      hitRate: 2 / 3,
      loads: 1,
      layers: { memory: { hits: 1, entries: 1 }, map: { hits: 1, misses: 1, entries: 1 } },
    });
    expect(stats.load).toMatchObject({ count: 1 });
    expect(stats.load.p50).toBeGreaterThan(19);
    expect(stats.layers.memory?.bytes).toBeGreaterThan(0);
  });

  it("say what is off, at start and in health", () => {
    const alone = createCache({ logger: false });
    expect(alone.health()).toMatchObject({ ok: true, log: { name: "local", state: "up" } });
    expect(alone.health().advice.join(" ")).toContain("No shared store");
    const { cache, warnings } = testCache({ layers: [mapStore()], ttl: "1h", grace: "1h" });
    expect(warnings.join(" ")).toContain("log is local");
    expect(cache.health().advice.join(" ")).toContain("No memory layer");
    expect(cache.health().advice.join(" ")).not.toContain("ttl");
  });
});

describe("values in memory", () => {
  it("are the stored objects by default, frozen or cloned when asked", async () => {
    const value = () => ({
      list: [{ n: 1 }],
      map: new Map([["k", { n: 1 }]]),
      set: new Set([{ n: 1 }]),
      buffer: Buffer.from("x"),
    });
    const plain = testCache().cache;
    const stored = value();
    await plain.set("k", stored);
    expect(await plain.get("k")).toBe(stored);
    const frozen = testCache({ isolate: "freeze" }).cache;
    const read = await frozen.getOrSet("k", value);
    expect(() => read.list.push({ n: 2 })).toThrow(TypeError);
    expect(Object.isFrozen(read.map.get("k"))).toBe(true);
    expect([...read.set].every((one) => Object.isFrozen(one))).toBe(true);
    const cloned = testCache({ isolate: "clone" }).cache;
    const mine = value();
    await cloned.set("k", mine);
    mine.list.length = 0;
    const one = await cloned.getOrSet("k", value);
    one.list.length = 0;
    expect((await cloned.getOrSet("k", value)).list).toHaveLength(1);
    expect(cloned.peek("k")?.value).toMatchObject({ list: [{ n: 1 }] });
    await expect(cloned.set("f", () => 1)).rejects.toThrow("isolate");
    expect(await cloned.getOrSet("f", () => ({ fn: () => 1 }))).toHaveProperty("fn");
    expect(cloned.peek("f")).toBeUndefined();
  });

  it("go to stores by the codec that was chosen", async () => {
    const { cache } = testCache({ layers: [mapStore()], codec: json(), compressAbove: false });
    await cache.set("k", { a: [1, "x", null] });
    expect(await cache.get("k")).toEqual({ a: [1, "x", null] });
    await expect(cache.set("d", { at: new Date() })).rejects.toThrow("at");
  });
});

describe("options of createCache", () => {
  it.each<[object, string]>([
    [{ name: "a/b" }, "name"],
    [{ name: "" }, "name"],
    [{ ttl: "soon" }, "ttl"],
    [{ ttl: -1 }, "ttl"],
    [{ ttl: Number.NaN }, "ttl"],
    [{ grace: {} }, "grace"],
    [{ jitter: 2 }, "jitter"],
    [{ eager: 1 }, "eager"],
    [{ eager: "often" }, "eager"],
    [{ eager: { beta: 0 } }, "eager"],
    [{ sliding: "yes" }, "sliding"],
    [{ tags: "t" }, "tags"],
    [{ isolate: "yes" }, "isolate"],
    [{ maxKeyLength: 10 }, "maxKeyLength"],
    [{ maxLag: "x" }, "maxLag"],
    [{ compressAbove: -5 }, "compressAbove"],
    [{ logger: "console" }, "logger"],
    [{ policies: { p: { ttl: "x" } } }, "policies.p.ttl"],
    [{ policies: { p: { tll: 1 } } }, "policies.p.tll"],
    [{ layers: 5 }, "layers"],
  ])("refuses %o", (options, path) => {
    expect(() => createCache(options)).toThrow(OptionError);
    expect(() => createCache(options)).toThrow(`"${path}"`);
  });

  it.each<[object, string]>([
    [{ maxEntries: 0 }, "memory.maxEntries"],
    [{ maxEntries: 1.5 }, "memory.maxEntries"],
    [{ maxBytes: "lots" }, "memory.maxBytes"],
    [{ maxBytes: 0 }, "memory.maxBytes"],
  ])("memory refuses %o", (options, path) => {
    expect(() => memory(options)).toThrow(path);
  });

  it("warn through process.emitWarning by default", async () => {
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    createCache({ name: "loud", ttl: 60 });
    expect((await warned).message).toContain("[loud] ttl: 60");
  });

  it("all eager forms and infinite bounds are taken", async () => {
    for (const eager of [false, 0.5, "xfetch", { beta: 2 }] as const) createCache({ eager, logger: false });
    createCache({ layers: [memory({ maxBytes: Number.POSITIVE_INFINITY })], logger: false });
    const cache = createCache({ swr: false, logger: false, maxKeyLength: 100 });
    await cache.set("k".repeat(500), 1);
    expect(await cache.get("k".repeat(500))).toBe(1);
    expect(cache.name).toBe("cache");
  });
});

describe("edges of layers and options", () => {
  it("a cache without memory explains, counts and lists by its stores alone", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [faults.layer], ttl: Number.POSITIVE_INFINITY });
    await cache.set("k", 1, { tags: ["t"] });
    expect(await cache.explain("k")).toMatchObject({
      verdict: "hit",
      layers: [{ layer: "map", why: "It is fresh for another ever." }],
    });
    expect(await cache.delete("k", { dryRun: true })).toMatchObject({ layers: { map: 1 } });
    expect((await cache.invalidateTags(["t"], { dryRun: true })).layers).toEqual({ map: 1 });
    expect((await cache.invalidatePattern("k*")).layers).toEqual({ map: undefined });
    const keys: string[] = [];
    for await (const key of cache.keys()) keys.push(key);
    faults.fail();
    expect(await cache.delete("k", { dryRun: true })).toMatchObject({ layers: { map: undefined } });
    expect((await cache.clear({ dryRun: true })).layers).toEqual({ map: undefined });
    expect(await cache.touch("k", "1m")).toBe(false);
  });

  it("sizes of long sets and maps are estimated, errors of listeners counted, aborted signals told at once", async () => {
    const { cache } = testCache();
    await cache.set("set", new Set(Array.from({ length: 5_000 }, (_, i) => `member ${i}`)));
    expect(cache.peek("set")?.bytes).toBeGreaterThan(100_000);
    await cache.set(
      "nested",
      Array.from({ length: 100 }, (_, i) => Array.from({ length: 100 }, () => ({ i }))),
    );
    expect(cache.peek("nested")?.bytes).toBeGreaterThan(200_000);
    const aborted = AbortSignal.abort(new Error("stop"));
    await expect(cache.delete("k", { signal: aborted })).rejects.toThrow("stop");
    await expect(cache.clear({ signal: aborted })).rejects.toThrow("stop");
  });

  it("a schema lets nothing-there pass, and set checks by it", async () => {
    const { cache } = testCache();
    const schema = z.object({ n: z.number() });
    expect(
      await cache.getOrSet("k", () => undefined as unknown as { n: number }, { schema }),
    ).toBeUndefined();
    await cache.set("k", { n: 1, extra: 2 }, { schema });
    expect(await cache.get("k")).toEqual({ n: 1 });
    await expect(cache.set("k", { n: "1" }, { schema })).rejects.toThrow("n");
    expect(await cache.getOrSetMany(["a", "b"], async () => new Map([["a", { n: 1 }]]), { schema })).toEqual([
      { n: 1 },
      undefined,
    ]);
    await expect(
      cache.getOrSetMany(["c"], async () => new Map([["c", { n: "x" }]]) as never, { schema }),
    ).rejects.toThrow("n");
  });

  it("a hit of many tells its listeners, and passes memory by where told", async () => {
    const { cache } = testCache();
    const load = async (keys: readonly string[]): Promise<Map<string, number>> =>
      new Map(keys.map((key) => [key, 1]));
    await cache.getOrSetMany(["a"], load);
    const hits: string[] = [];
    cache.on("hit", ({ key }) => hits.push(key));
    await cache.getOrSetMany(["a", "b"], load);
    expect(hits).toEqual(["a"]);
    const { position } = await cache.set("c", 2);
    expect(await cache.getOrSetMany(["a", "c"], load, { after: position })).toEqual([1, 2]);
    expect(await cache.getOrSetMany(["a"], load, { l1: false })).toEqual([1]);
  });

  it("sliding entries are touched in the store now and then, not at every hit", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [memory(), faults.layer], ttl: "10s", sliding: true });
    await cache.set("k", 1);
    for (let i = 0; i < 10; i++) {
      await clock.advance(500);
      await cache.get("k");
    }
    expect(faults.calls.touch).toBe(2);
    await clock.advance(9_000);
    expect(await cache.get("k")).toBe(1);
    expect(await cache.get("k", { l1: false })).toBe(1);
  });
});

describe("typing errors in options", () => {
  it("are refused wherever options are taken, and change nothing", async () => {
    const { cache } = testCache();
    await cache.set("k", 1, { tags: ["t"] });
    const wrong = { dryrun: true } as object;
    await expect(cache.invalidateTags(["t"], wrong)).rejects.toThrow('"dryrun"');
    await expect(cache.invalidateTags([], wrong)).rejects.toThrow('"dryrun"');
    await expect(cache.invalidatePattern("k*", wrong)).rejects.toThrow('"dryrun"');
    await expect(cache.delete("k", wrong)).rejects.toThrow('"dryrun"');
    await expect(cache.clear(wrong)).rejects.toThrow('"dryrun"');
    expect(await cache.get("k")).toBe(1);
    expect(() => memory({ maxEntires: 1 } as object)).toThrow('"memory.maxEntires"');
    expect(() => cache.wrap(() => 1, { name: "x", tll: "1m" } as object)).toThrow('"wrap.tll"');
    expect(() => cache.on("hits" as "hit", () => undefined)).toThrow("hit, miss");
    // @ts-expect-error options are needed
    expect(() => cache.collection("c")).toThrow(OptionError);
    // @ts-expect-error an object is needed
    expect(() => createCache(null)).toThrow(OptionError);
    // @ts-expect-error an iterable is needed
    await expect(cache.setMany({ a: 1 })).rejects.toThrow("entries");
    await expect(cache.set("p", Promise.resolve(1))).rejects.toThrow("await it first");
    await expect(cache.set("p", 1, { tags: ["\ud800"] })).rejects.toThrow("tags");
  });

  it("a value that the store refuses is refused by set, and what was there stays", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [memory(), faults.layer] });
    await cache.set("k", "small");
    const stop = faults.before("write", () => Promise.reject(new RefusedError("too large")));
    for (let i = 0; i < 10; i++) await expect(cache.set("k", "large")).rejects.toThrow(RefusedError);
    stop();
    expect(cache.health().ok).toBe(true);
    expect(await cache.get("k", { l1: false })).toBe("small");
  });
});
