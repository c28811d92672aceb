import { type Duration, milliseconds } from "../../base/duration.ts";
import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import type { LayerContext } from "../../coherence/log.ts";
import { RemoteLog } from "../../coherence/remote-log.ts";
import type { StoreLayer } from "../store.ts";
import { LINK_OPTIONS, type LinkOptions, linkTarget } from "./link-options.ts";
import { openLink } from "./open-link.ts";
import type { Layout } from "./record.ts";
import type { RedisLink } from "./redis-link.ts";
import { LOG_BOUNDS, logBounds, type RedisLogBounds } from "./redis-log.ts";
import { RedisLogServer } from "./redis-log-server.ts";
import { RedisStore } from "./redis-store.ts";

export type {
  IoredisClient,
  LinkOptions,
  NodeRedisClient,
  RedisAddress,
  RedisClient,
} from "./link-options.ts";
export type { Layout } from "./record.ts";
export { type RedisLogBounds, type RedisLogOptions, redisLog } from "./redis-log.ts";

/** Options of {@link redis}. */
export interface RedisOptions extends LinkOptions, RedisLogBounds {
  /** Longest wait of a read ["250ms"]. */
  readonly timeout?: Duration | undefined;
  /** The layer's name in stats, reports and `Cache-Status` ["redis"]. */
  readonly name?: string | undefined;
  /** `"json"`: entries as text that programs in other languages read ["binary": smaller and faster]. */
  readonly layout?: Layout | undefined;
  /** What keys begin with, before a colon [the cache's name]. */
  readonly prefix?: string | undefined;
}

const OWN_OPTIONS: readonly string[] = ["timeout", "name", "layout", "prefix", ...LOG_BOUNDS];

/**
 * L2 in Redis (5 or later) or Valkey: one server, Sentinel or Cluster, by the package `ioredis` or a client
 * that the program has. A server that hangs, restarts or fails over costs cache misses and nothing else.
 * @throws {OptionError} for an option that cannot be used; `createCache` throws `StoreError` when `ioredis` is
 * needed and not installed.
 * @example createCache({ name: "shop", layers: [memory(), redis({ url: "redis://cache.internal:6379" })] })
 */
export function redis(options: RedisOptions = {}): StoreLayer {
  refuseUnknown(options, "redis", (name) => LINK_OPTIONS.includes(name) || OWN_OPTIONS.includes(name));
  const target = linkTarget(options, "redis");
  const timeout = milliseconds(options.timeout ?? "250ms", "redis.timeout");
  if (timeout < 1) throw new OptionError("redis.timeout", options.timeout, "1 ms or more");
  const { name = "redis", layout = "binary", prefix } = options;
  if (typeof name !== "string" || name === "")
    throw new OptionError("redis.name", name, "a text that is not empty");
  if (layout !== "binary" && layout !== "json")
    throw new OptionError("redis.layout", layout, '"binary" or "json"');
  if (prefix !== undefined && (typeof prefix !== "string" || !/^[^{}\p{Cc}]+$/u.test(prefix)))
    throw new OptionError("redis.prefix", prefix, "a text without braces and control characters");
  const bounds = logBounds(options, "redis");
  const link = sharedLink((warn) => openLink(target, warn));
  return {
    kind: "store",
    name,
    timeout,
    open(context) {
      const { link: opened, release } = link(context);
      return new RedisStore(opened, { name, layout, prefix: prefix ?? context.cacheName, released: release });
    },
    log(context) {
      const { link: opened, release } = link(context);
      const server = new RedisLogServer(opened, prefix ?? context.cacheName, bounds, release);
      return new RemoteLog(server, context);
    },
  };
}

/** One link for all that the layer opens: it is closed with the last of them. */
function sharedLink(
  open: (warn: (message: string) => void) => RedisLink,
): (context: LayerContext) => { readonly link: RedisLink; readonly release: () => Promise<void> } {
  let link: RedisLink | undefined;
  let users = 0;
  return ({ warn }) => {
    const shared = link ?? open(warn);
    link = shared;
    users++;
    return {
      link: shared,
      async release() {
        if (--users > 0) return;
        link = undefined;
        await shared.close();
      },
    };
  };
}
