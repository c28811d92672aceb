import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type Cache,
  type CacheOptions,
  createCache,
  type InvalidationReport,
  json,
  memory,
  type SweepProgress,
} from "../../src/index.ts";
import { faulty, manualClock, mapStore } from "../../src/testing/index.ts";
import { mapLogServer } from "../coherence/map-log-server.ts";
import { gate, settle } from "./setup.ts";

/** Processes that share a store and a log whose server can be put into trouble. */
async function world(options: CacheOptions = {}) {
  const clock = manualClock();
  const server = mapLogServer();
  const store = mapStore();
  const faults = faulty(store);
  const warnings: string[] = [];
  const start = (more: CacheOptions = {}): Cache =>
    createCache({
      clock,
      random: () => 0.5,
      logger: (message) => warnings.push(message),
      log: server.factory,
      layers: [memory(), faults.layer],
      ttl: "1h",
      ...options,
      ...more,
    });
  const caches = [start(), start()] as const;
  await clock.advance(1);
  return { clock, server, store, faults, warnings, start, one: caches[0], two: caches[1] };
}

type World = Awaited<ReturnType<typeof world>>;

/** What a call answers once time has gone on as far as it needs, at most `ms`. */
async function within<T>({ clock }: Pick<World, "clock">, work: Promise<T>, ms = 1_000): Promise<T> {
  let over = false;
  work.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  for (let spent = 0; spent <= ms && !over; spent += 10) await clock.advance(spent === 0 ? 0 : 10);
  return work;
}

describe("who waits for a load of another process", () => {
  it("is woken when it is stored, not by polling", async () => {
    const here = await world();
    const slow = gate<string>();
    const first = here.one.getOrSet("k", slow.load);
    await here.clock.advance(0);
    const second = here.two.getOrSet("k", () => "by itself");
    await here.clock.advance(100);
    const reads = here.faults.calls.read;
    slow.open("loaded once");
    await here.clock.advance(0);
    expect(await first).toBe("loaded once");
    expect(await second).toBe("loaded once"); // no time has passed since the fill
    expect(here.faults.calls.read).toBe((reads ?? 0) + 1);
  });

  it("takes over at once when the load failed", async () => {
    const here = await world();
    const slow = gate<string>();
    const first = here.one.getOrSet("k", slow.load);
    first.catch(() => undefined);
    await here.clock.advance(0);
    const second = here.two.getOrSet("k", () => "by itself");
    await here.clock.advance(100);
    slow.fail(new Error("down"));
    await here.clock.advance(0);
    expect(await second).toBe("by itself");
    await expect(first).rejects.toThrow("down");
  });

  it("loads when the lease of a process that died has run out", async () => {
    const here = await world({ lease: "2s" });
    const raw = here.faults.layer.open({
      cacheName: "cache",
      maxLag: 5_000,
      clock: here.clock,
      random: Math.random,
      warn: () => undefined,
    });
    await raw.read(["k"], { lease: 2_000 }); // and is never heard of again
    const read = here.one.getOrSet("k", () => "taken over");
    await here.clock.advance(1_900);
    expect(here.one.stats().loads).toBe(0);
    await here.clock.advance(1_500);
    expect(await read).toBe("taken over");
  });

  it("gets a stale value at once where one may serve", async () => {
    const here = await world({ ttl: "1s", grace: "1h" });
    await within(here, here.one.set("k", "old"));
    await here.clock.advance(2_000);
    const slow = gate<string>();
    const first = here.one.getOrSet("k", slow.load);
    await here.clock.advance(0);
    const answers: string[] = [];
    expect(
      await within(
        here,
        here.two.getOrSet("k", () => "by itself", { report: ({ state }) => answers.push(state) }),
        0,
      ),
    ).toBe("old");
    expect(answers).toEqual(["stale"]);
    slow.open("new");
    await here.clock.advance(0);
    expect(await first).toBe("new");
  });
});

