/**
 * Invalidation of a million entries in a shared Redis, followed by other processes: `npm run bench:million`.
 * Counts the commands and bytes it takes, how long until every process refuses the old values, and how long the
 * event loop stands still meanwhile.
 */
import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createCache, memory } from "../dist/index.js";
import { redis } from "../dist/stores/redis/index.js";
import { startRedis } from "../test/servers.ts";

const MEMBERS = Number(process.env.MEMBERS ?? 1_000_000);
const FOLLOWERS = 3;
const now = () => Number(process.hrtime.bigint()) / 1e6;

/**
 * Longest time the event loop did not turn, in milliseconds, since asked last: as far as the process had the CPU
 * meanwhile. What it waited for the CPU (four processes and a Redis share two cores here) is told beside it.
 */
function stalls() {
  let last = now();
  let used = process.cpuUsage();
  let worst = 0;
  let waited = 0;
  const restart = () => {
    last = now();
    used = process.cpuUsage();
  };
  const timer = setInterval(() => {
    const gap = now() - last - 1;
    const { user, system } = process.cpuUsage(used);
    const own = Math.min(gap, (user + system) / 1_000);
    worst = Math.max(worst, own);
    waited = Math.max(waited, gap - own);
    restart();
  }, 1);
  return {
    take() {
      const taken = [worst, waited];
      worst = 0;
      waited = 0;
      restart();
      return taken;
    },
    stop: () => clearInterval(timer),
  };
}

const most = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1])];
const open = (url) =>
  createCache({ name: "million", layers: [memory(), redis({ url })], ttl: "1h", logger: false });

if (process.argv[2] === "follow") await follow(process.argv[3]);
else await main();

/** Another process: holds some of the entries in memory, and tells when it refuses them. */
async function follow(url) {
  const cache = open(url);
  await cache.get("user:1");
  const loop = stalls();
  let watched = [];
  // Told by the cache itself: a loop that looked all the time would be what stalls on two cores.
  cache.on("invalidate", () => {
    if (watched.length === 0 || watched.some((key) => cache.peek(key) !== undefined)) return;
    watched = [];
    process.send({ gone: now() });
  });
  process.on("message", async ({ hold, end }) => {
    if (end) {
      await cache.close();
      process.exit();
    }
    await cache.getMany(hold);
    watched = hold;
    const held = hold.filter((key) => cache.peek(key) !== undefined).length;
    loop.take();
    process.send({ held });
  });
  process.on("disconnect", () => process.exit());
  setInterval(() => process.send({ stall: loop.take() }), 50).unref();
  process.send({ ready: true });
}

