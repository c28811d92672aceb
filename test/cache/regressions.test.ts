import { describe, expect, it, vi } from "vitest";
import { ClosedError, createCache, memory, source } from "../../src/index.ts";
import { faulty, manualClock, mapStore, recordingFollower } from "../../src/testing/index.ts";
import { gate, settle, testCache } from "./setup.ts";
import { sharedLog } from "./shared-log.ts";

/** Faults that a review found, each with what showed it. */
describe("regressions", () => {
  it("nobody joins the early stale answer of a load: not after its tags were invalidated, not after its grace", async () => {
    const { cache, clock } = testCache({ layers: [mapStore()], ttl: "1s", grace: "10s", swr: true });
    await cache.set("k", "old", { tags: ["t"] });
    await clock.advance(2_000);
    const slow = gate<string>();
    expect(await cache.getOrSet("k", slow.load)).toBe("old");
    await clock.advance(0);
    await cache.invalidateTags(["t"]);
    const later = cache.getOrSet("k", () => "new");
    await clock.advance(30_000);
    slow.open("old again");
    await clock.advance(1_000);
    expect(await later).not.toBe("old");
  });

  it("a soft timeout does not serve a stale copy whose tags were invalidated", async () => {
    const { cache, clock } = testCache({ ttl: "1s", grace: "1h", timeout: "100ms" });
    await cache.set("k", "old", { tags: ["t"] });
    await clock.advance(2_000);
    const slow = gate<string>();
    const first = cache.getOrSet("k", slow.load);
    await cache.invalidateTags(["t"]);
    const second = cache.getOrSet("k", slow.load);
    await clock.advance(200);
    slow.open("new");
    expect(await second).toBe("new");
    expect(await first).toBe("new");
  });

  it("a soft timeout that passed before the store answered serves its stale copy when it comes", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [faults.layer], ttl: "1s", grace: "1h", timeout: "50ms" });
    await cache.set("k", "old");
    await clock.advance(2_000);
    faults.delay(100);
    const read = cache.getOrSet("k", () => new Promise<string>(() => undefined));
    await clock.advance(150);
    expect(await read).toBe("old");
  });

  it("a set keeps nothing in memory that was invalidated between its record and its end", async () => {
    for (const how of ["tags", "pattern", "clear"] as const) {
      const { cache } = testCache();
      const stop = cache.on("invalidate", () => {
        stop();
        if (how === "tags") void cache.invalidateTags(["t"]);
        if (how === "pattern") void cache.invalidatePattern("k*");
        if (how === "clear") void cache.clear();
      });
      await cache.set("k", "value", { tags: ["t"] });
      await settle();
      expect(await cache.get("k")).toBeUndefined();
    }
  });

  it("two processes that set one key at once end with one value everywhere", async () => {
    const clock = manualClock();
    const log = sharedLog();
    const layer = mapStore({ log });
    const faults = faulty(layer);
    const make = (store: typeof layer) =>
      createCache({ clock, logger: false, layers: [memory(), store], ttl: "1h" });
    const [p, q] = [make(faults.layer), make(layer)];
    await p.get("k");
    // P has written the store when Q writes it and appends; P appends last.
    const raw = log({ cacheName: "cache", maxLag: 5_000, clock, random: Math.random, warn: () => undefined });
    await raw.open(recordingFollower());
    let written = false;
    faults.before("write", () => {
      written = true;
    });
    const first = p.set("k", "P");
    while (!written) await Promise.resolve();
    await Promise.all([first, q.set("k", "Q")]);
    await clock.advance(100);
    const stored = await q.get("k", { l1: false });
    expect(await p.get("k")).toBe(stored);
    expect(await q.get("k")).toBe(stored);
  });

  it("a soft invalidation during an eager refresh that fails is not forgotten", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h", eager: 0.5 });
    await cache.set("k", "old", { tags: ["t"] });
    const slow = gate<string>();
    await cache.getOrSet("k", () => "v", { tags: ["t"], fresh: true });
    await clock.advance(6_000);
    await cache.getOrSet("k", slow.load);
    await cache.invalidateTags(["t"], { soft: true });
    slow.fail(new Error("down"));
    await settle();
    expect(await cache.get("k")).toBeUndefined();
    expect(cache.peek("k")).toMatchObject({ state: "stale" });
  });

  it("touch does not revive what was made stale", async () => {
    const { cache } = testCache({ layers: [memory(), mapStore()], ttl: "1h", grace: "1h" });
    await cache.set("k", "old", { tags: ["t"] });
    await cache.expire("k");
    expect(await cache.touch("k")).toBe(false);
    expect(await cache.get("k")).toBeUndefined();
  });

  it("a report that throws harms nobody", async () => {
    const { cache } = testCache();
    const report = (): never => {
      throw new Error("report");
    };
    await cache.set("hit", 1);
    const load = async (keys: readonly string[]) => new Map(keys.map((key) => [key, 2]));
    expect(await cache.getOrSetMany(["hit", "miss"], load, { report })).toEqual([1, 2]);
    expect(await cache.getOrSet("miss", () => 3, { report })).toBe(2);
  });

  it("a burst of failures opens the circuit for its first pause only", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [faults.layer] });
    faults.hang();
    const reads = Array.from({ length: 30 }, (_, i) => cache.getOrSet(`k${i}`, () => i));
    await clock.advance(250);
    await Promise.all(reads);
    faults.heal();
    await clock.advance(1_000);
    await cache.getOrSet("probe", () => 1);
    expect(cache.health().layers[0]?.state).toBe("up");
  });

  it("a source that throws at once, or answers no Map, rejects its callers", async () => {
    const { cache } = testCache();
    const throwing = cache.collection<number>("a", {
      source: source<number>({
        load: () => {
          throw new Error("at once");
        },
      }),
    });
    await expect(throwing.get("k")).rejects.toThrow("at once");
    const wrong = {
      name: "wrong",
      load: async () => ({}),
      save: async () => undefined,
      delete: async () => 0,
    };
    await expect(cache.collection("b", { source: wrong as never }).get("k")).rejects.toThrow("Map");
  });

  it("a write that timed out and lands behind newer ones does not come back", async () => {
    const store = mapStore();
    const faults = faulty(store);
    const { cache, clock } = testCache({ layers: [faults.layer], ttl: "1h" });
    const late = Promise.withResolvers<void>();
    const stop = faults.before("write", () => late.promise);
    const first = cache.set("k", 1);
    await clock.advance(300);
    await first;
    stop();
    await cache.set("k", 2);
    await cache.delete("k");
    late.resolve();
    await clock.advance(3_000);
    expect(await cache.get("k")).toBeUndefined();
  });

  it("close answers callers whose load was detached, and does not wait for a store that hangs", async () => {
    const faults = faulty(mapStore());
    const { cache, clock } = testCache({ layers: [memory(), faults.layer] });
    let signal: AbortSignal | undefined;
    const read = cache.getOrSet("k", (context) => {
      signal = context.signal;
      return new Promise<string>(() => undefined);
    });
    const rejected = expect(read).rejects.toThrow(ClosedError);
    await clock.advance(0);
    await cache.delete("k");
    faults.before("clear", () => new Promise(() => undefined));
    await cache.clear();
    const closed = vi.fn();
    void cache.close().then(closed);
    await rejected;
    expect(signal?.aborted).toBe(true);
    await clock.advance(5_000);
    expect(closed).toHaveBeenCalled();
  });

  it("a loader that finds the value gone tells other processes", async () => {
    const clock = manualClock();
    const layer = mapStore({ log: sharedLog() });
    const make = () => createCache({ clock, logger: false, layers: [memory(), layer], ttl: "1h" });
    const [p, q] = [make(), make()];
    await p.set("k", "row");
    await q.get("k");
    expect(
      await p.getOrSet<string, string | undefined>("k", () => undefined, { fresh: true }),
    ).toBeUndefined();
    await clock.advance(0);
    expect(await q.get("k")).toBeUndefined();
  });
});
