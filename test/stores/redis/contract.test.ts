// Every way to reach Redis passes the same suite, over real servers.
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { afterAll, beforeAll, describe, it } from "vitest";
import { type RedisOptions, redis } from "../../../src/stores/redis/index.ts";
import { logContract, storeContract } from "../../../src/testing/index.ts";
import {
  missingForTls,
  type RedisCluster,
  type RedisServer,
  startRedis,
  startRedisCluster,
} from "../../servers.ts";

/** What docs/redis.md says a user of Redis needs: for the store, and for the log beside it. */
const STORE_COMMANDS =
  "+eval +evalsha +time +exists +mget +get +getrange +strlen +set +setrange +pexpire +unlink +scan +dbsize +info +ping";
const LOG_COMMANDS = "+xadd +xread +xrange +xrevrange +hget +hmget +hgetall +hset +hdel +hlen";

/** The suite over a fresh server for all its tests, emptied before each. */
function contractOver(
  name: string,
  start: () => Promise<RedisServer>,
  options: (server: RedisServer) => RedisOptions,
): void {
  let server: RedisServer;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());
  const open = async () => {
    await server.call("FLUSHALL");
    return redis(options(server));
  };
  storeContract({ describe, it }, name, open, { injectedClock: false });
}

describe("by URL", () => {
  contractOver("redis, by URL", startRedis, ({ url }) => ({ url }));
});

describe("in the JSON layout", () => {
  contractOver("redis, in JSON", startRedis, ({ url }) => ({ url, layout: "json" }));
});

describe("with a given client of ioredis", () => {
  let client: Redis;
  contractOver(
    "redis, by ioredis",
    async () => {
      const server = await startRedis();
      client = new Redis(server.url);
      return server;
    },
    () => ({ client }),
  );
  afterAll(() => client.disconnect());
});

describe("with a given client of node-redis", () => {
  const clients: { destroy(): void }[] = [];
  let client: ReturnType<typeof createClient>;
  contractOver(
    "redis, by node-redis",
    async () => {
      const server = await startRedis();
      client = createClient({ url: server.url });
      await client.on("error", () => undefined).connect();
      clients.push(client);
      return server;
    },
    () => ({ client }),
  );
  afterAll(() => {
    for (const client of clients) client.destroy();
  });
});

describe("as a user with few rights", () => {
  const keys = "~contract:* ~another:* ~{contract}:@*";
  const rule = `resetkeys -@all ${keys} ${STORE_COMMANDS} ${LOG_COMMANDS}`;
  let server: RedisServer;
  const start = async () => {
    server = await startRedis();
    await server.call("ACL", "SETUSER", "app", "on", ">secret", ...rule.split(" "));
    return server;
  };
  const options = () => ({ url: `redis://app:secret@127.0.0.1:${server.port}` });
  contractOver("redis, with an ACL", start, options);
  logContract({ describe, it }, "redis, with an ACL", async () => {
    await server.call("FLUSHALL");
    const { log } = redis(options());
    if (log === undefined) throw new Error("redis() brings a log");
    return log;
  });
});

const withoutTls = await missingForTls();
describe.skipIf(withoutTls !== undefined)("over TLS", () => {
  contractOver(
    "redis, over TLS",
    () => startRedis({ tls: true }),
    ({ url, ca }) => ({ url, tls: { ...(ca === undefined ? {} : { ca }) } }),
  );
});

describe("in a cluster", () => {
  let cluster: RedisCluster;
  let byIoredis: Cluster;
  let byNodeRedis: ReturnType<typeof createCluster>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
    byIoredis = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    byNodeRedis = createCluster({ rootNodes: cluster.nodes.map(({ url }) => ({ url })) });
    await byNodeRedis.on("error", () => undefined).connect();
  });
  afterAll(async () => {
    byIoredis.disconnect();
    byNodeRedis.destroy();
    await cluster.stop();
  });
  const over = (name: string, options: () => RedisOptions): void => {
    const open = async () => {
      for (const node of cluster.nodes) await node.call("FLUSHALL");
      return redis(options());
    };
    storeContract({ describe, it }, name, open, { injectedClock: false });
  };
  over("redis cluster", () => ({ cluster: cluster.nodes.map(({ url }) => url) }));
  over("redis cluster, by ioredis", () => ({ client: byIoredis }));
  over("redis cluster, by node-redis", () => ({ client: byNodeRedis }));
});
