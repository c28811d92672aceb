import { describe, expect, it, vi } from "vitest";
import {
  type CacheOptions,
  createCache,
  type LayerContext,
  memory,
  type StoreLayer,
} from "../../src/index.ts";
import { faulty, manualClock, mapStore, recordingFollower } from "../../src/testing/index.ts";
import { gate, settle, testCache } from "./setup.ts";
import { type SharedLog, sharedLog } from "./shared-log.ts";

/** Caches of one name over one store and one log, as processes would be. */
function processes(options: CacheOptions = {}, log: SharedLog = sharedLog()) {
  const clock = manualClock();
  const faults = faulty(mapStore({ log }));
  const context: LayerContext = {
    cacheName: "cache",
    maxLag: 5_000,
    clock,
    random: Math.random,
    warn: () => undefined,
  };
  const start = (more: CacheOptions = {}, layer: StoreLayer = faults.layer) =>
    createCache({
      clock,
      random: () => 0.5,
      logger: false,
      layers: [memory(), layer],
      ttl: "1h",
      ...options,
      ...more,
    });
  return { clock, faults, log, start, raw: faults.layer.open(context), rawLog: log(context) };
}

describe("an entry in a store that was invalidated by tag", () => {
  it("is loaded again under a lease, and filled", async () => {
    const { start, clock } = processes();
    const [one, two] = [start(), start()];
    await one.set("k", "old", { tags: ["t"] });
    await two.invalidateTags(["t"]);
    expect(await two.getOrSet("k", () => "new", { tags: ["t"] })).toBe("new");
    await clock.advance(0);
    expect(await one.get("k")).toBe("new");
  });

  it("makes one load when two processes meet it at once", async () => {
    const { start, clock } = processes();
    const [one, two] = [start(), start()];
    await one.set("k", "old", { tags: ["t"] });
    await two.invalidateTags(["t"]);
    const slow = gate<string>();
    const reads = [one.getOrSet("k", slow.load), two.getOrSet("k", slow.load)];
    await settle();
    await clock.advance(0);
    slow.open("new");
    await clock.advance(500);
    expect(await Promise.all(reads)).toEqual(["new", "new"]);
    expect(slow.calls).toBe(1);
  });
});

describe("a process that starts later", () => {
  it("judges older entries by the log's own table", async () => {
    const { start } = processes({ grace: "1h" });
    const one = start();
    await one.setMany([["hard", 1]], { tags: ["h"] });
    await one.setMany([["soft", 1]], { tags: ["s"] });
    await one.setMany([["kept", 1]], { tags: ["k"] });
    await one.set("prefix:1", 1);
    await one.invalidateTags(["h"]);
    await one.invalidateTags(["s"], { soft: true });
    await one.invalidatePattern("prefix:?");
    const two = start();
    expect(await two.getMany(["hard", "soft", "kept", "prefix:1"])).toEqual([
      undefined,
      undefined,
      1,
      undefined,
    ]);
    expect(await two.get("soft", { stale: true })).toBe(1);
    expect(await two.get("hard", { stale: true })).toBeUndefined();
  });

  it("does not believe what the log cannot tell it", async () => {
    const { start, log } = processes();
    await start().set("k", 1, { tags: ["t"] });
    const deaf: SharedLog = Object.assign(
      (context: LayerContext) => ({
        ...log(context),
        tagPositions: () => Promise.reject(new Error("no answer")),
      }),
      log,
    );
    const two = start({ log: deaf });
    expect(await two.get("k")).toBeUndefined();
  });
});