describe("an invalidation that a store missed", () => {
  it("is refused from that store by every process, also by one that starts later", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old"));
    const { calls } = here.faults;
    here.faults.hang();
    const report = await within(here, here.one.delete("k"));
    expect(report.pending).toEqual(["map"]);
    here.faults.heal();
    expect(calls.remove).toBe(1); // the old value is still there
    expect(await within(here, here.two.get("k", { l1: false }))).toBeUndefined();
    const third = here.start();
    await here.clock.advance(1);
    expect(await within(here, third.get("k"))).toBeUndefined();
    // A value loaded since is none of its business.
    expect(
      await within(
        here,
        third.getOrSet("k", () => "new"),
      ),
    ).toBe("new");
    await here.clock.advance(2_000);
    expect(await within(here, here.two.get("k"))).toBe("new");
  });

  it("is forgotten by the log once the store has made it", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old"));
    here.faults.hang();
    await within(here, here.one.delete("k"));
    here.faults.heal();
    const log = here.server.factory({
      cacheName: "cache",
      maxLag: 5_000,
      clock: here.clock,
      random: Math.random,
      warn: () => undefined,
    });
    expect(await within(here, Promise.resolve(log.patterns()))).toHaveLength(1);
    await here.clock.advance(60_000);
    expect(await within(here, Promise.resolve(log.patterns()))).toEqual([]);
    await here.one.close();
  });

  it("of a set: the older value in the store is refused as well", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old"));
    here.faults.hang();
    await within(here, here.one.set("k", "new"));
    here.faults.heal();
    expect(await within(here, here.two.get("k"))).toBeUndefined();
  });
});

describe("an invalidation that the log did not take", () => {
  it("rejects by name, holds in this process, and reaches the others once the log is back", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old", { tags: ["t"] }));
    expect(await within(here, here.two.get("k"))).toBe("old");
    here.server.hang("append");
    const failed = here.one.invalidateTags(["t"]);
    failed.catch(() => undefined);
    await here.clock.advance(1_000);
    await expect(failed).rejects.toThrow(/append the invalidation to its log/);
    expect(here.one.peek("k")).toBeUndefined();
    here.server.heal();
    await here.clock.advance(2_500);
    expect(here.two.peek("k")).toBeUndefined();
    expect(await within(here, here.two.get("k"))).toBeUndefined();
  });
});

describe("wait: all", () => {
  it("resolves once every process has acknowledged, in every kind of invalidation (P3)", async () => {
    const here = await world();
    const each: ((cache: Cache) => Promise<InvalidationReport>)[] = [
      (cache) => cache.delete("k", { wait: "all" }),
      (cache) => cache.deleteMany(["k"], { wait: "all" }),
      (cache) => cache.invalidateTags(["t"], { wait: "all" }),
      (cache) => cache.invalidatePattern("k*", { wait: "all" }),
      (cache) => cache.clear({ wait: "all" }),
    ];
    for (const invalidate of each) {
      await within(here, here.one.set("k", "old", { tags: ["t"] }));
      expect(await within(here, here.two.get("k"))).toBe("old");
      await within(here, invalidate(here.one), 100);
      expect(here.two.peek("k")).toBeUndefined();
      expect([...here.server.followers.values()].every(({ acked }) => acked >= 0)).toBe(true);
    }
  });

  it("waits out the lease of a process that does not acknowledge, which by then trusts itself no more", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old"));
    await within(here, here.two.get("k"));
    here.server.hang("read");
    here.server.hang("join");
    const strict = here.one.delete("k", { wait: "all" });
    await here.clock.advance(4_000);
    expect(here.two.peek("k")?.value).toBe("old");
    await within(here, strict, 3_000);
    expect(here.two.peek("k")).toBeUndefined();
  });

  it("is refused when it is anything else", async () => {
    const here = await world();
    await expect(here.one.delete("k", { wait: "some" as "all" })).rejects.toThrow('expected "all"');
  });
});

describe("a process that is cut off from the log", () => {
  it("joins no load that began longer ago than it may trust itself (P2)", async () => {
    const here = await world();
    const slow = gate<string>();
    const early = here.two.getOrSet("k", slow.load);
    await here.clock.advance(0);
    here.server.hang("read");
    here.server.hang("join");
    await here.clock.advance(6_000);
    const late = here.two.getOrSet("k", () => "new");
    await here.clock.advance(100);
    slow.open("old");
    expect(await within(here, late, 60_000)).not.toBe(undefined);
    expect(await within(here, early)).toBe("old");
    expect(await late).toBe("new");
  });

  it("tells it in health, with since when and why", async () => {
    const here = await world();
    expect(here.one.health().log).toMatchObject({ name: "map", state: "up", lastError: undefined });
    here.server.hang();
    await here.clock.advance(7_000);
    const { log, ok } = here.one.health();
    expect(log.state).toBe("down");
    expect(log.lag).toBeGreaterThan(5_000);
    expect(ok).toBe(false);
    await here.clock.advance(1_000);
    expect(here.one.health().log.since).toBe(1_000);
  });
});

