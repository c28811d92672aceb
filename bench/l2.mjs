/**
 * Reads through a shared Redis beside peers on the same server: `npm run bench:redis`. A private Redis is started
 * on a free loopback port (REDIS_URL uses another; its database is emptied).
 */
import { cpus } from "node:os";
import { Redis } from "ioredis";
import { createCache, memory } from "../dist/index.js";
import { redis } from "../dist/stores/redis/index.js";
import { startRedis } from "../test/servers.ts";
import { interleave, median, table } from "./measure.mjs";

const KEYS = 2_000;
const AT_ONCE = 64;
const ROUNDS = 9;
const server = process.env.REDIS_URL
  ? { url: process.env.REDIS_URL, stop: async () => {} }
  : await startRedis();
const { url } = server;
const product = (i) => ({
  id: `product:${i}`,
  name: "A thing for the kitchen",
  price: 12.5,
  stock: i,
  tags: ["a", "b"],
});
const mustNotLoad = () => {
  throw new Error("a hit must not load");
};
const failed = [];
const RAW = ["ioredis GET + JSON.parse", "node-redis GET + JSON.parse"];

async function contenders() {
  const list = [];
  const ours = createCache({ name: "ours", layers: [redis({ url })], ttl: "1h", logger: false });
  list.push({
    name: "caching-universal",
    own: true,
    fill: (i) => ours.set(`p:${i}`, product(i)),
    get: (i) => ours.getOrSet(`p:${i}`, mustNotLoad),
    sample: "ours:p:1",
    end: () => ours.close(),
  });
  const raw = new Redis(url);
  list.push({
    name: "ioredis GET + JSON.parse",
    fill: (i) => raw.set(`raw:${i}`, JSON.stringify(product(i))),
    get: async (i) => JSON.parse(await raw.get(`raw:${i}`)),
    sample: "raw:1",
    end: () => raw.quit(),
  });
  const { createClient } = await import("redis");
  const node = createClient({ url });
  await node.connect();
  list.push({
    name: "node-redis GET + JSON.parse",
    fill: (i) => node.set(`node:${i}`, JSON.stringify(product(i))),
    get: async (i) => JSON.parse(await node.get(`node:${i}`)),
    sample: "node:1",
    end: () => node.close(),
  });
  const { BentoCache, bentostore } = await import("bentocache");
  const { redisDriver } = await import("bentocache/drivers/redis");
  const bento = new BentoCache({
    default: "l2",
    stores: { l2: bentostore().useL2Layer(redisDriver({ connection: new Redis(url) })) },
  });
  list.push({
    name: "bentocache",
    fill: (i) => bento.set({ key: `p:${i}`, value: product(i), ttl: "1h" }),
    get: (i) => bento.getOrSet({ key: `p:${i}`, ttl: "1h", factory: mustNotLoad }),
    sample: "bentocache:p:1",
    end: () => bento.disconnectAll(),
  });
  const { Cacheable } = await import("cacheable");
  const { default: KeyvRedis } = await import("@keyv/redis");
  const { Keyv } = await import("keyv");
  const cacheable = new Cacheable({
    primary: new Keyv({ store: new KeyvRedis(url), namespace: "c" }),
    ttl: "1h",
  });
  list.push({
    name: "cacheable",
    fill: (i) => cacheable.set(`p:${i}`, product(i)),
    get: (i) => cacheable.getOrSet(`p:${i}`, mustNotLoad),
    sample: undefined,
    end: () => cacheable.disconnect(),
  });
  return list;
}

const admin = new Redis(url);
await admin.flushall();
console.log(
  `node ${process.version}, ${cpus().length} cores, Redis at 64 concurrent; ${ROUNDS} interleaved rounds, medians`,
);
const list = await contenders();
for (const { name, fill, get } of list) {
  for (let i = 0; i < KEYS; i++) await fill(i);
  const value = await get(7);
  if (value?.id !== "product:7") throw new Error(`${name} does not give back what was stored`);
}

const results = await interleave(
  list,
  ROUNDS,
  async ({ get }, count) => {
    let left = count;
    let at = 0;
    const run = async () => {
      while (left-- > 0) {
        at = (at + 7) % KEYS;
        await get(at);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, run));
  },
  10_000,
);
const ours = "caching-universal";
const figures = (name) => [...results].find(([one]) => one.name === name)[1];
const ratios = (to) => figures(ours).map((figure, i) => figure / figures(to)[i]);
table("Hits of a shared Redis without memory, 64 at a time", results);
const faster = figures(ours).map(
  (figure, i) => figure / Math.max(...["bentocache", "cacheable"].map((peer) => figures(peer)[i])),
);
console.log(`  to the faster of bentocache and cacheable: ${median(faster).toFixed(2)} [need >= 1.5]`);
if (median(faster) < 1.5) failed.push("1.5 times the faster peer");
for (const client of RAW) if (median(ratios(client)) < 0.75) failed.push(`0.75 times ${client}`);

// Bytes an entry takes in Redis, key included, as the server counts them.
const entries = new Map();
for (const { name } of list) entries.set(name, 0);
for (const key of await admin.keys("*")) {
  const bytes = Number(await admin.call("MEMORY", "USAGE", key, "SAMPLES", "0"));
  const of = key.startsWith("ours:p:")
    ? ours
    : key.startsWith("bentocache:p:")
      ? "bentocache"
      : key.startsWith("raw:")
        ? "ioredis GET + JSON.parse"
        : /^c\b.*p:/.test(key)
          ? "cacheable"
          : undefined;
  if (of) entries.set(of, entries.get(of) + bytes);
}
console.log("\nBytes an entry in Redis (MEMORY USAGE, key included)");
for (const [name, bytes] of entries)
  if (bytes > 0) console.log(`  ${name.padEnd(30)} ${(bytes / KEYS).toFixed(0).padStart(6)}`);
const leaner = Math.min(entries.get("bentocache"), entries.get("cacheable"));
if (entries.get(ours) > leaner) failed.push("bytes at most those of the leaner peer");

// What coherence costs a memory hit.
const alone = createCache({ layers: [memory()], ttl: "1h" });
const coherent = createCache({
  name: "coherent",
  layers: [memory(), redis({ url })],
  ttl: "1h",
  logger: false,
});
const pair = [
  { name: "memory and Redis", cache: coherent, own: true },
  { name: "memory alone", cache: alone },
];
for (const { cache } of pair) for (let i = 0; i < 1_000; i++) await cache.set(`p:${i}`, product(i));
const near = await interleave(
  pair,
  ROUNDS,
  async ({ cache }, count) => {
    let at = 0;
    for (let i = 0; i < count; i++) {
      at = (at + 7) % 1_000;
      await cache.getOrSet(`p:${at}`, mustNotLoad);
    }
  },
  300_000,
);
table("Memory hits", near);
const [[, with_], [, without]] = near;
const cost = median(with_.map((figure, i) => figure / without[i]));
console.log(`  with coherence: ${cost.toFixed(2)} times the speed without [need >= 0.9]`);
if (cost < 0.9) failed.push("a memory hit with coherence within 10%");

for (const { end } of list) await end();
await alone.close();
await coherent.close();
admin.disconnect();
await server.stop();
console.log(failed.length === 0 ? "\nAll met." : `\nNot met: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);
