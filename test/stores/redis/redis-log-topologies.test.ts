import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisLogOptions, redisLog } from "../../../src/stores/redis/redis-log.ts";
import { logContract } from "../../../src/testing/index.ts";
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from "../../servers.ts";
import { follow, freshName, heardOf, type Process, removal } from "./redis-log-following.ts";

let redis: RedisServer;
let ioredis: Redis;
let nodeRedis: ReturnType<typeof createClient>;
beforeAll(async () => {
  redis = await startRedis();
  ioredis = new Redis(redis.url);
  nodeRedis = createClient({ url: redis.url });
  nodeRedis.on("error", () => undefined);
  await nodeRedis.connect();
});
afterAll(async () => {
  ioredis.disconnect();
  nodeRedis.destroy();
  await redis.stop();
});

for (const [what, client] of [
  ["ioredis", () => ioredis],
  ["node-redis", () => nodeRedis],
] as const)
  logContract({ describe, it }, `redis by a given client of ${what}`, async () => {
    await redis.call("FLUSHALL");
    return redisLog({ client: client() });
  });

describe("the log in Redis by a given client", () => {
  it("is noticed to be flushed, by either client, and the client goes on", async () => {
    const name = freshName();
    const one = await follow(name, { client: ioredis });
    const two = await follow(name, { client: nodeRedis });
    await one.log.append(removal("a"));
    await two.told(heardOf("a"));
    await redis.call("FLUSHALL");
    await one.log.append(removal("b"));
    await Promise.all([one, two].map((process) => process.told(({ resets }) => resets.length > 0)));
    await two.log.append(removal("c"));
    await one.told(heardOf("c"));
    await Promise.all([one, two].map(({ log }) => log.close()));
    expect(await ioredis.ping()).toBe("PONG");
    expect(await nodeRedis.ping()).toBe("PONG");
  });
});

describe("the log in a Redis Cluster", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasEach: 1 });
  });
  afterAll(() => cluster.stop());

  const options = (): RedisLogOptions => ({ cluster: cluster.urls });

  logContract({ describe, it }, "redis cluster", () => {
    const name = freshName();
    const factory = redisLog(options());
    return (context) => factory({ ...context, cacheName: name });
  });

  /** A name whose log is in the first shard. */
  async function nameInShard(shard: number): Promise<string> {
    const node = cluster.nodes[0];
    for (;;) {
      const name = freshName();
      const slot = Number(await node?.call("CLUSTER", "KEYSLOT", `{${name}}`));
      if (Math.floor((slot * 3) / 16_384) === shard) return name;
    }
  }

  const keeps = async (processes: readonly Process[]): Promise<void> => {
    for (const [i, { log }] of processes.entries()) {
      await expect
        .poll(async () => log.append(removal(`after ${i}`)), { timeout: 10_000 })
        .toBeGreaterThan(0);
      await Promise.all(processes.map((process) => process.told(heardOf(`after ${i}`), 10_000)));
    }
  };

  it("goes on after a failover that loses nothing", { timeout: 60_000 }, async () => {
    const name = await nameInShard(0);
    const processes = [await follow(name, options()), await follow(name, options())];
    await processes[0]?.log.append(removal("a"));
    await cluster.failover(0);
    await keeps(processes);
    expect(processes.map(({ resets }) => resets)).toEqual([[], []]);
    await Promise.all(processes.map(({ log }) => log.close()));
  });

  it("is a new generation after a failover to a replica that lagged", { timeout: 60_000 }, async () => {
    const name = await nameInShard(1);
    const processes = [await follow(name, options()), await follow(name, options())];
    const [one, other] = processes;
    if (one === undefined || other === undefined) return;
    await one.log.append(removal("a"));
    await other.told(heardOf("a"));
    await cluster.holdReplica(1);
    const lost = await one.log.append([{ kind: "tags", tags: ["t"] }]);
    await other.told(({ seen }) => seen.at(-1)?.position === lost);
    await cluster.killMaster(1);
    await cluster.failover(1);
    await Promise.all(processes.map((process) => process.told(({ resets }) => resets.length > 0, 15_000)));
    await keeps(processes);
    const generations = processes.map(({ resets }) => resets.at(-1)?.head.generation);
    expect(generations[0]).toBe(generations[1]);
    expect(generations[0]).not.toBe(one.head.generation);
    await Promise.all(processes.map(({ log }) => log.close()));
  });
});
