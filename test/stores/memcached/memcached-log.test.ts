import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createCache } from "../../../src/cache/cache.ts";
import type { LayerContext, Log, LogHead, LogRecord, Position } from "../../../src/coherence/log.ts";
import type { LogServer, SignedRecord } from "../../../src/coherence/log-server.ts";
import { memory } from "../../../src/memory/memory.ts";
import { memcached } from "../../../src/stores/memcached/index.ts";
import { KeyNames } from "../../../src/stores/memcached/key-names.ts";
import { LogChain, moved } from "../../../src/stores/memcached/log-chain.ts";
import { type RecordingFollower, recordingFollower } from "../../../src/testing/log-contract.ts";
import { type MemcachedServer, startMemcached } from "../../servers.ts";
import { context, flushed, itemNamesOf, itemsOf, logOf, logServer, raw } from "./setup.ts";

let server: MemcachedServer;
const closing: { close(): unknown }[] = [];
beforeAll(async () => {
  server = await startMemcached();
});
afterAll(() => server.stop());
beforeEach(async () => {
  if (server.state !== "running") await server.restart();
  await flushed(server);
});
afterEach(async () => {
  for (const one of closing.splice(0).reverse()) await one.close();
});

function connect(facts: Partial<LayerContext> = {}): LogServer {
  const one = logServer(server.host, facts);
  closing.push(one);
  return one;
}

function items() {
  const one = itemsOf(server.host);
  closing.push(one);
  return one.items;
}

interface Following {
  readonly log: Log;
  readonly follower: RecordingFollower;
  readonly head: LogHead;
}

async function follow(host = server.host, facts: Partial<LayerContext> = {}): Promise<Following> {
  const log = logOf(memcached({ servers: host }), context(facts));
  closing.push(log);
  const follower = recordingFollower();
  return { log, follower, head: await log.open(follower) };
}

const keys = (key: string): LogRecord => ({ kind: "keys", keys: [key] });
let serial = 0;
const signed = (record: LogRecord): SignedRecord => ({ id: `id${++serial}`, record });
const seenKeys = ({ follower }: Following) =>
  follower.seen.map(({ record }) => (record.kind === "keys" ? record.keys[0] : record.kind));

async function until(done: () => unknown, ms = 5_000): Promise<void> {
  for (const end = performance.now() + ms; !(await done()); await sleep(5))
    if (performance.now() > end) throw new Error("It did not come to pass.");
}

/** Names of the log's items in the server that have this part. */
async function names(part: string): Promise<string[]> {
  return (await itemNamesOf(server.host)).filter((name) => name.includes(part));
}

/** As the server does when it needs the memory. */
async function evict(part: string): Promise<void> {
  const gone = await names(part);
  expect(gone.length).toBeGreaterThan(0);
  for (const name of gone) expect(await items().remove(name)).toBe(true);
}

