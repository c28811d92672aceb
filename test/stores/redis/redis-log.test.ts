import { afterAll, beforeAll, describe, it } from "vitest";
import { redisLog } from "../../../src/stores/redis/redis-log.ts";
import { logContract } from "../../../src/testing/index.ts";
import { type RedisServer, startRedis } from "../../servers.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

logContract({ describe, it }, "redis", async () => {
  await redis.call("FLUSHALL");
  return redisLog({ url: redis.url });
});
