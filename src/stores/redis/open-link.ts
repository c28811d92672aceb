import { connect } from "./connect.ts";
import { IoredisLink } from "./ioredis-link.ts";
import type { IoredisCluster, IoredisNode } from "./ioredis-shape.ts";
import type { LinkTarget } from "./link-options.ts";
import { isNodeRedis, NodeRedisLink } from "./node-redis-link.ts";
import type { RedisLink } from "./redis-link.ts";

/**
 * Connects to Redis, or uses the client that was given.
 * @param target what `linkTarget` made of the options.
 * @param warn told of outages, once each.
 * @throws {StoreError} when the package `ioredis` is needed and not installed.
 */
export function openLink(target: LinkTarget, warn: (message: string) => void): RedisLink {
  if (target.kind !== "client") {
    const { client, where } = connect(target);
    return new IoredisLink(client, true, where, warn);
  }
  const { client } = target;
  if (isNodeRedis(client)) return new NodeRedisLink(client, warn);
  // `linkTarget` has seen `callBuffer`, which only these have.
  return new IoredisLink(
    client as unknown as IoredisNode | IoredisCluster,
    false,
    "The given Redis client",
    warn,
  );
}
