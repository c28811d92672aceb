/** Compares reads through memory with peers, interleaved in one run. `npm run bench`. */
import { execFile } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { contenders, ENTRIES, oursPlain } from "./contenders.mjs";
import { interleave, promisesOf, table } from "./measure.mjs";

const HOT = 1_000;
const ROUNDS = 9;
/** How many times the fastest peer we want to be, in each table. */
const NEED = 3;
const keys = Array.from({ length: HOT }, (_, i) => `product:${i}`);
const product = (key) => ({ id: key, name: "A thing", price: 12.5, tags: ["a", "b"] });
const mustNotLoad = () => {
  throw new Error("a hit must not load");
};

console.log(
  `node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model}), ${Math.round(totalmem() / 2 ** 30)} GB; ` +
    `${ROUNDS} interleaved rounds, medians of rounds`,
);
const list = contenders.map((make) => make());
const single = [list[0], oursPlain(), ...list.slice(1)];
const failed = [];
const need = (what, met) => {
  if (!met) failed.push(what);
};

// Each really caches: the loader runs once a key, and each key has its own value.
for (const { name, get, getMany } of single) {
  let loads = 0;
  const load = (key) => {
    loads++;
    return product(key);
  };
  const check = (from, values) => {
    if (loads !== HOT) throw new Error(`${name} loaded ${loads} times, not ${HOT}`);
    const wrong = from.findIndex((key, i) => values[i]?.id !== key);
    if (wrong !== -1) throw new Error(`${name} gave another value for ${from[wrong]}`);
  };
  const one = async (key) => get(key, () => load(key));
  for (const key of keys) await one(key);
  const values = [];
  for (const key of keys) values.push(await one(key));
  check(keys, values);
  if (getMany === undefined) continue;
  loads = 0;
  const others = keys.map((key) => `many:${key}`);
  await getMany(others, load);
  check(others, await getMany(others, load));
}

const hits = await interleave(
  single,
  ROUNDS,
  async ({ get }, count) => {
    let at = 0;
    for (let i = 0; i < count; i++) {
      at = (at + 617) % HOT;
      await get(keys[at], mustNotLoad);
    }
  },
  200_000,
);
need("memory hit", table("Memory hit through getOrSet, 1,000 hot keys, one after the other", hits, NEED));

let fresh = 0;
const misses = await interleave(
  single,
  ROUNDS,
  async ({ get }, count) => {
    const load = () => ({ n: 1 });
    for (let i = 0; i < count; i++) await get(`miss:${fresh++}`, load);
  },
  50_000,
);
table(`Miss with a trivial loader, every key new, at most ${ENTRIES} kept`, misses, undefined);

const how = ({ many }) => many;
// What missed above has pushed them out.
for (const { getMany } of list) await getMany(keys, product);
const manyHits = await interleave(
  list,
  ROUNDS,
  async ({ getMany }, count) => {
    for (let i = 0; i < count; i += HOT) await getMany(keys, mustNotLoad);
  },
  100 * HOT,
);
table("1,000 keys at once, all hits", manyHits, undefined, how);
const manyMisses = await interleave(
  list,
  ROUNDS,
  async ({ getMany }, count) => {
    for (let i = 0; i < count; i += HOT) {
      const batch = Array.from({ length: HOT }, () => `many:${fresh++}`);
      await getMany(batch, product);
    }
  },
  30 * HOT,
);
table("1,000 keys at once, all misses", manyMisses, undefined, how);

console.log("\nPromises created by one hit, before the call returns (peers make more after that)");
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
  let peak = 0;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage().heapUsed - before);
  };
  let loads = 0;
  const load = async () => {
    loads++;
    look();
    await sleep(20);
    look();
    return product("s");
  };
  const calls = Array.from({ length: 10_000 }, () => contender.get(`stampede:${contender.name}`, load));
  look();
  setTimeout(look, 10);
  await Promise.all(calls);
  look();
  calls.length = 0;
  globalThis.gc?.();
  const kept = process.memoryUsage().heapUsed - before;
  console.log(
    `  ${contender.name.padEnd(24)}${String(loads).padStart(7)} loads  ${(peak / 1e6).toFixed(1).padStart(6)} MB at most  ${(kept / 1e6).toFixed(2).padStart(6)} MB after`,
  );
  if (contender === list[0]) need("one load for a stampede", loads === 1);
}
for (const contender of single) await contender.close();

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
