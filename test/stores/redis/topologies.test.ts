// Redis with more than one server: failovers, frozen and killed nodes.
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "ioredis";
import { createCluster, createSentinel } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RedisOptions, redis } from "../../../src/stores/redis/index.ts";
import { keySlot } from "../../../src/stores/redis/key-slot.ts";
import { type LinkOptions, linkTarget } from "../../../src/stores/redis/link-options.ts";
import { openLink } from "../../../src/stores/redis/open-link.ts";
import type { DedicatedNode, RedisLink } from "../../../src/stores/redis/redis-link.ts";
import type { Store } from "../../../src/stores/store.ts";
import { manualClock, storedEntry } from "../../../src/testing/index.ts";
import { startProxy } from "../../proxy.ts";
import {
  type RedisCluster,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startReplica,
  startSentinel,
} from "../../servers.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function open(options: RedisOptions): Store {
  const context = {
    cacheName: "shop",
    clock: manualClock(),
    random: Math.random,
    maxLag: 1_000,
    warn: () => undefined,
  };
  const store = redis(options).open(context);
  closing.push(() => store.close());
  return store;
}

function linkTo(options: LinkOptions): RedisLink {
  const link = openLink(linkTarget(options, "redis"), () => undefined);
  closing.push(() => link.close());
  return link;
}

const KEYS = Array.from({ length: 60 }, (_, i) => `k${i}`);
const entries = () => KEYS.map((key) => [key, storedEntry({ ttl: 60_000 })] as const);

/** Tries until it works, and tells how long that took. */
async function until(work: () => Promise<unknown>, longest = 15_000): Promise<number> {
  const since = performance.now();
  for (;;) {
    try {
      await work();
      return performance.now() - since;
    } catch (error) {
      if (performance.now() - since > longest) throw error;
      await sleep(20);
    }
  }
}

describe("a cluster", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasEach: 1 });
  }, 60_000);
  afterAll(() => cluster.stop());

  it("has keys in the slots that this package takes them to be in", async () => {
    const node = cluster.nodes[0];
    for (const key of [
      "a",
      "shop:user:1",
      "{shop}:@log",
      "a{b}c{d}",
      "a{}b",
      "{",
      "}{x",
      "ünï🙂",
      "x".repeat(300),
    ])
      expect([key, keySlot(key)]).toEqual([key, await node?.call("CLUSTER", "KEYSLOT", key)]);
  });

  it("takes all keys of a first turn at once, though no node was connected to", async () => {
    const store = open({ cluster: cluster.urls });
    await Promise.all(entries().map((entry) => store.write([entry])));
    expect((await store.read(KEYS)).every(({ found }) => found !== undefined)).toBe(true);
    expect((await store.stats()).entries).toBe(KEYS.length);
    expect(await store.remove(KEYS)).toBe(KEYS.length);
  });

  it("comes back after a failover in order, and after a master was killed", async () => {
    const store = open({ cluster: cluster.urls });
    await store.write(entries());
    await cluster.failover(0);
    expect(await until(() => store.write(entries()))).toBeLessThan(3_000);
    const killed = await cluster.killMaster(1);
    await until(() => store.write(entries()));
    expect((await store.read(KEYS)).every(({ found }) => found !== undefined)).toBe(true);
    expect((await store.stats()).entries).toBe(KEYS.length);
    await killed.restart();
    await cluster.ready();
  }, 60_000);

  it("answers for the other nodes while one is frozen, and for all when it goes on", async () => {
    const store = open({ cluster: cluster.urls });
    await store.write(entries());
    const [frozen] = await cluster.masters();
    await frozen?.pause();
    const outcomes = await Promise.allSettled(KEYS.map((key) => store.read([key])));
    const answered = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(answered).toBeGreaterThan(KEYS.length / 3);
    expect(answered).toBeLessThan(KEYS.length);
    await frozen?.resume();
    await until(() => store.read(KEYS));
    await cluster.ready();
  }, 60_000);

  it("has dedicated connections that follow their key", async () => {
    const byIoredis = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    const byNodeRedis = createCluster({ rootNodes: cluster.nodes.map(({ url }) => ({ url })) });
    await byNodeRedis.on("error", () => undefined).connect();
    closing.push(
      () => byIoredis.disconnect(),
      () => byNodeRedis.destroy(),
    );
    const ways: LinkOptions[] = [{ cluster: cluster.urls }, { client: byIoredis }, { client: byNodeRedis }];
    const nodes: DedicatedNode[] = ways.map((options) => linkTo(options).dedicated("{shop}:@log"));
    const ask = async (node: DedicatedNode) => String(await node.send(["set", "{shop}:@log", "v"]));
    for (const node of nodes) expect(await ask(node)).toBe("OK");
    await cluster.failover(Math.floor((keySlot("{shop}:@log") * 3) / 16_384));
    for (const node of nodes) expect(await until(() => ask(node))).toBeLessThan(10_000);
  }, 60_000);
});

describe("Sentinel", () => {
  it("leads to the new master after a failover", async () => {
    const master = await startRedis();
    closing.push(() => master.stop());
    const replica = await startReplica(master);
    closing.push(() => replica.stop());
    const sentinel = await startSentinel(master);
    closing.push(() => sentinel.stop());
    const store = open({
      sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
      sentinelName: sentinel.name,
    });
    const client = createSentinel({
      name: sentinel.name,
      sentinelRootNodes: [{ host: "127.0.0.1", port: sentinel.port }],
    });
    await client.on("error", () => undefined).connect();
    closing.push(() => client.destroy());
    const given = open({ client });
    const link = linkTo({ client });
    const dedicated = link.dedicated("k");
    await store.write(entries());
    await given.write(entries());
    expect(String(await dedicated.send(["set", "k", "v"]))).toBe("OK");
    await dedicated.send(["del", "k"]);
    await master.kill();
    await until(() => store.write(entries()), 30_000);
    await until(() => given.write(entries()), 30_000);
    await until(() => dedicated.send(["set", "k", "v"]), 30_000);
    await dedicated.send(["del", "k"]);
    expect(Number(await replica.call("DBSIZE"))).toBe(KEYS.length);
  }, 60_000);
});

describe("a half-open connection", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  it("is noticed and replaced", async () => {
    const proxy = await startProxy(server.port);
    closing.push(() => proxy.stop());
    const store = open({ host: "127.0.0.1", port: proxy.port });
    await store.ping();
    proxy.drop();
    await expect(store.ping()).rejects.toThrow();
    await proxy.heal({ broken: "keep" });
    expect(await until(() => store.ping())).toBeLessThan(3_500);
  }, 30_000);

  it("is replaced at once when its owner says so", async () => {
    const proxy = await startProxy(server.port);
    closing.push(() => proxy.stop());
    const node = linkTo({ host: "127.0.0.1", port: proxy.port }).dedicated("k");
    await node.send(["ping"]);
    proxy.drop();
    const lost = node.send(["ping"]);
    await proxy.heal({ broken: "keep" });
    node.reconnect();
    await expect(lost).rejects.toThrow();
    expect(String(await node.send(["ping"]))).toBe("PONG");
  });
});
