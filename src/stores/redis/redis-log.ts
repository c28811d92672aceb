import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import type { LogFactory } from "../../coherence/log.ts";
import { RemoteLog } from "../../coherence/remote-log.ts";
import { LINK_OPTIONS, type LinkOptions, linkTarget } from "./link-options.ts";
import { openLink } from "./open-link.ts";
import { type LogBounds, RedisLogServer } from "./redis-log-server.ts";

/** How much a log in Redis keeps. */
export interface RedisLogBounds {
  /** Records kept for processes that were away; one further behind starts again with an empty memory [100,000]. */
  readonly maxRecords?: number | undefined;
  /** Tags whose last invalidation is remembered; beyond it, every tag counts as invalidated once [1,000,000]. */
  readonly maxTags?: number | undefined;
  /** Pattern invalidations remembered until they are swept; beyond it, they become one of everything [10,000]. */
  readonly maxPatterns?: number | undefined;
}

/** Options of {@link redisLog}. */
export interface RedisLogOptions extends LinkOptions, RedisLogBounds {}

const DEFAULTS: LogBounds = { records: 100_000, tags: 1_000_000, patterns: 10_000 };
export const LOG_BOUNDS: readonly string[] = ["maxRecords", "maxTags", "maxPatterns"];

/**
 * The log of a cache in Redis or Valkey (6.2 or later): all processes of the cache follow it, whatever store
 * keeps their entries. All processes of one cache must have the same `maxLag`.
 * @throws {OptionError} for an option that cannot be used.
 * @example createCache({ name: "shop", layers: [memory()], log: redisLog({ url: process.env.REDIS_URL }) })
 */
export function redisLog(options: RedisLogOptions = {}): LogFactory {
  refuseUnknown(options, "redisLog", (name) => LINK_OPTIONS.includes(name) || LOG_BOUNDS.includes(name));
  const bounds = logBounds(options, "redisLog");
  const target = linkTarget(linkOptions(options), "redisLog");
  return (context) => {
    const link = openLink(target, context.warn);
    return new RemoteLog(new RedisLogServer(link, context.cacheName, bounds, () => link.close()), context);
  };
}

/** Checks how much a log keeps. @throws {OptionError} naming the option. */
export function logBounds(options: RedisLogBounds, path: string): LogBounds {
  const { maxRecords, maxTags, maxPatterns } = options;
  return {
    records: count(maxRecords, DEFAULTS.records, `${path}.maxRecords`),
    tags: count(maxTags, DEFAULTS.tags, `${path}.maxTags`),
    patterns: count(maxPatterns, DEFAULTS.patterns, `${path}.maxPatterns`),
  };
}

function count(value: number | undefined, otherwise: number, path: string): number {
  if (value === undefined) return otherwise;
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  throw new OptionError(path, value, "a whole number above 0");
}

function linkOptions({
  maxRecords: _,
  maxTags: __,
  maxPatterns: ___,
  ...link
}: RedisLogOptions): LinkOptions {
  return link;
}