describe("writes of one process", () => {
  it("to one key take turns: every layer ends with the last", async () => {
    const { start, faults, clock, raw } = processes();
    const one = start();
    let held = 0;
    faults.before("write", async () => {
      // The first write is the slowest.
      if (held++ === 0) await new Promise<void>((resolve) => clock.setTimer(100, resolve));
    });
    const writes = [
      one.set("k", "first"),
      one.set("k", "second"),
      one.delete("other"),
      one.set("k", "third"),
    ];
    await clock.advance(200);
    await Promise.all(writes);
    expect(one.peek("k")?.value).toBe("third");
    expect(await one.get("k", { l1: false })).toBe("third");
    expect((await raw.read(["k"]))[0]?.found).toBeDefined();
  });

  it("that another process overtakes are not kept in memory", async () => {
    const { start, rawLog } = processes();
    const one = start();
    await rawLog.open(recordingFollower());
    await one.set("k", "before");
    const stop = one.on("invalidate", () => {
      stop();
      void rawLog.append([{ kind: "keys", keys: ["k"] }]); // lands before `set` goes on
    });
    await one.set("k", "overtaken");
    expect(one.peek("k")).toBeUndefined();
  });

  it("of nothing take the key out, or remember that nothing is there", async () => {
    const { start } = processes();
    const one = start();
    await one.set("k", "value");
    await one.set("k", undefined);
    expect(await one.get("k")).toBeUndefined();
    await one.set("k", undefined, { negativeTtl: "1m" });
    expect(one.peek("k")).toMatchObject({ state: "negative" });
    const load = vi.fn(() => "loaded");
    expect(await one.getOrSet<string, string | undefined>("k", load)).toBeUndefined();
    expect(await start().getOrSet<string, string | undefined>("k", load)).toBeUndefined();
    expect(load).not.toHaveBeenCalled();
  });
});

describe("an eager refresh across processes", () => {
  it("leaves the load to the process that has begun it", async () => {
    const { start, clock } = processes({ ttl: "10s", eager: 0.5 });
    const [one, two] = [start(), start()];
    await one.set("k", "v1");
    await two.get("k");
    await clock.advance(6_000);
    const slow = gate<string>();
    expect(await one.getOrSet("k", slow.load)).toBe("v1");
    await settle();
    expect(await two.getOrSet("k", slow.load)).toBe("v1");
    await settle();
    expect(slow.calls).toBe(1);
    slow.open("v2");
    await clock.advance(0);
    expect(one.peek("k")?.value).toBe("v2");
  });

  it("takes over what another process has refreshed already, without a load", async () => {
    const { start, clock } = processes({ ttl: "10s", eager: 0.5 });
    const [one, two] = [start(), start()];
    await one.set("k", "v1");
    await two.get("k");
    await clock.advance(6_000);
    await one.getOrSet("k", () => "v2");
    await clock.advance(0);
    const load = vi.fn(() => "v3");
    expect(await two.getOrSet("k", load)).toBe("v1");
    await clock.advance(0);
    expect(two.peek("k")?.value).toBe("v2");
    expect(load).not.toHaveBeenCalled();
  });
});

