/**
 * Redis frozen (SIGSTOP) under load: how long reads take then, and how soon all is well again: `npm run bench:frozen`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createCache, memory } from "../dist/index.js";
import { redis } from "../dist/stores/redis/index.js";
import { startRedis } from "../test/servers.ts";

const FROZEN = Number(process.env.FROZEN ?? 4_000);
const SOURCE = 20;
const server = await startRedis();
const options = { name: "frozen", ttl: "10m", grace: "1h", logger: false };
const cache = createCache({ ...options, layers: [memory(), redis({ url: server.url })] });
const other = createCache({ ...options, layers: [memory(), redis({ url: server.url })] });
const rows = new Map();
const load = (key) => sleep(SOURCE).then(() => rows.get(key) ?? 0);
const failed = [];
process.on("unhandledRejection", (error) => failed.push(`unhandled: ${error}`));

const KEYS = 200;
const near = Array.from({ length: KEYS }, (_, i) => `near:${i}`);
const stale = Array.from({ length: KEYS }, (_, i) => `stale:${i}`);
for (const key of near) await cache.getOrSet(key, () => load(key));
for (const key of stale) await cache.getOrSet(key, () => load(key), { ttl: "1s", grace: "1h", swr: "1h" });
await sleep(1_500);

const times = { near: [], stale: [], far: [] };
let running = true;
let fresh = 0;
const reader = async (kind, keyOf, more = {}) => {
  for (let i = 0; running; i++) {
    const key = keyOf(i);
    const began = performance.now();
    await cache.getOrSet(key, () => load(key), more);
    times[kind].push(performance.now() - began);
    await sleep(2);
  }
};
const readers = [
  ...Array.from({ length: 8 }, (_, n) => reader("near", (i) => near[(i * 7 + n) % KEYS])),
  ...Array.from({ length: 8 }, (_, n) =>
    reader("stale", (i) => stale[(i * 7 + n) % KEYS], { ttl: "1s", grace: "1h", swr: "1h" }),
  ),
  ...Array.from({ length: 8 }, () => reader("far", () => `far:${fresh++}`)),
];
const p99 = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length * 0.99)] ?? 0;
const report = (title) => {
  for (const [kind, list] of Object.entries(times))
    console.log(
      `  ${title} ${kind.padEnd(6)} ${String(list.length).padStart(6)} reads, p99 ${p99(list).toFixed(1)} ms, longest ${Math.max(0, ...list).toFixed(1)} ms`,
    );
};
const clear = () => {
  for (const list of Object.values(times)) list.length = 0;
};
await sleep(1_000);
report("well  ");
clear();
await server.pause();
await sleep(FROZEN);
report("frozen");
if (p99(times.near) > 5) failed.push("p99 of what memory has is under 5 ms");
if (p99(times.stale) > 5) failed.push("p99 of what is stale is under 5 ms");
if (p99(times.far) > SOURCE + 300) failed.push("p99 of the rest is under the source's time + 300 ms");
// What is invalidated while nothing answers: told to the caller or done later, but never forgotten.
rows.set("near:1", 2);
const refused = await cache.delete("near:1").then(
  () => "resolved",
  () => "rejected",
);
clear();
const resumed = performance.now();
await server.resume();
while (!cache.health().ok && performance.now() - resumed < 10_000) await sleep(10);
const recovered = performance.now() - resumed;
await sleep(2_000 - Math.min(2_000, recovered));
const value = await other.getOrSet("near:1", () => load("near:1"));
console.log(
  `  recovered ${recovered.toFixed(0)} ms after SIGCONT; a delete meanwhile ${refused}, and then another process reads ${value === 2 ? "the new value" : "THE OLD VALUE"}`,
);
if (recovered > 2_000) failed.push("recovers within 2 s");
if (value !== 2) failed.push("nothing stale stays");
running = false;
await Promise.all(readers);
report("after ");
await cache.close();
await other.close();
await server.stop();
console.log(failed.length === 0 ? "All met." : `Not met: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);
