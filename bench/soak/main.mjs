/**
 * Real processes, a real Redis behind a proxy that delays, cuts and drops, and a checker over everything they
 * read: `npm run soak [-- --seconds 60 --processes 4 --only caching-universal]`. The same for BentoCache beside it.
 */
import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startRedis } from "../../test/servers.ts";
import { Checker } from "./checker.mjs";
import { MAX_LAG, NAMES } from "./contenders.mjs";

const { values } = parseArgs({
  options: { seconds: { type: "string" }, processes: { type: "string" }, only: { type: "string" } },
});
const seconds = Number(values.seconds ?? 60);
const processes = Number(values.processes ?? 4);
const KEYS = 50;
const READERS = 8;
const HOWS = ["delete", "set", "tag", "delete", "strict"];
const now = () => Number(process.hrtime.bigint()) / 1e6;

/** The proxy, called in its own process. */
async function proxyOf(target) {
  const child = fork(new URL("./proxy.mjs", import.meta.url), [String(target)]);
  const waiting = new Map();
  let serial = 0;
  const port = await new Promise((resolve) => child.once("message", (message) => resolve(message.port)));
  child.on("message", ({ done }) => waiting.get(done)?.());
  const call = (name, ...args) =>
    new Promise((resolve) => {
      waiting.set(++serial, resolve);
      child.send({ id: serial, call: name, args });
    });
  const calls = Object.fromEntries(
    ["delay", "cut", "drop", "heal"].map((name) => [name, (...args) => call(name, ...args)]),
  );
  return { port, ...calls, stop: async () => child.kill() };
}

/** The parent is the source: it knows the version of every row. */
async function soak(contender) {
  const server = await startRedis();
  const proxy = await proxyOf(server.port);
  const url = `redis://127.0.0.1:${proxy.port}`;
  const checker = new Checker(MAX_LAG);
  const rows = new Array(KEYS).fill(1);
  const busy = new Set();
  const pending = new Map();
  let serial = 0;
  let loads = 0;
  const lives = new Map();
  const totals = { unhandled: 0, failedReads: 0, lastError: "", slowestClose: 0 };
  const workers = [];
  let over = false;

  const start = (slot) =>
    new Promise((resolve) => {
      const life = (lives.get(slot) ?? 0) + 1;
      lives.set(slot, life);
      const child = fork(new URL("./worker.mjs", import.meta.url), [
        JSON.stringify([contender, url, KEYS, READERS]),
      ]);
      const seen = { unhandled: 0, failedReads: 0 };
      child.on("message", (message) => {
        if (message.ready) resolve(child);
        else if (message.load !== undefined) {
          loads++;
          const version = rows[message.load]; // read now, answered a little later
          setTimeout(() => child.connected && child.send({ loaded: message.id, version }), 2);
        } else if (message.wrote !== undefined) {
          const { key, version, how } = pending.get(message.wrote) ?? {};
          pending.delete(message.wrote);
          busy.delete(key);
          if (key !== undefined)
            checker.wrote(slot, key, version, how, message.began, message.ended, message.failed);
        } else if (message.reads !== undefined) {
          const worker = `process ${slot}.${life}`;
          checker.reads += message.count;
          for (const [key, began, version] of message.reads) checker.read(worker, key, began, version);
          for (const [began, ended] of message.slow) checker.slow(slot, began, ended);
          for (const one of message.backwards) checker.wentBack(worker, ...one);
          totals.unhandled += message.totals.unhandled - seen.unhandled;
          totals.failedReads += message.totals.failedReads - seen.failedReads;
          Object.assign(seen, message.totals);
          if (message.totals.lastError) totals.lastError = message.totals.lastError;
        } else if (message.closed !== undefined)
          totals.slowestClose = Math.max(totals.slowestClose, message.closed);
      });
      child.on("exit", () => {
        for (const [id, write] of pending) {
          if (write.slot !== slot) continue;
          pending.delete(id);
          busy.delete(write.key);
        }
      });
      workers[slot] = child;
    });
  for (let slot = 0; slot < processes; slot++) await start(slot);

  const writing = (async () => {
    for (let i = 0; !over; i++) {
      await sleep(8);
      const key = (i * 7) % KEYS;
      const slot = i % processes;
      if (busy.has(key) || !workers[slot]?.connected) continue;
      busy.add(key);
      const wanted = HOWS[i % HOWS.length];
      // Only ours offers to wait for all.
      const how = wanted === "strict" && contender !== NAMES[0] ? "delete" : wanted;
      const version = ++rows[key];
      const id = ++serial;
      pending.set(id, { key, version, how, slot });
      workers[slot].send({ write: { id, how, key, version } });
    }
  })();

  /** A fault for `ms`; until `after` ms later the promise is `maxLag`. */
  const fault = async (name, ms, begin, end) => {
    const from = now();
    checker.begin(`${name} began`);
    await begin();
    await sleep(ms);
    await end();
    checker.begin(`${name} ended`);
    checker.trouble(from, now() + MAX_LAG + 1_000);
    await sleep(MAX_LAG + 1_000);
    faults.push(name);
  };
  const faults = [];
  const freeze = async () => {
    const from = now();
    await fault(
      "a process frozen",
      1_000,
      async () => workers[1].kill("SIGSTOP"),
      async () => {
        workers[1].kill("SIGCONT");
        checker.froze(1, from, now() + 200);
      },
    );
  };
  const all = [
    () =>
      fault(
        "delay",
        2_000,
        () => proxy.delay(20, 20),
        () => proxy.heal(),
      ),
    () =>
      fault(
        "cut",
        500,
        () => proxy.cut(),
        () => proxy.heal(),
      ),
    () =>
      fault(
        "half-open",
        3_000,
        () => proxy.drop(),
        () => proxy.heal(),
      ),
    () =>
      fault(
        "Redis frozen",
        3_000,
        () => server.pause(),
        () => server.resume(),
      ),
    () =>
      fault(
        "Redis killed, restarted empty",
        300,
        () => server.kill(),
        () => server.restart(),
      ),
    () =>
      fault(
        "FLUSHALL",
        0,
        () => server.call("FLUSHALL"),
        async () => undefined,
      ),
    freeze,
    () =>
      fault(
        "a process killed",
        200,
        async () => workers[0].kill("SIGKILL"),
        () => start(0),
      ),
  ];
  const until = now() + seconds * 1_000;
  await sleep(1_000);
  for (let i = 0; now() < until; i++) {
    await all[i % all.length]();
    await sleep(500);
  }
  over = true;
  await writing;
  await sleep(500);
  const ended = workers.map((child) => new Promise((resolve) => child.once("exit", resolve)));
  for (const child of workers) child.send({ end: true });
  await Promise.race([Promise.all(ended), sleep(10_000)]);
  for (const child of workers) child.kill("SIGKILL");
  checker.finish();
  await proxy.stop();
  await server.stop();
  return { contender, checker, totals, faults, loads };
}