describe("reclaiming in the background", () => {
  it("removes what a pattern made unusable, never what was stored since, and then forgets the pattern", async () => {
    const { start, clock, raw, log, faults } = processes({ maxLag: "5s" });
    const one = start();
    await one.setMany([
      ["user:1", 1],
      ["user:2", 2],
      ["post:1", 3],
    ]);
    const hold = Promise.withResolvers<void>();
    const stop = faults.before("keys", () => hold.promise);
    await one.invalidatePattern("user:*");
    stop();
    await one.set("user:2", "new");
    hold.resolve();
    await clock.advance(1_000);
    const left = (await raw.read(["user:1", "user:2", "post:1"])).map((read) => read.found !== undefined);
    expect(left).toEqual([false, true, true]);
    const late = log({
      cacheName: "cache",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    expect(await late.patterns()).toHaveLength(1);
    await clock.advance(10_000);
    expect(await late.patterns()).toEqual([]);
    expect(await one.get("user:2")).toBe("new");
  });

  it("that fails leaves the pattern in the log, and reads refuse the entries all the same", async () => {
    const { start, clock, log, faults } = processes();
    const one = start();
    await one.set("user:1", 1);
    const stop = faults.before("remove", () => Promise.reject(new Error("no")));
    await one.invalidatePattern("user:?");
    await clock.advance(60_000);
    stop();
    expect(
      await log({
        cacheName: "cache",
        maxLag: 5_000,
        clock,
        random: Math.random,
        warn: () => undefined,
      }).patterns(),
    ).toHaveLength(1);
    expect(await start().get("user:1")).toBeUndefined();
  });

  it("empties the store after clear, and ends with close", async () => {
    const { start, clock, raw } = processes();
    const one = start();
    await one.setMany(Array.from({ length: 500 }, (_, i) => [`k${i}`, i] as const));
    await one.clear();
    await clock.advance(0);
    expect((await raw.stats()).entries).toBe(0);
    await one.setMany(Array.from({ length: 500 }, (_, i) => [`k${i}`, i] as const));
    await one.invalidatePattern("k*");
    await one.close();
    expect(await start().get("k1")).toBeUndefined();
  });
});

describe("reads that need more than one look", () => {
  it("take a stale entry of the store only when they ask for it", async () => {
    const { start, clock } = processes({ ttl: "10s", grace: "1h" });
    await start().set("k", "value");
    await clock.advance(11_000);
    const two = start();
    expect(await two.get("k")).toBeUndefined();
    expect(await two.get("k", { stale: true })).toBe("value");
    expect(await two.get("missing", { stale: true })).toBeUndefined();
  });

  it("share one look into the store", async () => {
    const { start, faults } = processes();
    const one = start();
    await start().set("k", "value");
    const reads = await Promise.all([one.get("k"), one.get("k"), one.getMany(["k", "k"])]);
    expect(reads.flat()).toEqual(["value", "value", "value", "value"]);
    expect(faults.calls.read).toBe(1);
  });

  it("wait for the follower, and ask the source when it does not come", async () => {
    const { start, log, clock } = processes();
    const [one, two] = [start(), start()];
    await one.set("k", "old");
    await two.get("k");
    log.cut();
    const { position } = await one.set("k", "new");
    // Whether a tag or a pattern concerns what the store holds is not known here: only the source is sure.
    const read = two.getOrSet("k", () => "new", { after: position });
    await clock.advance(1_000);
    expect(await read).toBe("new");
    expect(two.peek("k")?.value).toBe("new");
    log.restore();
    expect(await two.get("k", { after: position })).toBe("new");
  });

  it("hit in a namespace as fast as outside, with the values of that namespace", async () => {
    const { cache } = testCache();
    const inner = cache.namespace("a").scope({ user: 7 });
    const load = vi.fn(() => "inner");
    await inner.getOrSet("k", load);
    expect(await inner.getOrSet("k", load)).toBe("inner");
    expect(load).toHaveBeenCalledTimes(1);
    expect(() => cache.namespace("n".repeat(300))).toThrow("shorter names");
  });

  it("name the policies there are not", async () => {
    const { cache } = testCache();
    await expect(cache.get("k", { policy: "x" })).rejects.toThrow("none");
    // @ts-expect-error a name is needed
    await expect(cache.get("k", { policy: 5 })).rejects.toThrow("policy");
    await expect(cache.set("k", 1, { tags: ["x".repeat(1_001)] })).rejects.toThrow("tags");
    await expect(
      cache.set("k", 1, { tags: Array.from({ length: 10_001 }, (_, i) => `t${i}`) }),
    ).rejects.toThrow("10000");
  });
});

describe("a busy key", () => {
  it("is loaded here when the store stops answering, and given up when the caller has gone", async () => {
    const { start, faults, clock } = processes();
    const [one, two] = [start(), start()];
    const slow = gate<string>();
    void one.getOrSet("k", slow.load);
    await settle();
    const second = two.getOrSet("k", () => "by itself");
    await settle();
    faults.fail();
    await clock.advance(400);
    expect(await second).toBe("by itself");
    faults.heal();

    const controller = new AbortController();
    const third = start().getOrSet("k", () => "never", { signal: controller.signal });
    await settle();
    controller.abort(new Error("gone"));
    await expect(third).rejects.toThrow("gone");
    slow.open("one");
    await clock.advance(200);
  });

  it("is loaded here after a minute, whoever holds it", async () => {
    const { start, clock } = processes();
    const [one, two] = [start(), start()];
    void one.getOrSet("k", () => new Promise<string>(() => undefined));
    await settle();
    const second = two.getOrSet("k", () => "enough");
    await clock.advance(61_000);
    expect(await second).toBe("enough");
  });
});
