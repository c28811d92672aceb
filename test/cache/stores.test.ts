import { describe, expect, it, vi } from "vitest";
import { createCache, memory, RefusedError, type StoreLayer } from "../../src/index.ts";
import { faulty, manualClock, mapStore } from "../../src/testing/index.ts";
import { gate, settle, testCache } from "./setup.ts";
import { sharedLog } from "./shared-log.ts";

/** Two caches of one name over one store, as two processes would be, each with a memory and a log of its own. */
function pair(options: Parameters<typeof createCache>[0] = {}, store: StoreLayer = mapStore()) {
  const clock = manualClock();
  const make = () =>
    createCache({
      clock,
      random: () => 0.5,
      logger: false,
      layers: [memory(), store],
      ttl: "1h",
      ...options,
    });
  const [one, two] = [make(), make()];
  return { one, two, clock };
}

describe("a store below memory", () => {
  it("is filled by a load, answers after memory is gone, and fills memory again", async () => {
    const layer = mapStore();
    const { cache, clock } = testCache({ layers: [memory(), layer], ttl: "1h" });
    const value = { at: new Date(5), set: new Set([1n]) };
    await cache.getOrSet("k", () => value, { tags: ["t"] });
    await clock.advance(1_000);
    expect(await cache.get("k", { l1: false })).toEqual(value);
    const again = testCache({ layers: [memory({ maxEntries: 1 }), layer], clock }).cache;
    // Another cache has a generation of its own log: what the first one wrote is not proved valid there.
    expect(await again.get("k")).toBeUndefined();
  });

  it("is asked once for all keys of getMany, and of getOrSetMany", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [memory(), faults.layer] });
    await cache.setMany(
      [
        ["a", 1],
        ["b", 2],
      ],
      { l1: false },
    );
    expect(await cache.getMany(["a", "b", "c"])).toEqual([1, 2, undefined]);
    expect(faults.calls.read).toBe(1);
    await cache.setMany([["d", 1]], { l1: false });
    const load = vi.fn(async (keys: readonly string[]) => new Map(keys.map((key) => [key, `${key}!`])));
    expect(await cache.getOrSetMany(["a", "d", "e", "f", "e"], load)).toEqual([1, 1, "e!", "f!", "e!"]);
    expect(faults.calls.read).toBe(2);
    expect(load.mock.calls).toEqual([[["e", "f"], expect.anything()]]);
  });

  it("serves stale entries by their swr, and refreshes them", async () => {
    const { cache, clock } = testCache({ layers: [mapStore()], ttl: "10s", swr: "1h" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(11_000);
    const next = gate<string>();
    expect(await cache.getOrSet("k", next.load)).toBe("old");
    await clock.advance(0); // the load begins behind the answer
    next.open("new");
    await clock.advance(0);
    expect(await cache.getOrSet("k", next.load)).toBe("new");
    expect(cache.stats().layers.map).toMatchObject({ staleHits: 1 });
  });

  it("serves its stale entry when the load fails, and backs off", async () => {
    const { cache, clock } = testCache({
      layers: [memory({ maxEntries: 1 }), mapStore()],
      ttl: "10s",
      grace: "1h",
    });
    await cache.getOrSet("k", () => "old");
    await cache.getOrSet("other", () => 1);
    await clock.advance(11_000);
    const failing = vi.fn(() => Promise.reject<string>(new Error("down")));
    expect(await cache.getOrSet("k", failing)).toBe("old");
    expect(await cache.getOrSet("k", failing)).toBe("old");
    expect(failing).toHaveBeenCalledTimes(1);
  });

  it("refreshes eagerly through the lease, and a hit there starts a sliding lifetime anew", async () => {
    const layer = mapStore();
    const { cache, clock } = testCache({ layers: [memory(), layer], ttl: "10s", eager: 0.5 });
    let version = 0;
    const load = (): number => ++version;
    await cache.getOrSet("k", load);
    await clock.advance(6_000);
    expect(await cache.getOrSet("k", load)).toBe(1);
    await clock.advance(0);
    expect(await cache.getOrSet("k", load)).toBe(2);
    expect(await cache.get("k", { l1: false })).toBe(2);
    const sliding = testCache({ layers: [memory(), mapStore()], ttl: "10s", sliding: true });
    await sliding.cache.set("s", 1);
    for (let i = 0; i < 4; i++) {
      await sliding.clock.advance(6_000);
      expect(await sliding.cache.get("s")).toBe(1);
    }
    expect(await sliding.cache.get("s", { l1: false })).toBe(1);
  });

  it("gets no entry that JavaScript alone can hold; memory keeps it, with one warning that names the path", async () => {
    const { cache, warnings } = testCache({ layers: [memory(), mapStore()] });
    const value = { handlers: [() => 1] };
    expect(await cache.getOrSet("k", () => value)).toBe(value);
    await settle();
    expect(await cache.getOrSet("k", () => value)).toBe(value);
    expect(warnings.filter((line) => line.includes("handlers"))).toHaveLength(1);
    await expect(cache.set("k2", value)).rejects.toThrow("handlers");
    expect(await cache.get("k2")).toBeUndefined();
  });

  it("takes values apart from memory: l1 false, l2 false", async () => {
    const { cache } = testCache({ layers: [memory(), mapStore()] });
    await cache.set("far", 1, { l1: false });
    expect(cache.peek("far")).toBeUndefined();
    expect(await cache.get("far", { l2: false })).toBeUndefined();
    await cache.set("near", 1, { l2: false });
    expect(await cache.get("near", { l1: false })).toBeUndefined();
    // Writing to memory alone takes the old copy out of the store.
    await cache.set("far", 2, { l2: false });
    expect(await cache.get("far", { l1: false })).toBeUndefined();
  });

  it("refuses two stores of one name, memory in the middle, and what is no layer", () => {
    expect(() => createCache({ layers: [mapStore(), mapStore()] })).toThrow("layers[1]");
    expect(() => createCache({ layers: [mapStore(), memory()] })).toThrow("layers[1]");
    expect(() => createCache({ layers: [] })).toThrow("layers");
    // @ts-expect-error no layer
    expect(() => createCache({ layers: ["memory"] })).toThrow("layers[0]");
  });
});