describe("a read past memory", () => {
  it("leaves nothing older behind it in memory (P5)", async () => {
    const here = await world();
    await within(here, here.one.set("k", "old"));
    expect(await within(here, here.two.get("k"))).toBe("old");
    here.server.hang("read"); // the second process hears of nothing
    await here.clock.advance(600);
    const written = here.one.set("k", "new");
    await here.clock.advance(300);
    await written;
    expect(await within(here, here.two.get("k", { l1: false }))).toBe("new");
    expect(await within(here, here.two.get("k"))).toBe("new");
  });
});

describe("values of two shapes", () => {
  it("live side by side: each version of the program reads its own", async () => {
    const here = await world();
    const [old, fresh] = [here.one, here.two].map((cache, i) =>
      cache.collection<{ name: string }>("user", {
        load: () => ({ name: i === 0 ? "old shape" : "new shape" }),
        version: i === 0 ? 1 : 2,
      }),
    );
    expect((await within(here, (old as NonNullable<typeof old>).get("1")))?.name).toBe("old shape");
    expect((await within(here, (fresh as NonNullable<typeof fresh>).get("1")))?.name).toBe("new shape");
    expect(here.two.stats().loads).toBe(1);
  });

  it("are told from the schema where its library says what it accepts", async () => {
    const here = await world();
    const name = here.one.collection("user", {
      load: () => ({ name: "a" }),
      schema: z.object({ name: z.string() }),
    });
    const both = here.two.collection("user", {
      load: () => ({ name: "a", age: 1 }),
      schema: z.object({ name: z.string(), age: z.number().optional() }),
    });
    await within(here, name.get("1"));
    expect(await within(here, both.get("1"))).toEqual({ name: "a", age: 1 });
  });

  it("a value of no told shape serves all", async () => {
    const here = await world();
    await within(here, here.one.set("k", 1));
    expect(
      await within(
        here,
        here.two.getOrSet("k", () => 2, { version: 3 }),
      ),
    ).toBe(1);
    expect(await within(here, here.two.get("k", { version: 4, l1: false }))).toBe(1);
  });

  it("of another codec are a miss, and are replaced", async () => {
    const here = await world();
    await within(here, here.one.set("k", "structured"));
    const other = here.start({ codec: json() });
    await here.clock.advance(1);
    expect(
      await within(
        here,
        other.getOrSet("k", () => "json"),
      ),
    ).toBe("json");
    await here.clock.advance(10);
    expect(
      await within(
        here,
        here.two.getOrSet("k", () => "structured again"),
      ),
    ).toBe("structured again");
  });
});

describe("shadow checks", () => {
  it("measure how many hits differ from the source, and change nothing", async () => {
    const here = await world({ shadow: 1 });
    let row = { at: new Date(1) };
    const seen: boolean[] = [];
    here.one.on("shadow", ({ stale }) => seen.push(stale));
    const read = () =>
      within(
        here,
        here.one.getOrSet("k", async () => row),
      );
    await read();
    await read();
    await here.clock.advance(0);
    expect(here.one.stats().shadow).toEqual({ checks: 1, stale: 0, rate: 0, errors: 0 });
    row = { at: new Date(2) };
    expect(await read()).toEqual({ at: new Date(1) });
    await here.clock.advance(0);
    expect(here.one.stats().shadow).toEqual({ checks: 2, stale: 1, rate: 0.5, errors: 0 });
    expect(await read()).toEqual({ at: new Date(1) });
    expect(seen).toEqual([false, true, true]);
    expect(here.one.stats().loads).toBe(1);
  });

  it("count hits of the stores too, and loaders that fail, and nothing that changed meanwhile", async () => {
    const here = await world({ shadow: 1 });
    await within(here, here.one.set("k", 1));
    await within(
      here,
      here.two.getOrSet("k", () => {
        throw new Error("down");
      }),
    );
    await here.clock.advance(0);
    expect(here.two.stats().shadow).toMatchObject({ checks: 0, errors: 1 });
    const slow = gate<number>();
    await within(here, here.two.getOrSet("k", slow.load));
    await here.clock.advance(0);
    await within(here, here.one.set("k", 2));
    slow.open(2);
    await settle();
    expect(here.two.stats().shadow).toMatchObject({ checks: 0, errors: 1 });
  });

  it("sample no more than asked for, and a share from 0 to 1", async () => {
    const here = await world({ shadow: 0.4 }); // the world's random is 0.5
    await within(here, here.one.set("k", 1));
    await within(
      here,
      here.one.getOrSet("k", () => 2),
    );
    await here.clock.advance(0);
    expect(here.one.stats().shadow.checks).toBe(0);
    expect(() => createCache({ shadow: 2 })).toThrow("shadow");
  });
});

