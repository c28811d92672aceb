/** One process of the soak: reads all the time, writes when told, and reports what it saw. */
import { setTimeout as sleep } from "node:timers/promises";
import { open } from "./contenders.mjs";

const [contender, url, keys, readers] = JSON.parse(process.argv[2]);
/** Nanoseconds of a clock that all processes of the machine share, as milliseconds. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

const asked = new Map();
let serial = 0;
/** The source: the parent knows the version of each row. */
const load = (key) =>
  new Promise((resolve) => {
    const id = ++serial;
    asked.set(id, resolve);
    process.send({ load: key, id });
  });

/** A call that takes longer than this hangs. */
const HUNG = 1_000;
/** What was read since the last report: of each version of a key only the latest read says anything new. */
let seen = new Map();
let count = 0;
/** Reads that took long, and reads older than one that had ended before they began. */
let slow = [];
let backwards = [];
const last = new Map();
const totals = { unhandled: 0, failedReads: 0, lastError: "" };

function note(key, began, ended, version) {
  count++;
  if (ended - began > HUNG) slow.push([began, ended]);
  if (version < 0) return;
  seen.set(`${key} ${version}`, [key, began, version]);
  const before = last.get(key);
  if (before !== undefined && began > before[0] && version < before[1])
    backwards.push([key, began, version, before[1], began - before[0]]);
  if (before === undefined || version >= before[1]) last.set(key, [ended, version]);
}
process.on("unhandledRejection", (error) => {
  totals.unhandled++;
  totals.lastError = String(error);
});
process.on("uncaughtException", (error) => {
  totals.unhandled++;
  totals.lastError = String(error);
});
process.on("disconnect", () => process.exit());

const cache = await open(contender, url);
let running = true;

async function reader(n) {
  let at = n;
  while (running) {
    at = (at * 1_103_515_245 + 12_345) & 0x7fffffff;
    const key = (at >> 8) % keys;
    const began = now();
    try {
      const value = await cache.read(`k${key}`, () => load(key));
      note(key, began, now(), value);
    } catch (error) {
      totals.failedReads++;
      totals.lastError = String(error);
      note(key, began, now(), -1);
    }
    await sleep(1 + (at % 3));
  }
}

async function write({ id, how, key, version }) {
  const began = now();
  let failed;
  try {
    if (how === "set") await cache.set(`k${key}`, version);
    else if (how === "tag") await cache.removeByTag(`k${key}`);
    else if (how === "strict" && cache.strict) await cache.strict(`k${key}`);
    else await cache.remove(`k${key}`);
  } catch (error) {
    failed = String(error);
  }
  process.send({ wrote: id, began, ended: now(), failed });
}

process.on("message", (message) => {
  if (message.loaded !== undefined) {
    asked.get(message.loaded)?.(message.version);
    asked.delete(message.loaded);
  } else if (message.write !== undefined) void write(message.write);
  else if (message.end) void end();
});

const report = setInterval(flush, 100);
function flush() {
  process.send({ reads: [...seen.values()], count, slow, backwards, totals });
  seen = new Map();
  count = 0;
  slow = [];
  backwards = [];
}

async function end() {
  running = false;
  await sleep(50);
  clearInterval(report);
  const began = now();
  await Promise.race([cache.close(), sleep(5_000)]);
  flush();
  process.send({ closed: now() - began }, () => process.exit());
}

for (let n = 1; n <= readers; n++) void reader(n * 7_919 + process.pid);
process.send({ ready: true });
