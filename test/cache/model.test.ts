import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cache, type CacheOptions, createCache, memory } from "../../src/index.ts";
import { manualClock, mapStore } from "../../src/testing/index.ts";
import { sharedLog } from "./shared-log.ts";

const KEYS = ["user:1", "user:2", "post:1"] as const;
const key = fc.constantFrom(...KEYS);
const who = fc.constantFrom(0, 1);
const HOW = ["delete", "deleteMany", "tag", "prefix", "glob", "clear", "set", "setMany"] as const;

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("write" as const), key, who, how: fc.constantFrom(...HOW) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("read" as const),
      key,
      who,
      how: fc.constantFrom("get", "stale", "near", "far", "many"),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("load" as const),
      key,
      who,
      how: fc.constantFrom("one", "many", "fresh"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const), key, who, fresh: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("finish" as const), which: fc.nat(5), fails: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.constantFrom(0, 30, 3_000, 6_000, 20_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("touch" as const), key, who }) },
);

const options = fc.record({
  swr: fc.constantFrom(0, "5s" as const),
  grace: fc.constantFrom(0, "1m" as const),
  eager: fc.constantFrom(false as const, 0.5, "xfetch" as const),
  sliding: fc.boolean(),
  isolate: fc.constantFrom(false as const, "clone" as const),
});

/** Two processes over one store and one source whose rows have versions, with loads that end when told. */
class World {
  readonly clock = manualClock();
  readonly caches: Cache[];
  readonly rows = new Map<string, number>(KEYS.map((name) => [name, 1]));
  readonly pending: { key: string; end: (fails: boolean) => void; read: Promise<unknown> }[] = [];

  constructor(given: CacheOptions) {
    const store = mapStore({ log: sharedLog() });
    const make = () =>
      createCache({
        clock: this.clock,
        logger: false,
        layers: [memory({ maxEntries: 2 }), store],
        ttl: "10s",
        ...given,
      });
    this.caches = [make(), make()];
  }

  cache(who: number): Cache {
    const cache = this.caches[who];
    if (cache === undefined) throw new Error(`no cache ${who}`);
    return cache;
  }

  row(name: string): number {
    return this.rows.get(name) ?? 0;
  }

  /** Changes a row, then invalidates as told; afterwards no read may see the version before. */
  async write(name: (typeof KEYS)[number], who: number, how: (typeof HOW)[number]): Promise<void> {
    const cache = this.cache(who);
    const version = this.row(name) + 1;
    this.rows.set(name, version);
    const tags = [`tag:${name}`];
    const kind = name.split(":")[0];
    if (how === "delete") await cache.delete(name);
    if (how === "deleteMany") await cache.deleteMany([name, "other"]);
    if (how === "tag") await cache.invalidateTags(tags);
    if (how === "prefix") await cache.invalidatePattern(`${kind}:*`);
    if (how === "glob") await cache.invalidatePattern(`?${name.slice(1)}`);
    if (how === "clear") await cache.clear();
    if (how === "set") await cache.set(name, version, { tags });
    if (how === "setMany") await cache.setMany([[name, version]], { tags });
  }

  begin(name: string, who: number, fresh: boolean): void {
    const gate = Promise.withResolvers<void>();
    gate.promise.catch(() => undefined); // a read that hits calls no loader
    const load = (): Promise<number> => {
      const version = this.row(name); // read when it is called, answered later
      return gate.promise.then(() => version);
    };
    const read = this.cache(who).getOrSet(name, load, {
      tags: [`tag:${name}`],
      fresh,
    });
    read.catch(() => undefined);
    this.pending.push({
      key: name,
      read,
      end: (fails) => (fails ? gate.reject(new Error("down")) : gate.resolve()),
    });
  }

  /** Ends the loads of a key that are under way, so that a read cannot wait for them for ever. */
  async endLoads(name: string): Promise<void> {
    for (const one of this.pending) if (one.key === name) one.end(false);
    await this.clock.advance(200);
  }
}

describe("two processes with random reads, loads, writes and waits", () => {
  it("never read what a resolved invalidation made unusable, never hang, and leave nothing behind", async () => {
    await fc.assert(
      fc.asyncProperty(options, fc.array(step, { minLength: 5, maxLength: 40 }), async (given, steps) => {
        const world = new World(given);
        for (const one of steps) {
          if (one.do === "wait") await world.clock.advance(one.ms);
          if (one.do === "write") await world.write(one.key, one.who, one.how);
          if (one.do === "touch") await world.cache(one.who).touch(one.key);
          if (one.do === "begin") world.begin(one.key, one.who, one.fresh);
          if (one.do === "finish") world.pending[one.which]?.end(one.fails);
          if (one.do === "read") {
            const cache = world.cache(one.who);
            const value =
              one.how === "many"
                ? (await cache.getMany([one.key]))[0]
                : await cache.get(one.key, {
                    stale: one.how === "stale",
                    ...(one.how === "near" ? { l2: false } : {}),
                    ...(one.how === "far" ? { l1: false } : {}),
                  });
            expect([undefined, world.row(one.key)]).toContain(value);
          }
          if (one.do === "load") {
            const load = { tags: [`tag:${one.key}`], fresh: one.how === "fresh" };
            const row = (): number => world.row(one.key);
            const cache = world.cache(one.who);
            const read =
              one.how === "many"
                ? cache
                    .getOrSetMany([one.key], async (keys) => new Map(keys.map((name) => [name, row()])), load)
                    .then(([value]) => value)
                : cache.getOrSet(one.key, row, load);
            await world.clock.advance(0);
            await world.endLoads(one.key);
            // It may have joined a load that was told to fail.
            const value = await read.catch((error: Error) => (error.message === "down" ? row() : error));
            expect(value).toBe(row());
          }
        }
        for (const one of world.pending) one.end(false);
        await world.clock.advance(1_000);
        await Promise.allSettled(world.pending.map((one) => one.read));
        for (const cache of world.caches) {
          expect(cache.stats().inFlight).toBe(0);
          await cache.close();
        }
      }),
      { numRuns: 400 },
    );
  });
});