describe("the work behind a pattern", () => {
  it("tells its progress, ends when it is done, and can be cancelled without undoing the invalidation", async () => {
    const here = await world();
    const keys = Array.from({ length: 250 }, (_, i) => [`user:${i}:x`, i] as const);
    await within(here, here.one.setMany(keys));
    const told: SweepProgress[] = [];
    await within(here, here.one.invalidatePattern("user:*:x", { progress: (one) => told.push(one) }));
    await here.clock.advance(10);
    expect(told.at(-1)).toEqual({ layer: "map", seen: 250, removed: 250, done: true });
    expect(told.length).toBeGreaterThan(2);

    await within(here, here.one.setMany(keys));
    const controller = new AbortController();
    const few: SweepProgress[] = [];
    await within(
      here,
      here.one.invalidatePattern("user:*:x", {
        signal: controller.signal,
        progress: (one) => {
          few.push(one);
          controller.abort();
          throw new Error("listeners may throw");
        },
      }),
    );
    await here.clock.advance(10);
    expect(few).toHaveLength(1);
    expect(await within(here, here.two.get("user:249:x"))).toBeUndefined();
  });

  it("is taken over when its process died in the middle", async () => {
    const here = await world();
    await within(here, here.one.set("user:1:x", 1));
    const stop = here.faults.before("keys", () => {
      throw new Error("the process ends here");
    });
    await within(here, here.one.invalidatePattern("user:*:x"));
    await here.clock.advance(10);
    stop();
    await here.one.close();
    const { calls } = here.faults;
    await here.clock.advance(180_000);
    expect(calls.remove).toBe(1);
    await here.clock.advance(20_000);
    expect(here.two.health().ok).toBe(true);
  });
});

describe("very many keys", () => {
  it("go into several records, and into the stores with a bounded number of fills at a time", async () => {
    const here = await world();
    const keys = Array.from({ length: 2_500 }, (_, i) => `k${i}`);
    const kinds: string[] = [];
    here.two.on("invalidate", ({ kind }) => kinds.push(kind));
    const { calls } = here.faults;
    await within(
      here,
      here.one.getOrSetMany(keys, (missing) => new Map(missing.map((key) => [key, key]))),
    );
    await here.clock.advance(10);
    expect(calls.fill).toBe(2_500);
    const report = await within(here, here.one.deleteMany(keys));
    expect(report.layers.map).toBe(2_500);
    expect(kinds).toEqual(["keys", "keys", "keys"]);
    expect(await within(here, here.two.get("k2499"))).toBeUndefined();
  });
});

describe("listing the keys", () => {
  it("ends with an error that names the store which could not tell all of them", async () => {
    const here = await world();
    await within(here, here.one.set("k", 1));
    const list = async (): Promise<string[]> => {
      const keys: string[] = [];
      for await (const key of here.one.keys()) keys.push(key);
      return keys;
    };
    expect(await within(here, list())).toEqual(["k"]);
    here.faults.fail();
    const failed = list();
    failed.catch(() => undefined);
    await here.clock.advance(300);
    await expect(failed).rejects.toThrow('Layer "map" failed to list its keys');
  });
});