describe("the log in Memcached", () => {
  it("is founded once by whoever comes at the same time", async () => {
    const heads = await Promise.all(
      Array.from({ length: 10 }, () => connect().join(`n${++serial}`, undefined, 5_000)),
    );
    expect(new Set(heads.map(({ generation, position }) => `${generation}:${position}`)).size).toBe(1);
  });

  it("keeps one order without gaps under appends of many processes at once", {
    timeout: 60_000,
  }, async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => follow()));
    await Promise.all(
      all.flatMap(({ log }, node) =>
        Array.from({ length: 40 }, (_, i) =>
          i % 4 === 0
            ? log.append([keys(`${node}.${i}`), keys(`${node}.${i}b`)])
            : sleep(i).then(() => log.append([keys(`${node}.${i}`)])),
        ),
      ),
    );
    await until(() => all.every(({ follower }) => follower.seen.length === 250));
    const [first] = all;
    for (const { follower, head } of all) {
      expect(follower.seen).toEqual(first?.follower.seen);
      expect(follower.resets).toEqual([]);
      expect(follower.seen.map(({ position }) => position - head.position)).toEqual(
        Array.from({ length: 250 }, (_, i) => i + 1),
      );
    }
    expect(new Set(first?.follower.seen.map(({ record }) => JSON.stringify(record))).size).toBe(250);
  });

  it("goes on where an appender died between its two steps", async () => {
    const one = await follow();
    const chain = new LogChain(new KeyNames("t"));
    const seen = await chain.head(items());
    if (seen === undefined) throw new Error("no head");
    const dead = [
      signed({ kind: "tags", tags: ["dead"] }),
      signed({ kind: "clear", generation: "of the dead" }),
    ];
    expect(await chain.add(items(), seen.head, dead)).toBeDefined();
    await sleep(50);
    expect(one.follower.seen).toEqual([]);
    await one.log.append([keys("alive")]);
    expect(seenKeys(one)).toEqual(["tags", "clear", "alive"]);
    const [tag] = await one.log.tagPositions(["dead"]);
    expect(tag?.hard).toBe(seen.head.position + 1);
    expect((await chain.head(items()))?.head.generation).toBe("of the dead");
  });

  it("carries records larger than an item, and more of them than a block", async () => {
    const [one, two] = [await follow(), await follow()];
    const large = Array.from({ length: 60_000 }, (_, i) => `a key of some length, number ${i}`);
    await one.log.append([{ kind: "keys", keys: large }]);
    await until(() => two.follower.seen.length === 1);
    expect(two.follower.seen[0]?.record).toEqual({ kind: "keys", keys: large });
    await one.log.append(Array.from({ length: 1_234 }, (_, i) => keys(`k${i}`)));
    await until(() => two.follower.seen.length === 1_235);
    expect(seenKeys(two).slice(1)).toEqual(Array.from({ length: 1_234 }, (_, i) => `k${i}`));
    await evict(":b:");
    const late = connect();
    const { position, id } =
      one.head.position === 0
        ? { position: 0, id: "" }
        : { position: one.head.position, id: one.head.generation };
    expect((await late.join("late", { position, id }, 5_000)).standing).toBe("trimmed");
  });

  it("tells a process that was cut off what it missed, and how old what it knows is", async () => {
    const [one, two] = [await follow(), await follow()];
    await server.pause();
    await expect(one.log.append([keys("lost")])).rejects.toThrow();
    await until(() => two.log.lag() > 1_000);
    await server.resume();
    await until(() => two.log.lag() < 600);
    const position = await untilAnswer(() => one.log.append([keys("k")]));
    await until(() => two.follower.seen.at(-1)?.position === position);
    expect(two.follower.resets).toEqual([]);
  });
});

