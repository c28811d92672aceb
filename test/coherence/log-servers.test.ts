import { Pool } from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { postgresLogSchema } from "../../src/coherence/postgres/index.ts";
import { resolveOptions } from "../../src/coherence/postgres/options.ts";
import { PostgresLogServer } from "../../src/coherence/postgres/postgres-log-server.ts";
import { type LayerContext, systemClock } from "../../src/index.ts";
import { addressesOf } from "../../src/stores/memcached/address.ts";
import { Connection } from "../../src/stores/memcached/connection.ts";
import { KeyNames } from "../../src/stores/memcached/key-names.ts";
import { MemcachedLogServer } from "../../src/stores/memcached/memcached-log.ts";
import { linkTarget } from "../../src/stores/redis/link-options.ts";
import { openLink } from "../../src/stores/redis/open-link.ts";
import { logBounds } from "../../src/stores/redis/redis-log.ts";
import { RedisLogServer } from "../../src/stores/redis/redis-log-server.ts";
import {
  type MemcachedServer,
  type RedisServer,
  startMemcached,
  startPostgres,
  startRedis,
  type TestServer,
} from "../servers.ts";
import { logServerContract } from "./log-server-contract.ts";

let serial = 0;
const contextOf = (cacheName: string): LayerContext => ({
  cacheName,
  maxLag: 500,
  clock: systemClock(),
  random: Math.random,
  warn: () => undefined,
});
const silent = (): void => undefined;

describe("the servers of logs", () => {
  let redis: RedisServer;
  let postgres: TestServer;
  let memcached: MemcachedServer;
  let pool: Pool;

  beforeAll(async () => {
    [redis, postgres, memcached] = await Promise.all([startRedis(), startPostgres(), startMemcached()]);
    pool = new Pool({ connectionString: postgres.url });
    await pool.query(postgresLogSchema());
  });

  afterAll(async () => {
    await pool.end();
    await Promise.all([redis.stop(), postgres.stop(), memcached.stop()]);
  });

  logServerContract("redis", async () => {
    const name = `contract${++serial}`;
    return {
      connect: () => {
        const link = openLink(linkTarget({ url: redis.url }, "redis"), silent);
        return new RedisLogServer(link, name, logBounds({}, "redis"), () => link.close());
      },
      end: async () => undefined,
    };
  });

  logServerContract("postgres", async () => {
    const context = contextOf(`contract${++serial}`);
    return {
      connect: () => new PostgresLogServer(pool, resolveOptions({}), context),
      end: async () => undefined,
    };
  });

  logServerContract("memcached", async () => {
    const context = contextOf(`contract${++serial}`);
    const how = { silence: 1_000, auth: undefined, tls: undefined, random: Math.random };
    const connect = () => {
      const [address] = addressesOf(memcached.host, "servers");
      if (address === undefined) throw new Error("no address");
      return new Connection(address, how);
    };
    const names = new KeyNames(context.cacheName);
    return {
      connect: () => new MemcachedLogServer("memcached", connect(), connect(), names, context),
      end: async () => undefined,
    };
  });
});
