import type { Duration, StoreLayer } from "caching-universal";
import type { Settings } from "./settings.ts";

/** The shared layers of the shop, from near to far, and how they are spoken of. */
export interface SharedLayers {
  readonly stores: readonly StoreLayer[];
  /** Each with where it is, without logins. */
  readonly described: readonly string[];
  /** Whether they can be seen from other machines, where other shops may use them too. */
  readonly remote: boolean;
}

/**
 * The servers that `REDIS_URL` and `MEMCACHED_URL` name, Memcached nearer than Redis; without any, a folder on
 * this machine. A server need not be there: the cache does without it until it is.
 * @param timeout longest wait for an answer of a layer.
 */
export async function sharedLayers(
  settings: Pick<Settings, "redisUrl" | "memcachedUrl">,
  folder: string,
  timeout: Duration = "250ms",
): Promise<SharedLayers> {
  const stores: StoreLayer[] = [];
  const described: string[] = [];
  if (settings.memcachedUrl !== undefined) {
    const { memcached } = await import("caching-universal/memcached");
    stores.push(memcached({ servers: settings.memcachedUrl, timeout }));
    described.push(`memcached (${withoutLogin(settings.memcachedUrl)})`);
  }
  if (settings.redisUrl !== undefined) {
    const { redis } = await import("caching-universal/redis");
    stores.push(redis({ url: settings.redisUrl, timeout }));
    described.push(`redis (${withoutLogin(settings.redisUrl)})`);
  }
  if (stores.length > 0) return { stores, described, remote: true };
  const { disk } = await import("caching-universal/disk");
  return {
    stores: [disk({ path: folder, maxBytes: "2gb", timeout })],
    described: [`disk (${folder})`],
    remote: false,
  };
}

/** A URL as it may be printed. */
export function withoutLogin(url: string): string {
  // Up to the last @: a password that was not encoded may have one itself.
  return url.replace(/\/\/.*@/, "//");
}