describe("what was lost of the log in Memcached is noticed (P7)", () => {
  it("all of it, by flush_all: a new generation, above all positions of before", async () => {
    const [one, two] = [await follow(), await follow()];
    const before = await one.log.append([keys("a")]);
    await sleep(1_100);
    await raw(server.host, "flush_all\r\n", /OK/);
    await until(() => one.follower.resets.length > 0 && two.follower.resets.length > 0, 2_000);
    const heads = [...one.follower.resets, ...two.follower.resets].map(({ head }) => head);
    for (const head of heads) {
      expect(head.generation).not.toBe(one.head.generation);
      expect(head.position).toBeGreaterThan(before);
    }
    await one.log.append([keys("b")]);
    await until(() => seenKeys(two).includes("b"));
  });

  it("all of it, by a restart of the server", async () => {
    const [one, two] = [await follow(), await follow()];
    await one.log.append([keys("a")]);
    await server.restart();
    await until(() => one.follower.resets.length > 0 && two.follower.resets.length > 0);
    await untilAnswer(() => one.log.append([keys("b")]));
    await until(() => seenKeys(two).includes("b"));
    expect(one.follower.resets.at(-1)?.head.generation).toBe(two.follower.resets.at(-1)?.head.generation);
  });

  it("a part of it: the server comes back as it was before", async () => {
    const one = await follow();
    await one.log.append([keys("a")]);
    const saved = await Promise.all(
      (await names(":l:")).map(async (name) => [name, (await items().get(name))?.value] as const),
    );
    await one.log.append([keys("b"), { kind: "tags", tags: ["t"] }]);
    const two = await follow();
    await evict(":l:r:");
    for (const [name, value] of saved)
      if (value !== undefined) await items().put(name, value, { seconds: 0, how: "set" });
    await until(() => one.follower.resets.length > 0 && two.follower.resets.length > 0);
    for (const { follower } of [one, two]) {
      expect(follower.resets.at(-1)?.head.generation).not.toBe(one.head.generation);
      expect(follower.resets.at(-1)?.head.position).toBeGreaterThan(two.head.position);
    }
  });

  it.each([
    ["as much", ["x", "y"]],
    ["more", ["x", "y", "z"]],
  ])("a part of it, and others appended %s since: ids tell the histories apart", async (_, added) => {
    const one = await follow();
    const head = await items().get("cu:t:l:head");
    await one.log.append([keys("a"), keys("b")]);
    // Another process, to which the record of before is the last one, appends some of its own.
    await evict(":l:r:");
    const chain = new LogChain(new KeyNames("t"));
    const old = JSON.parse(head?.value.toString() ?? "");
    for (const key of added) {
      const records = [signed(keys(key))];
      await chain.add(items(), old, records);
      Object.assign(old, moved(old, records));
    }
    await chain.moveHead(items(), old, (await chain.head(items()))?.cas);
    await until(() => one.follower.resets.length > 0);
    expect(one.follower.resets.at(-1)?.head.generation).not.toBe(one.head.generation);
    expect(seenKeys(one)).toEqual(["a", "b"]);
  });

  it("its head", async () => {
    const one = await follow();
    await evict(":l:head");
    await until(() => one.follower.resets.length > 0);
    expect(one.follower.resets[0]?.head.generation).not.toBe(one.head.generation);
  });

  it("records that a process has not read yet", async () => {
    const one = await follow();
    const other = connect();
    await server.pause();
    await until(() => one.log.lag() > 1_000);
    await server.resume();
    // Faster than it comes back.
    await untilAnswer(() => other.append([signed(keys("a"))]));
    await other.append([signed(keys("b"))]);
    for (const name of await names(":l:r:")) await items().remove(name);
    await other.append([signed(keys("c"))]);
    await until(() => one.follower.resets.length > 0 || seenKeys(one).includes("c"));
    // It saw all three, or it knows that it did not.
    if (one.follower.resets.length === 0) expect(seenKeys(one)).toEqual(["a", "b", "c"]);
    await other.append([signed(keys("d"))]);
    await until(() => seenKeys(one).includes("d"));
  });

  it("records between what a follower applied and the head: trimmed, and it reads nothing that does not follow", async () => {
    const reader = connect();
    const first = await reader.join("n", undefined, 5_000);
    await reader.append([signed(keys("a"))]);
    await reader.append([signed(keys("b"))]);
    const [a] = (await names(":l:r:")).sort();
    await items().remove(a ?? "");
    await expect(reader.read(first.position, 10, 1)).rejects.toThrow("gone");
    const applied = { position: first.position, id: first.id };
    expect((await reader.join("n", applied, 5_000)).standing).toBe("trimmed");
  });

  it("a tag: all before is invalid, and what is stored after its first look-up is not", async () => {
    const one = await follow();
    const invalidated = await one.log.append([{ kind: "tags", tags: ["t"] }]);
    const later = await one.log.append([keys("k")]);
    expect(await one.log.tagPositions(["t"])).toEqual([{ hard: invalidated, soft: invalidated }]);
    await evict(":l:t:");
    expect(await one.log.tagPositions(["t", "never"])).toEqual([
      { hard: later, soft: later },
      { hard: later, soft: later },
    ]);
    await one.log.append([keys("l")]);
    const two = await follow();
    expect(await two.log.tagPositions(["t", "never"])).toEqual([
      { hard: later, soft: later },
      { hard: later, soft: later },
    ]);
  });

  it("a tag, while it is looked up and invalidated at once: no look-up hides an invalidation", async () => {
    const [one, two] = [await follow(), await follow()];
    for (let round = 0; round < 200; round++) {
      const tag = `t${round}`;
      const [position] = await Promise.all([
        one.log.append([{ kind: "tags", tags: [tag] }]),
        two.log.tagPositions([tag]),
        one.log.tagPositions([tag]),
      ]);
      const [after] = await two.log.tagPositions([tag]);
      expect(after?.hard).toBeGreaterThanOrEqual(position);
    }
  });

  it("the patterns: the generation ends", async () => {
    const [one, two] = [await follow(), await follow()];
    await one.log.append([{ kind: "prefix", prefix: "user:" }]);
    await evict(":l:p:");
    const late = await follow();
    expect(late.head.generation).toBe(one.head.generation);
    expect(await late.log.patterns()).toEqual([]);
    const ended = ({ follower }: Following) =>
      follower.resets.length > 0 || follower.seen.some(({ record }) => record.kind === "clear");
    await until(() => [one, two, late].every(ended));
    await evict(":l:p:");
    const position = await one.log.append([{ kind: "glob", glob: "a*b" }]);
    expect(await two.log.patterns()).toMatchObject([{ position, record: { glob: "a*b" } }]);
  });

  it("too many patterns to keep: the generation ends instead", { timeout: 30_000 }, async () => {
    const one = connect();
    const { generation } = await one.join("n", undefined, 5_000);
    for (let i = 0; i < 5; i++)
      await one.append(
        Array.from({ length: 100 }, (_, n) =>
          signed({ kind: "prefix", prefix: `${i}.${n}.`.padEnd(1_000, "x") }),
        ),
      );
    const head = await one.join("n", undefined, 5_000);
    expect(head.generation).not.toBe(generation);
    expect((await one.patterns()).length).toBeLessThan(500);
  });

  it("a follower or their list: a strict invalidation waits for a whole lease (P3)", async () => {
    const facts = { maxLag: 300 };
    const one = await follow(server.host, facts);
    await sleep(400); // the list is older than a lease
    const two = logServer(server.host, facts);
    closing.push(two);
    const head = await two.join("silent", undefined, 313);
    await two.join("silent", head, 313);
    for (const part of [":l:f:silent", ":l:f"]) {
      const position = await one.log.append([{ ...keys("k"), strict: true }]);
      await evict(part);
      const at = performance.now();
      await one.log.settled(position);
      expect(performance.now() - at).toBeGreaterThan(250);
      expect(performance.now() - at).toBeLessThan(3_000);
    }
    await two.leave("silent");
    await until(async () => (await names(":l:f:")).length === 1);
    const position = await one.log.append([{ ...keys("k"), strict: true }]);
    const at = performance.now();
    await one.log.settled(position);
    expect(performance.now() - at).toBeLessThan(200);
  });

  it("under eviction without end, every process sees each record or starts again", {
    timeout: 60_000,
  }, async () => {
    const small = await startMemcached({
      memory: 2,
      // The plain LRU of old, which drops even what is read all the time.
      args: ["-o", "no_lru_maintainer,no_lru_crawler"],
    });
    try {
      const [one, two] = [await follow(small.host), await follow(small.host)];
      const filler = itemsOf(small.host);
      closing.push(filler);
      const accepted: Position[] = [];
      for (let i = 0; i < 30; i++) {
        // Of the sizes of the log's own items, so that these are evicted too.
        await Promise.allSettled(
          Array.from({ length: 12_000 }, (_, n) =>
            filler.items.put(`f${i}.${n}`, Buffer.alloc(20 + 25 * (i % 8)), { seconds: 0, how: "set" }),
          ),
        );
        try {
          accepted.push(await one.log.append([keys(`k${i}`), { kind: "tags", tags: [`t${i % 7}`] }]));
        } catch {
          // Refused is not accepted.
        }
      }
      expect(await raw(small.host, "stats\r\n", /END\r\n$/)).toMatch(/STAT evictions [1-9]/);
      expect(one.follower.resets.length + two.follower.resets.length).toBeGreaterThan(0);
      expect(accepted.length).toBeGreaterThan(5);
      await until(
        () => untilAnswer(() => two.log.append([keys("last")])).then(() => seenKeys(one).includes("last")),
        20_000,
      );
      for (const { follower } of [one, two]) {
        const seen = new Set(follower.seen.map(({ position }) => position));
        const restartedAt = Math.max(0, ...follower.resets.map(({ head }) => head.position));
        expect(accepted.filter((position) => !seen.has(position) && position > restartedAt)).toEqual([]);
        const positions = follower.seen.map(({ position }) => position);
        expect(positions).toEqual([...positions].sort((a, b) => a - b));
      }
    } finally {
      for (const one of closing.splice(0).reverse()) await one.close();
      await small.stop();
    }
  });
});