describe("a log that cannot be opened", () => {
  it("is told of once", async () => {
    const server = mapLogServer();
    server.fail();
    const clock = manualClock();
    const warnings: string[] = [];
    const cache = createCache({
      clock,
      logger: (message) => warnings.push(message),
      log: server.factory,
      layers: [memory(), mapStore()],
    });
    await clock.advance(5_000);
    expect(warnings).toEqual(['The log "map" cannot be opened: cut off']);
    server.heal();
    await clock.advance(2_000);
    expect(cache.health().log.state).toBe("up");
    await cache.close();
  });
});

describe("without memory", () => {
  async function pair(options: CacheOptions = {}) {
    const here = await world(options);
    const start = (more: CacheOptions = {}) => here.start({ ...more, layers: [here.faults.layer] });
    const cache = start();
    await here.clock.advance(1);
    return { here, cache, start };
  }

  it("what a store answers is handed on, with which layer, age and lifetime", async () => {
    const { here, cache } = await pair();
    await within(here, cache.set("k", { a: 1 }, { ttl: "10s" }));
    await here.clock.advance(4_000);
    const told: unknown[] = [];
    const read = cache.getOrSet("k", () => ({ a: 2 }), { report: (answer) => told.push(answer) });
    expect(await within(here, read, 0)).toEqual({ a: 1 });
    expect(told).toEqual([{ layer: "map", state: "fresh", age: 4_000, ttl: 6_000 }]);
  });

  it("what may not be handed on takes the long way: stale, sliding, invalidated, of another shape or codec", async () => {
    const { here, cache, start } = await pair({ grace: "1h" });
    const other = start({ codec: json() });
    const cloning = start({ isolate: "clone" });
    await here.clock.advance(1);
    const read = (of: Cache, key: string, options = {}) =>
      within(
        here,
        of.getOrSet(key, () => "loaded", options),
        500,
      );
    for (const key of ["stale", "sliding", "tagged", "shaped", "coded", "cloned"])
      await within(
        here,
        cache.set(key, "stored", {
          tags: [key],
          ttl: key === "stale" ? "1s" : "1h",
          sliding: key === "sliding",
          ...(key === "shaped" ? { version: 1 } : {}),
        }),
      );
    await here.clock.advance(2_000);
    await within(here, here.one.invalidateTags(["tagged"]));
    expect(await read(cache, "stale")).toBe("loaded");
    expect(await read(cache, "sliding")).toBe("stored");
    expect(await read(cache, "tagged")).toBe("loaded");
    expect(await read(cache, "shaped", { version: 2 })).toBe("loaded");
    expect(await read(cache, "shaped", { version: 2 })).toBe("loaded");
    expect(await read(other, "coded")).toBe("loaded");
    expect(await read(cloning, "cloned")).toBe("stored");
    // Older than a process that starts now: its log is asked about the tags.
    const late = start();
    await here.clock.advance(1);
    expect(await read(late, "cloned")).toBe("stored");
    await within(here, late.clear());
    expect(await read(cache, "cloned")).toBe("loaded");
  });
});

describe("shadow checks of values with a schema", () => {
  it("compare what the schema makes of them, and leave aside what the loader would not have cached", async () => {
    const here = await world({ shadow: 1 });
    const schema = z.object({ name: z.string().trim() });
    const read = (name: string) =>
      within(
        here,
        here.one.getOrSet("k", async () => ({ name }), { schema }),
      );
    await read(" Ada ");
    await read("Ada");
    await here.clock.advance(0);
    expect(here.one.stats().shadow).toMatchObject({ checks: 1, stale: 0 });
    await within(
      here,
      here.one.getOrSet("k", (context) => context.skip({ name: "Grace" }), { schema }),
    );
    await here.clock.advance(0);
    expect(here.one.stats().shadow).toMatchObject({ checks: 1, stale: 0, errors: 0 });
    await read(7 as unknown as string);
    await here.clock.advance(0);
    expect(here.one.stats().shadow).toMatchObject({ checks: 1, errors: 1 });
  });
});

describe("options of an invalidation", () => {
  it("are refused by name when they cannot be used", async () => {
    const here = await world();
    await expect(here.one.delete("k", { progress: 1 as never })).rejects.toThrow("progress");
    await expect(here.one.invalidateTags("t" as never)).rejects.toThrow("tags");
  });
});
