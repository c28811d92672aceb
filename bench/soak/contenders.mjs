/** The caches that the soak drives, each behind the same few calls. */
import { createCache, memory } from "../../dist/index.js";
import { redis } from "../../dist/stores/redis/index.js";

/** How long a process that hears nothing of the log may still trust its memory, in milliseconds. */
export const MAX_LAG = 2_000;
const TTL = 600_000;

export const NAMES = ["caching-universal", "bentocache"];

export async function open(name, url) {
  return name === "bentocache" ? openBento(url) : openOurs(url);
}

function openOurs(url) {
  const cache = createCache({
    name: "soak",
    layers: [memory(), redis({ url })],
    maxLag: MAX_LAG,
    lease: "2s",
    ttl: TTL,
    logger: false,
  });
  return {
    read: (key, load) => cache.getOrSet(key, load, { tags: [`tag:${key}`] }),
    set: (key, value) => cache.set(key, value, { tags: [`tag:${key}`] }),
    remove: (key) => cache.delete(key),
    removeByTag: (key) => cache.invalidateTags([`tag:${key}`]),
    strict: (key) => cache.delete(key, { wait: "all" }),
    close: () => cache.close(),
  };
}

async function openBento(url) {
  const { BentoCache, bentostore } = await import("bentocache");
  const { memoryDriver } = await import("bentocache/drivers/memory");
  const { redisDriver, redisBusDriver } = await import("bentocache/drivers/redis");
  const { Redis } = await import("ioredis");
  const { hostname, port } = new URL(url);
  const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: 1 };
  const quiet = () => undefined;
  const link = new Redis(connection);
  link.on("error", quiet);
  const cache = new BentoCache({
    default: "soak",
    // What its documentation offers against a store in trouble.
    suppressL2Errors: true,
    l2CircuitBreakerDuration: 1_000,
    stores: {
      soak: bentostore()
        .useL1Layer(memoryDriver({ maxItems: 10_000 }))
        .useL2Layer(redisDriver({ connection: link }))
        .useBus(redisBusDriver({ connection, retryQueue: { enabled: true, maxSize: undefined } })),
    },
  });
  const options = (key) => ({ key, ttl: TTL, tags: [`tag:${key}`] });
  return {
    read: (key, load) => cache.getOrSet({ ...options(key), factory: load }),
    set: (key, value) => cache.set({ ...options(key), value }),
    remove: (key) => cache.delete({ key }),
    removeByTag: (key) => cache.deleteByTag({ tags: [`tag:${key}`] }),
    strict: undefined,
    close: () => cache.disconnectAll(),
  };
}