const results = [];
for (const name of values.only ? [values.only] : NAMES) {
  console.log(`${name}: ${processes} processes, ${seconds} s ...`);
  results.push(await soak(name));
}

const rows = [
  ["reads", ({ checker }) => checker.reads],
  ["writes and invalidations that resolved", ({ checker }) => checker.writes],
  ["  that rejected (the caller was told)", ({ checker }) => checker.failedWrites],
  ["loads", ({ loads }) => loads],
  ["faults", ({ faults }) => faults.length],
  ["stale reads beyond the promise", ({ checker }) => checker.stale],
  ["  the latest after, in ms", ({ checker }) => Math.round(checker.worst)],
  ['stale reads after wait: "all" (none: not offered)', ({ checker }) => checker.staleStrict],
  ["reads that went back to an older version", ({ checker }) => checker.backwards],
  ["  while Redis was in trouble (not promised)", ({ checker }) => checker.backwardsInTrouble],
  ["calls that took over 1 s", ({ checker }) => checker.hung],
  ["reads that rejected", ({ totals }) => totals.failedReads],
  ["unhandled rejections", ({ totals }) => totals.unhandled],
];
const width = Math.max(...rows.map(([name]) => name.length));
console.log(`\n${"".padEnd(width)}  ${results.map(({ contender }) => contender.padStart(18)).join("")}`);
for (const [name, of] of rows)
  console.log(`${name.padEnd(width)}  ${results.map((one) => String(of(one)).padStart(18)).join("")}`);
for (const { contender, checker, totals } of results) {
  if (checker.examples.length > 0) console.log(`\n${contender}:\n  ${checker.examples.join("\n  ")}`);
  if (totals.lastError) console.log(`  last error: ${totals.lastError}`);
}
const [ours] = results;
const broken =
  ours.contender === NAMES[0] &&
  ours.checker.stale +
    ours.checker.staleStrict +
    ours.checker.backwards +
    ours.checker.hung +
    ours.totals.unhandled >
    0;
process.exit(broken ? 1 : 0);