describe("caches on one Memcached", () => {
  const make = (facts = {}) => {
    const cache = createCache({
      name: "shop",
      layers: [memory(), memcached({ servers: server.host })],
      ttl: "1h",
      logger: false,
      ...facts,
    });
    closing.push(cache);
    return cache;
  };

  it("see each other's entries, and an invalidation of any kind reaches the other's memory", async () => {
    const [one, two] = [make(), make()];
    for (const invalidate of [
      () => one.delete("k"),
      () => one.invalidateTags(["t"]),
      () => one.invalidatePattern("k*"),
      () => one.clear(),
    ]) {
      const written = await one.set("k", "cached", { tags: ["t"] });
      expect(await two.getOrSet("k", () => "other", { after: String(written.position) })).toBe("cached");
      const done = await invalidate();
      expect(await two.get("k", { after: String(done.position) })).toBeUndefined();
    }
  });

  it("load a cold key once between them", async () => {
    const [one, two] = [make(), make()];
    let loads = 0;
    const load = async () => {
      loads++;
      await sleep(100);
      return "v";
    };
    const values = await Promise.all([one, two, one, two].map((cache) => cache.getOrSet("cold", load)));
    expect(values).toEqual(["v", "v", "v", "v"]);
    expect(loads).toBe(1);
  });

  it("keep a tag invalidated over a restart of all processes, and untagged entries warm", async () => {
    const first = make();
    await first.set("tagged", 1, { tags: ["t"] });
    await first.set("plain", 1);
    await first.invalidateTags(["t"]);
    await first.close();
    const second = make();
    expect(await second.getMany(["tagged", "plain"])).toEqual([undefined, 1]);
  });

  it("answer from the source while Memcached is frozen or gone", async () => {
    const cache = make();
    expect(await cache.getOrSet("k", () => "v")).toBe("v");
    await server.pause();
    const at = performance.now();
    expect(await cache.getOrSet("l", () => "source")).toBe("source");
    expect(performance.now() - at).toBeLessThan(1_000);
    await server.resume();
    await server.kill();
    expect(await cache.getOrSet("m", () => "source")).toBe("source");
    await server.restart();
    await until(
      () =>
        cache.set("n", 1).then(
          () => true,
          () => false,
        ),
      10_000,
    );
  });
});

async function untilAnswer<T>(work: () => Promise<T> | T): Promise<T> {
  for (let left = 300; ; left--) {
    try {
      return await work();
    } catch (error) {
      if (left <= 1) throw error;
      await sleep(10);
    }
  }
}