describe("two stores", () => {
  it("are asked from near to far; the nearer is filled from the farther", async () => {
    const [near, far] = [mapStore({ name: "near" }), mapStore({ name: "far" })];
    const { cache, clock } = testCache({ layers: [near, far], ttl: "1h" });
    await cache.getOrSet("k", () => "v");
    await clock.advance(0);
    const nearOnly = near.open({
      cacheName: "cache",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    await nearOnly.remove(["k"]);
    const answers: string[] = [];
    const report = ({ layer }: { layer: string }): void => void answers.push(layer);
    await cache.get("k", { report });
    expect(await cache.getOrSet("k", () => "no", { report })).toBe("v");
    await clock.advance(0);
    expect(await cache.getOrSet("k", () => "no", { report })).toBe("v");
    expect(answers).toEqual(["far", "far", "near"]);
  });
});

describe("stampede protection across processes", () => {
  it("one load for two caches; the other waits for the fill", async () => {
    const log = sharedLog();
    const { one, two, clock } = pair({}, mapStore({ log }));
    const slow = gate<string>();
    const first = one.getOrSet("k", slow.load);
    await settle();
    const second = two.getOrSet("k", slow.load);
    await settle();
    expect(slow.calls).toBe(1);
    slow.open("value");
    await clock.advance(200);
    expect(await first).toBe("value");
    expect(await second).toBe("value");
    expect(slow.calls).toBe(1);
  });

  it("the lease is kept while the load runs, and the next takes over when its holder dies", async () => {
    const store = mapStore({ log: sharedLog() });
    const { one, two, clock } = pair({}, store);
    const slow = gate<string>();
    void one.getOrSet("k", slow.load);
    await settle();
    const second = two.getOrSet("k", () => "second");
    await clock.advance(25_000); // well beyond the lease's 10 s: it was renewed
    expect(slow.calls).toBe(1);
    slow.open("first");
    await clock.advance(200);
    expect(await second).toBe("first");

    // A holder that died renews nothing: its lease runs out.
    const raw = store.open({
      cacheName: "cache",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    await raw.read(["dead"], { lease: 10_000 });
    const taken = two.getOrSet("dead", () => "taken over");
    await clock.advance(9_000);
    await settle();
    expect(two.stats().inFlight).toBe(1);
    await clock.advance(1_500);
    expect(await taken).toBe("taken over");
  });

  it("a stale entry is served at once while another process refreshes it", async () => {
    const { one, two, clock } = pair({ ttl: "10s", grace: "1h" }, mapStore({ log: sharedLog() }));
    await one.getOrSet("k", () => "old");
    await clock.advance(11_000);
    const slow = gate<string>();
    const first = one.getOrSet("k", slow.load);
    await settle();
    expect(await two.getOrSet("k", slow.load)).toBe("old");
    expect(slow.calls).toBe(1);
    slow.open("new");
    expect(await first).toBe("new");
  });

  it("a batch loads what it leased and does not wait for what another process loads", async () => {
    const { one, two, clock } = pair({}, mapStore({ log: sharedLog() }));
    const slow = gate<string>();
    const first = one.getOrSet("busy", slow.load);
    await settle();
    const load = vi.fn(async (keys: readonly string[]) => new Map(keys.map((key) => [key, `two ${key}`])));
    const many = two.getOrSetMany(["free", "busy"], load);
    await settle();
    expect(load.mock.calls.map(([keys]) => keys)).toEqual([["free"]]);
    slow.open("one busy");
    await first;
    await clock.advance(200);
    expect(await many).toEqual(["two free", "one busy"]);
  });

  it("fresh while another process loads: loads itself, and leaves the store to the holder", async () => {
    const { one, two, clock } = pair({}, mapStore({ log: sharedLog() }));
    const slow = gate<string>();
    const first = one.getOrSet("k", slow.load);
    await settle();
    expect(await two.getOrSet("k", () => "now", { fresh: true })).toBe("now");
    slow.open("older");
    await clock.advance(100);
    expect(await first).toBe("older");
  });
});

describe("coherence over a shared log", () => {
  it("an invalidation through one cache reaches the memory of the other", async () => {
    const { one, two } = pair({}, mapStore({ log: sharedLog() }));
    for (const invalidate of [
      () => one.delete("user:1"),
      () => one.invalidateTags(["t"]),
      () => one.invalidatePattern("user:*"),
      () => one.invalidatePattern("*:1"),
      () => one.clear(),
      () => one.set("user:1", "newer"),
    ]) {
      await one.set("user:1", "value", { tags: ["t"] });
      expect(await two.get("user:1")).toBe("value");
      expect(two.peek("user:1")).toBeDefined();
      await invalidate();
      expect(two.peek("user:1")).toBeUndefined();
      expect(await two.get("user:1")).not.toBe("value");
    }
  });

  it("a promotion from the store that an invalidation overtakes is not kept (P1)", async () => {
    const faults = faulty(mapStore({ log: sharedLog() }));
    const { one, two } = pair({}, faults.layer);
    await one.set("k", "old");
    // The read of `two` has been answered by the store when the invalidation comes.
    const hold = Promise.withResolvers<void>();
    let reads = 0;
    const stop = faults.before("read", async () => {
      if (++reads === 1) await hold.promise;
    });
    const read = two.get("k");
    await settle();
    await one.delete("k");
    hold.resolve();
    expect(await read).toBeUndefined();
    stop();
    expect(two.peek("k")).toBeUndefined();
  });

  it("a load that began before another process's invalidation fills neither layer (P1)", async () => {
    const { one, two, clock } = pair({}, mapStore({ log: sharedLog() }));
    const slow = gate<string>();
    const read = two.getOrSet("k", slow.load, { tags: ["t"] });
    await settle();
    await one.delete("k");
    slow.open("old");
    expect(await read).toBe("old");
    await clock.advance(100);
    expect(await two.get("k")).toBeUndefined();
    expect(await one.get("k")).toBeUndefined();
  });

  it("drops memory when the log is lost (P7)", async () => {
    const log = sharedLog();
    const { one, two } = pair({}, mapStore({ log }));
    await one.set("k", "value");
    await two.get("k");
    log.lose();
    expect(one.peek("k")).toBeUndefined();
    expect(two.peek("k")).toBeUndefined();
    expect(await two.get("k")).toBeUndefined(); // of another generation in the store
  });

  it("stops trusting memory when the log has not been heard of for maxLag (P2)", async () => {
    const log = sharedLog();
    const { one, two, clock } = pair({ maxLag: "5s" }, mapStore({ log }));
    await one.set("k", "value");
    await two.get("k");
    log.cut();
    await clock.advance(5_001);
    expect(two.peek("k")).toBeUndefined();
    expect(two.health()).toMatchObject({ ok: false, log: { state: "down" } });
    expect((await two.explain("k")).layers[0]).toMatchObject({ layer: "memory", answer: "skipped" });
    log.restore();
    expect(two.peek("k")).toBeDefined();
  });

  it("a log that cannot take the record fails the invalidation, by its name", async () => {
    const log = sharedLog();
    const { one } = pair({}, mapStore({ log }));
    log.refuse(new Error("disk full"));
    await expect(one.delete("k")).rejects.toThrow("disk full");
    await expect(one.invalidateTags(["t"])).rejects.toMatchObject({ code: "ERR_CACHE_LAYER" });
  });

  it("a log that hangs holds up reads for 250 ms and writes for 5 s, never longer (P8)", async () => {
    const log = sharedLog();
    const store = mapStore({ log });
    const { one, two, clock } = pair({}, store);
    await one.set("k", 1, { tags: ["t"] });
    await two.get("k");
    log.hang();
    // Followed already: memory and the store serve, a write fails in time, and later writes are not stuck behind it.
    expect(await one.get("k")).toBe(1);
    for (let i = 0; i < 2; i++) {
      const write = one.set("k", 2);
      const failed = expect(write).rejects.toThrow("append");
      await clock.advance(5_000);
      await failed;
    }
    const late = createCache({ clock, logger: false, layers: [memory(), store] });
    const read = late.getOrSet("k", () => "source");
    await clock.advance(250);
    expect(await read).toBe("source");
    const write = late.set("k", 3);
    const failed = expect(write).rejects.toMatchObject({ code: "ERR_CACHE_LAYER" });
    await clock.advance(250);
    await failed;
    const explained = late.explain("k");
    await clock.advance(250);
    expect((await explained).verdict).toBe("miss");
  });

  it("without its log a cache loads from the source, and is a cache again once it opens", async () => {
    const log = sharedLog();
    log.refuseOpen(new Error("not yet"));
    const { one, clock } = pair({}, mapStore({ log }));
    const load = vi.fn(() => "value");
    expect(await one.getOrSet("k", load)).toBe("value");
    expect(await one.getOrSet("k", load)).toBe("value");
    expect(load).toHaveBeenCalledTimes(2);
    expect(one.health()).toMatchObject({ ok: false, log: { state: "down" } });
    log.refuseOpen(undefined);
    await clock.advance(1_000);
    await one.getOrSet("k", load);
    await one.getOrSet("k", load);
    expect(load).toHaveBeenCalledTimes(3);
  });
});

describe("a store in trouble", () => {
  it("that fails is a miss: readers get the source's value, and errors are counted", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [memory(), faults.layer] });
    const errors: string[] = [];
    cache.on("layerError", ({ layer, action }) => errors.push(`${layer} ${action}`));
    faults.fail(new Error("boom"));
    expect(await cache.getOrSet("k", () => 1)).toBe(1);
    expect(await cache.get("other")).toBeUndefined();
    await cache.set("s", 2);
    expect(await cache.get("s")).toBe(2);
    expect(errors).toContain("map read");
    expect(cache.stats().layers.map?.errors).toBeGreaterThan(0);
    expect(cache.health().layers[0]?.lastError).toBe("boom");
  });

  it("that hangs holds a read up for its timeout only", async () => {
    const faults = faulty(mapStore({ timeout: 250 }));
    const { cache, clock } = testCache({ layers: [memory(), faults.layer] });
    faults.hang();
    const read = cache.getOrSet("k", () => "from the source");
    await clock.advance(249);
    expect(cache.stats().loads).toBe(0);
    await clock.advance(1);
    expect(await read).toBe("from the source");
    expect(cache.stats().layers.map?.timeouts).toBe(1);
  });

  it("is left alone after five failures, probed in the background, and used again once it answers", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [faults.layer] });
    const states: string[] = [];
    cache.on("layerState", ({ state }) => states.push(state));
    faults.fail();
    for (let i = 0; i < 20; i++) await cache.getOrSet(`k${i}`, () => i);
    expect(faults.calls.read).toBe(5);
    expect(cache.stats().layers.map?.skipped).toBe(15);
    expect(cache.health()).toMatchObject({ ok: false, layers: [{ name: "map", state: "down" }] });
    await clock.advance(500);
    expect(faults.calls.ping).toBe(1);
    faults.heal();
    await clock.advance(500); // the pause doubled
    await cache.getOrSet("probe", () => 1);
    expect(faults.calls).toMatchObject({ read: 5, ping: 1 }); // no caller is the probe
    await clock.advance(500);
    await cache.getOrSet("probe", () => 1);
    expect(faults.calls).toMatchObject({ read: 6, ping: 2 });
    expect(states).toEqual(["down", "probing", "down", "probing", "up"]);
    expect(cache.health().ok).toBe(true);
  });

  it("owes the removals it missed: what was invalidated meanwhile is not served when it is back", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [memory(), faults.layer], ttl: "1h" });
    await cache.setMany([
      ["a", "old"],
      ["b", "old"],
    ]);
    faults.fail();
    const report = await cache.delete("a");
    expect(report.pending).toEqual(["map"]);
    await cache.set("b", "new");
    faults.heal();
    expect(await cache.get("a")).toBeUndefined();
    expect(await cache.get("b", { l1: false })).toBeUndefined();
    await clock.advance(2_000);
    expect(await cache.get("a")).toBeUndefined();
  });

  it("pays by itself when nobody reads, and pays all when it owes more than it can name", async () => {
    const store = mapStore();
    const faults = faulty(store);
    const { cache, clock } = testCache({ layers: [faults.layer] });
    const raw = store.open({
      cacheName: "cache",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    await cache.setMany(Array.from({ length: 10_002 }, (_, i) => [`k${i}`, i] as const));
    faults.fail();
    await cache.delete("k0");
    faults.heal();
    await clock.advance(2_000);
    expect((await raw.stats()).entries).toBe(10_001);
    faults.fail();
    await cache.deleteMany(Array.from({ length: 10_001 }, (_, i) => `k${i + 1}`));
    faults.heal();
    await clock.advance(5_000);
    expect((await raw.stats()).entries).toBe(0);
  });

  it("that answers late is given back the leases it lent: nobody waits for them", async () => {
    const faults = faulty(mapStore({ timeout: 250 }));
    const { one, two, clock } = pair({ layers: [memory(), faults.layer] });
    faults.delay(600);
    const slow = one.getOrSet("k", () => "from one");
    await clock.advance(250);
    expect(await slow).toBe("from one");
    faults.heal();
    await clock.advance(400);
    const load = vi.fn(() => "from two");
    const next = two.getOrSet("k", load);
    await clock.advance(0);
    expect(load).toHaveBeenCalledTimes(1);
    expect(await next).toBe("from two");
  });

  it("is emptied however long that takes, and not read meanwhile", async () => {
    const faults = faulty(mapStore({ timeout: 250 }));
    const { cache, clock } = testCache({ layers: [faults.layer], ttl: "1h" });
    await cache.set("k", "old");
    faults.fail();
    await cache.deleteMany(["k", ...Array.from({ length: 10_001 }, (_, i) => `k${i}`)]);
    faults.heal();
    const stop = faults.before(
      "clear",
      () => new Promise((resolve) => clock.setTimer(5_000, () => resolve(0))),
    );
    await clock.advance(4_000);
    expect(await cache.get("k")).toBeUndefined();
    expect(faults.calls.clear).toBe(1);
    expect(cache.health().layers[0]?.state).toBe("up"); // being slow with that is no failure
    stop();
    await clock.advance(4_000);
    await cache.set("k", "new");
    expect(await cache.get("k")).toBe("new");
    expect(faults.calls.clear).toBe(1);
  });

  it("is asked for many keys in steps, of which each has the whole timeout", async () => {
    const faults = faulty(mapStore({ timeout: 250 }));
    const { cache, clock } = testCache({ layers: [faults.layer], ttl: "1h" });
    const keys = Array.from({ length: 12_000 }, (_, i) => `k${i}`);
    faults.delay(100);
    const written = cache.setMany(keys.map((key) => [key, 1] as const));
    await clock.advance(1_000);
    await written;
    const read = cache.getMany(keys);
    await clock.advance(1_000);
    expect((await read).every((value) => value === 1)).toBe(true);
    const removal = cache.deleteMany(keys);
    await clock.advance(1_000);
    expect(await removal).toMatchObject({ layers: { map: 12_000 }, pending: [] });
    expect(faults.calls).toMatchObject({ write: 6, read: 3, remove: 6 });
    expect(cache.stats().layers.map?.timeouts).toBe(0);
  });

  it("that refuses one of many entries keeps none of them", async () => {
    const store = mapStore();
    const faults = faulty(store);
    const { cache } = testCache({ layers: [faults.layer] });
    let writes = 0;
    faults.before("write", () => {
      if (++writes === 2) throw new RefusedError("too large");
    });
    const many = Array.from({ length: 2_001 }, (_, i) => [`k${i}`, i] as const);
    await expect(cache.setMany(many)).rejects.toThrow("too large");
    expect(await cache.getMany(["k0", "k2000"])).toEqual([undefined, undefined]);
  });

  it("is not blamed for a moment in which this process stood still", async () => {
    const faults = faulty(mapStore({ timeout: 100 }));
    const cache = createCache({ layers: [faults.layer], logger: false });
    await cache.set("k", 1);
    faults.before("read", async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise((resolve) => setImmediate(resolve)); // the answer comes by the event loop
    });
    const read = cache.get("k");
    await new Promise((resolve) => setImmediate(resolve));
    const until = performance.now() + 300;
    while (performance.now() < until);
    expect(await read).toBe(1);
    expect(cache.stats().layers.map?.timeouts).toBe(0);
    await cache.close();
  });

  it("that does not answer to the end is not counted", async () => {
    const faults = faulty(mapStore());
    const { cache } = testCache({ layers: [faults.layer] });
    await cache.set("k", 1, { tags: ["t"] });
    expect((await cache.invalidateTags(["t"], { dryRun: true })).layers).toEqual({ map: 1 });
    faults.fail();
    expect((await cache.invalidateTags(["t"], { dryRun: true })).layers).toEqual({ map: undefined });
  });

  it("damaged or foreign bytes are a miss", async () => {
    const store = mapStore();
    const { cache, clock } = testCache({ layers: [store] });
    await cache.set("k", { a: 1 });
    const raw = store.open({
      cacheName: "cache",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    const entry = (await raw.read(["k"]))[0]?.found?.entry;
    if (entry === undefined) throw new Error("no entry");
    await raw.write([["k", { ...entry, value: new Uint8Array([9, 9, 9]) }]]);
    expect(await cache.get("k")).toBeUndefined();
    expect(await cache.getOrSet("k", () => "loaded")).toBe("loaded");
    await clock.advance(0);
    expect(await cache.get("k")).toBe("loaded");
  });
});
