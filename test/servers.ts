// Real servers for tests: private ones, on free loopback ports, with their data in a temporary folder.
export type { ControlledServer } from "./servers/controlled.ts";
export { type MemcachedOptions, type MemcachedServer, startMemcached } from "./servers/memcached.ts";
export { startPostgres } from "./servers/postgres.ts";
export { freePort, type TestServer } from "./servers/process.ts";
export { missingForTls, type RedisOptions, type RedisServer, startRedis } from "./servers/redis.ts";
export { callRedis, type RedisTarget } from "./servers/redis-call.ts";
export { type RedisCluster, type RedisClusterOptions, startRedisCluster } from "./servers/redis-cluster.ts";
export {
  type RedisReplica,
  type RedisSentinel,
  type SentinelOptions,
  startReplica,
  startSentinel,
} from "./servers/redis-replicas.ts";