async function main() {
  const server = await startRedis();
  const { url } = server;
  const admin = new Redis(url);
  const cache = open(url);
  const loop = stalls();
  const failed = [];

  const children = [];
  for (let i = 0; i < FOLLOWERS; i++) {
    const child = fork(new URL(import.meta.url), ["follow", url]);
    child.stall = [0, 0];
    child.on("message", ({ stall }) => {
      if (stall !== undefined) child.stall = most(child.stall, stall);
    });
    children.push(child);
  }
  const heard = (child, what) =>
    new Promise((resolve) => {
      const on = (message) => {
        if (message[what] === undefined) return;
        child.off("message", on);
        resolve(message[what]);
      };
      child.on("message", on);
    });
  await Promise.all(children.map((child) => heard(child, "ready")));

  const fill = async () => {
    for (let from = 0; from < MEMBERS; from += 2_000)
      await cache.setMany(
        Array.from({ length: Math.min(2_000, MEMBERS - from) }, (_, i) => [
          `user:${from + i}`,
          { id: from + i },
        ]),
        { tags: ["users"], l1: false },
      );
  };
  console.log(`${MEMBERS.toLocaleString("en")} entries with one tag, ${FOLLOWERS + 1} processes`);
  const began = now();
  await fill();
  console.log(`filled in ${((now() - began) / 1_000).toFixed(1)} s`);

  const sent = async () => {
    const info = await admin.info("all");
    const calls = [...info.matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g)]
      .filter(([, name]) => !["info", "xread", "ping"].includes(name))
      .reduce((sum, [, , count]) => sum + Number(count), 0);
    return { calls, bytes: Number(/total_net_input_bytes:(\d+)/.exec(info)[1]) };
  };
  const keys = Array.from({ length: 200 }, (_, i) => `user:${i * 7}`);

  const measure = async (name, invalidate, bound) => {
    // Warm: what a process does for the first time is not what is measured.
    const holding = children.map((child) => heard(child, "held"));
    for (const child of children) child.send({ hold: keys });
    const held = await Promise.all(holding);
    await cache.getMany(keys);
    if (held.some((count) => count !== keys.length))
      throw new Error(`followers hold ${held}, not ${keys.length}`);
    const goneAt = children.map((child) => heard(child, "gone"));
    await sleep(300);
    for (const child of children) child.stall = [0, 0];
    loop.take();
    const before = await sent();
    const start = now();
    await invalidate();
    const resolved = now();
    const after = await sent();
    const own = keys.filter((key) => cache.peek(key) !== undefined).length;
    const all = Math.max(resolved, ...(await Promise.all(goneAt))) - start;
    await sleep(200);
    const [stall, waited] = [loop.take(), ...children.map((child) => child.stall)].reduce(most);
    console.log(
      `${name.padEnd(22)} resolved after ${(resolved - start).toFixed(2)} ms, effective in all processes after ${all.toFixed(2)} ms; ` +
        `${after.calls - before.calls} commands (with those of the heartbeats), ${after.bytes - before.bytes} bytes; longest stall ${stall.toFixed(1)} ms (waited for the CPU: ${waited.toFixed(1)})`,
    );
    if (own > 0) failed.push(`${name}: own memory`);
    if (bound && all > 5) failed.push(`${name}: effective in under 5 ms`);
    if (bound && stall > 5) failed.push(`${name}: no stall over 5 ms`);
    if ((await cache.get("user:777777")) !== undefined)
      failed.push(`${name}: an entry in Redis is still served`);
  };

  await measure("one tag, first time", () => cache.invalidateTags(["users"]), false);
  for (let i = 0; i < 3; i++) {
    await cache.setMany(
      keys.map((key) => [key, { again: i }]),
      { tags: ["users"] },
    );
    await measure("one tag", () => cache.invalidateTags(["users"]), true);
  }
  for (let i = 0; i < 2; i++) {
    await cache.setMany(
      keys.map((key) => [key, { again: i }]),
      { tags: ["users"] },
    );
    const controller = new AbortController();
    await measure(
      "prefix user:*",
      () => cache.invalidatePattern("user:*", { signal: controller.signal }),
      true,
    );
    controller.abort(); // the work behind it is measured with the glob
  }

  await fill();
  loop.take();
  for (const child of children) child.stall = [0, 0];
  const start = now();
  const work = Promise.withResolvers();
  let last;
  let worst = [0, 0];
  const stallsMeanwhile = setInterval(() => {
    worst = most(worst, loop.take());
  }, 100);
  const glob = cache.invalidatePattern("user:*[02468]", {
    progress: (progress) => {
      last = progress;
      if (progress.done) work.resolve();
    },
  });
  await glob;
  console.log(`glob user:*[02468]     resolved after ${(now() - start).toFixed(2)} ms; the work behind it:`);
  const ticker = setInterval(
    () => console.log(`  ${last?.seen ?? 0} keys seen, ${last?.removed ?? 0} removed`),
    2_000,
  );
  await Promise.race([work.promise, sleep(300_000)]);
  clearInterval(ticker);
  clearInterval(stallsMeanwhile);
  const [stall, waited] = [worst, ...children.map((child) => child.stall)].reduce(most);
  console.log(
    `  done: ${last?.seen} keys seen, ${last?.removed} removed in ${((now() - start) / 1_000).toFixed(1)} s; longest stall ${stall.toFixed(1)} ms (waited for the CPU: ${waited.toFixed(1)})`,
  );
  if (!last?.done) failed.push("the glob is worked off");
  if (stall > 10) failed.push("a glob stalls nobody for over 10 ms");

  loop.stop();
  for (const child of children) child.send({ end: true });
  await cache.close();
  admin.disconnect();
  await server.stop();
  console.log(failed.length === 0 ? "All met." : `Not met: ${failed.join("; ")}`);
  process.exit(failed.length === 0 ? 0 : 1);
}
