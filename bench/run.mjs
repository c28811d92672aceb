/** Compares reads through memory with peers, interleaved in one run. `npm run bench`. */
import { execFile } from "node:child_process";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { contenders } from "./contenders.mjs";
import { interleave, promisesOf, rate, table } from "./measure.mjs";

const HOT = 1_000;
const ROUNDS = 7;
const keys = Array.from({ length: HOT }, (_, i) => `product:${i}`);
const product = (key) => ({ id: key, name: "A thing", price: 12.5, tags: ["a", "b"] });

console.log(
  `node ${process.version}, ${cpus().length} cores, ${ROUNDS} interleaved rounds, medians of rounds, (min..max) of ratios`,
);
const list = contenders.map((make) => make());
const failed = [];
const need = (what, met) => {
  if (!met) failed.push(what);
};

// Each really caches: the loader runs once a key.
for (const contender of list) {
  let loads = 0;
  const load = () => {
    loads++;
    return product("x");
  };
  for (let i = 0; i < 3; i++) for (const key of keys) await contender.get(key, load);
  if (loads !== HOT) throw new Error(`${contender.name} loaded ${loads} times, not ${HOT}`);
}

const hits = await interleave(list, ROUNDS, ({ get }) =>
  rate(async (count) => {
    const load = () => {
      throw new Error("a hit must not load");
    };
    let at = 0;
    for (let i = 0; i < count; i++) {
      at = (at + 617) % HOT;
      await get(keys[at], load);
    }
  }, 100_000),
);
need(
  "memory hit >= 3 times the fastest peer",
  table("Memory hit through getOrSet", hits, "1,000 hot keys, one after the other") >= 3,
);

let fresh = 0;
const misses = await interleave(list, ROUNDS, ({ get }) =>
  rate(async (count) => {
    const load = () => ({ n: 1 });
    for (let i = 0; i < count; i++) await get(`miss:${fresh++}`, load);
  }, 20_000),
);
table("Miss with a trivial loader", misses, "every key is new, at most 10,000 are kept");

const manyNote = list.map(({ name, many }) => `${name}: ${many}`).join(", ");
for (const { get } of list) for (const key of keys) await get(key, () => product(key));
const manyHits = await interleave(list, ROUNDS, ({ getMany }) =>
  rate(async (count) => {
    for (let i = 0; i < count; i += HOT) await getMany(keys, product);
  }, 50 * HOT),
);
table("1,000 keys at once, all hits", manyHits, manyNote);
const manyMisses = await interleave(list, ROUNDS, ({ getMany }) =>
  rate(async (count) => {
    for (let i = 0; i < count; i += HOT) {
      const batch = Array.from({ length: HOT }, () => `many:${fresh++}`);
      await getMany(batch, product);
    }
  }, 10 * HOT),
);
table("1,000 keys at once, all misses", manyMisses, manyNote);

console.log("\nPromises created by one hit (not awaited)");
for (const contender of list) {
  await contender.get("promise", () => 1);
  const { count, promise } = promisesOf(() => contender.get("promise", () => 1));
  await promise;
  console.log(`  ${contender.name.padEnd(24)}${String(count).padStart(4)}`);
  if (contender === list[0]) need("one promise a hit", count === 1);
}

console.log("\nStampede: 10,000 callers of one cold key, a loader of 20 ms");
for (const contender of list) {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  let loads = 0;
  const load = async () => {
    loads++;
    await sleep(20);
    return product("s");
  };
  const calls = Array.from({ length: 10_000 }, () => contender.get(`stampede:${contender.name}`, load));
  const peak = process.memoryUsage().heapUsed - before;
  await Promise.all(calls);
  calls.length = 0;
  globalThis.gc?.();
  const kept = process.memoryUsage().heapUsed - before;
  console.log(
    `  ${contender.name.padEnd(24)}${String(loads).padStart(7)} loads  ${(peak / 1e6).toFixed(1).padStart(6)} MB while waiting  ${(kept / 1e6).toFixed(2).padStart(6)} MB after`,
  );
  if (contender === list[0]) need("one load for a stampede", loads === 1);
}
for (const contender of list) await contender.close();

console.log("\nHeap of 100,000 entries (each in a process of its own)");
for (const [i, { name }] of list.entries()) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--expose-gc",
    fileURLToPath(new URL("./heap.mjs", import.meta.url)),
    String(i),
  ]);
  console.log(`  ${name.padEnd(24)}${stdout.trim().padStart(8)} bytes an entry`);
}

console.log(
  failed.length === 0 ? "\nEvery bound that is set here was met." : `\nNot met: ${failed.join("; ")}`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
