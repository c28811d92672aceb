import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { RedisLogOptions } from "../../../src/stores/redis/redis-log.ts";
import { type RedisServer, startRedis } from "../../servers.ts";
import { follow, freshName, HEARTBEAT, heardOf, type Process, removal, took } from "./redis-log-following.ts";

let redis: RedisServer;
let name = "";
const open: Process[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ log }) => log.close()));
});

async function join(options: RedisLogOptions = {}): Promise<Process> {
  const process = await follow(name, { url: redis.url, ...options });
  open.push(process);
  return process;
}

async function two(options: RedisLogOptions = {}): Promise<[Process, Process]> {
  name = freshName();
  return [await join(options), await join(options)];
}

const wasReset = ({ resets }: Process): boolean => resets.length > 0;
/** Appends as soon as the server can be reached again. */
async function appended({ log }: Process, removed: string): Promise<void> {
  await expect.poll(async () => log.append(removal(removed))).toBeGreaterThan(0);
}
const key = (part: string): string => `{${name}}:@${part}`;

describe("a log in Redis that loses something (P7)", () => {
  it("that was flushed is noticed by idle followers within a heartbeat", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await redis.call("FLUSHALL");
    const ms = await took(() => Promise.all([one.told(wasReset), other.told(wasReset)]));
    expect(ms).toBeLessThan(2 * HEARTBEAT);
    expect(one.resets[0]?.head.generation).not.toBe(one.head.generation);
    await one.told(({ resets }) => resets.at(-1)?.head.generation === other.resets.at(-1)?.head.generation);
    await other.log.append(removal("b"));
    await one.told(heardOf("b"));
  });

  it("that was flushed is noticed at once by all when somebody appends", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await Promise.all([one.told(heardOf("a")), other.told(heardOf("a"))]);
    await redis.call("FLUSHALL");
    const ms = await took(async () => {
      await one.log.append(removal("b"));
      await Promise.all([one.told(wasReset), other.told(wasReset)]);
    });
    expect(ms).toBeLessThan(HEARTBEAT / 2);
    expect(one.log.lag()).toBeLessThan(HEARTBEAT);
  });

  it("that restarted empty is a new generation for all", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await redis.restart();
    await Promise.all([one.told(wasReset), other.told(wasReset)]);
    expect(one.resets.at(-1)?.head.generation).not.toBe(one.head.generation);
    await appended(one, "b"); // its other connection may still be on its way
    await other.told(heardOf("b"));
  });

  it("that restarted with all it had goes on, without a reset", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await redis.call("SAVE");
    await redis.restart({ keepData: true });
    await redis.call("CONFIG", "SET", "save", "");
    await appended(one, "b");
    await Promise.all([one.told(heardOf("b")), other.told(heardOf("b"))]);
    expect([one.resets, other.resets]).toEqual([[], []]);
  });

  it("that restarted from an older file begins a new generation", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await redis.call("SAVE");
    await one.log.append(removal("b"));
    await Promise.all([one.told(heardOf("b")), other.told(heardOf("b"))]);
    await redis.restart({ keepData: true });
    await Promise.all([one.told(wasReset), other.told(wasReset)]);
    expect(one.resets.at(-1)?.head.generation).not.toBe(one.head.generation);
    await one.told(({ resets }) => resets.at(-1)?.head.generation === other.resets.at(-1)?.head.generation);
    const later = await join();
    expect(later.head.generation).toBe(one.resets.at(-1)?.head.generation);
  });

  it("that was trimmed past a follower starts that one again, in the same generation", async () => {
    const [one, other] = await two({ maxRecords: 10 });
    await one.log.append(removal("a"));
    await other.told(heardOf("a"));
    await redis.pause();
    // Many records in one step, as after a long absence.
    const append = one.log.append(
      Array.from({ length: 1_500 }, (_, i) => ({ kind: "keys", keys: [`k${i}`] })),
    );
    await redis.resume();
    await append;
    await Promise.all([one.told(wasReset), other.told(wasReset)]);
    expect(other.resets[0]?.head.generation).toBe(other.head.generation);
    expect(other.resets[0]?.reason).toMatch(/away longer/);
    await one.log.append(removal("z"));
    await Promise.all([one.told(heardOf("z")), other.told(heardOf("z"))]);
    expect(other.resets).toHaveLength(1);
  });

  it("whose head was evicted is founded anew above all positions", async () => {
    const [one, other] = await two();
    const before = await one.log.append(removal("a"));
    await redis.call("DEL", key("head"));
    const after = await one.log.append(removal("b"));
    expect(after).toBeGreaterThan(before + 1);
    await Promise.all([one.told(wasReset), other.told(wasReset)]);
    expect(other.resets[0]?.head.generation).not.toBe(other.head.generation);
  });

  it("whose stream was evicted goes on for those who were up to date, and starts the others again", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await other.told(heardOf("a"));
    await redis.call("DEL", key("log"));
    await one.log.append(removal("b"));
    await other.told(heardOf("b"));
    expect([one.resets, other.resets]).toEqual([[], []]);
  });

  it("whose patterns were evicted has one of everything instead, also when the next one comes first", async () => {
    const [one] = await two();
    await one.log.append([{ kind: "prefix", prefix: "a" }]);
    await redis.call("DEL", key("patterns"));
    const position = await one.log.append([{ kind: "prefix", prefix: "b" }]);
    expect(await one.log.patterns()).toEqual([{ position, record: { kind: "prefix", prefix: "" } }]);
    await redis.call("DEL", key("patterns"));
    expect(await one.log.patterns()).toEqual([{ position, record: { kind: "prefix", prefix: "" } }]);
  });

  it("has one pattern of everything in place of too many", async () => {
    const [one] = await two({ maxPatterns: 3 });
    for (const prefix of ["a", "b", "c"]) await one.log.append([{ kind: "prefix", prefix }]);
    expect(await one.log.patterns()).toHaveLength(3);
    const position = await one.log.append([{ kind: "prefix", prefix: "d" }]);
    expect(await one.log.patterns()).toEqual([{ position, record: { kind: "prefix", prefix: "" } }]);
  });

  it("does not forget a pattern that another one stands at the position of", async () => {
    const [one] = await two();
    const position = await one.log.append([{ kind: "prefix", prefix: "a" }]);
    await one.log.swept({ position, record: { kind: "prefix", prefix: "b" } });
    expect(await one.log.patterns()).toHaveLength(1);
    await one.log.swept({ position, record: { kind: "prefix", prefix: "a" } });
    expect(await one.log.patterns()).toEqual([]);
  });

  it("counts every tag as invalidated once there are too many", async () => {
    const [one] = await two({ maxTags: 10 });
    const first = await one.log.append([{ kind: "tags", tags: ["a"] }]);
    expect(await one.log.tagPositions(["a", "never"])).toEqual([
      { hard: first, soft: one.head.position },
      { hard: one.head.position, soft: one.head.position },
    ]);
    const tags = Array.from({ length: 10_000 }, (_, i) => `t${i}`);
    const last = await one.log.append([{ kind: "tags", tags }]);
    expect(await one.log.tagPositions(["never"])).toEqual([{ hard: last, soft: last }]);
  });

  it("counts every tag as invalidated when it has none of the history that the caller knows", async () => {
    const [one] = await two();
    const position = await one.log.append([{ kind: "tags", tags: ["a"] }]);
    await redis.call("FLUSHALL");
    for (const { hard, soft } of await one.log.tagPositions(["a", "b"]))
      expect(Math.min(hard, soft)).toBeGreaterThan(position);
  });

  it("forgets tags and patterns with a clear: all that is older is of another generation", async () => {
    const [one] = await two();
    await one.log.append([
      { kind: "tags", tags: ["a"] },
      { kind: "prefix", prefix: "p" },
    ]);
    const position = await one.log.append([{ kind: "clear", generation: "next" }]);
    expect(await one.log.tagPositions(["a", "b"])).toEqual([
      { hard: position, soft: position },
      { hard: position, soft: position },
    ]);
    expect(await one.log.patterns()).toEqual([]);
    expect((await join()).head).toEqual({ generation: "next", position });
  });

  it("resumes without a reset when a follower's connections are cut", async () => {
    const [one, other] = await two();
    for (let i = 0; i < 5; i++) {
      await redis.call("CLIENT", "KILL", "TYPE", "normal");
      await appended(one, `k${i}`);
      await Promise.all([one.told(heardOf(`k${i}`)), other.told(heardOf(`k${i}`))]);
    }
    expect([one.resets, other.resets]).toEqual([[], []]);
    expect(other.seen).toEqual(one.seen);
  });

  it("goes on when the server forgets its scripts", async () => {
    const [one, other] = await two();
    for (let i = 0; i < 3; i++) {
      await redis.call("SCRIPT", "FLUSH");
      await one.log.append(removal(`k${i}`));
    }
    await other.told(heardOf("k2"));
    expect(other.seen).toHaveLength(3);
  });

  it("distrusts all it knows on a record of an unknown kind", async () => {
    const [one, other] = await two();
    const position = await one.log.append(removal("a"));
    const next = String(position + 1);
    // As a newer version would: the record, and the head with it.
    await redis.call(
      "EVAL",
      "redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'r', ARGV[2], 'i', 'x') redis.call('HSET', KEYS[2], 'p', ARGV[1], 'i', 'x')",
      2,
      key("log"),
      key("head"),
      next,
      '{"kind":"quantum","keys":["a"]}',
    );
    await other.told(({ seen }) => seen.at(-1)?.position === position + 1);
    expect(other.seen.at(-1)?.record).toEqual({ kind: "prefix", prefix: "", strict: true });
    await other.log.append(removal("b"));
    await one.told(heardOf("b"));
    expect([one.resets, other.resets]).toEqual([[], []]);
  });

  for (const [what, id] of [
    ["far ahead", "*"],
    ["in between", "+1"],
  ] as const)
    it(`survives records that somebody else writes into the stream (${what})`, async () => {
      const [one, other] = await two();
      const position = await one.log.append(removal("a"));
      await other.told(heardOf("a"));
      await redis.call("XADD", key("log"), id === "*" ? `${position + 1_000}-0` : `${position}-1`, "x", "y");
      await one.log.append(removal("b"));
      await Promise.all([one, other].map((process) => process.told((p) => heardOf("b")(p) || wasReset(p))));
      await one.log.append(removal("c"));
      await Promise.all([one, other].map((process) => process.told(heardOf("c"))));
    });

  it("starts again where a record in the middle was deleted by hand", async () => {
    const [one, other] = await two();
    await one.log.append(removal("a"));
    await other.told(heardOf("a"));
    await redis.pause();
    const append = one.log.append([...removal("b"), ...removal("c"), ...removal("d")]);
    await redis.resume();
    const last = await append;
    await redis.call("XDEL", key("log"), `${last - 1}-0`);
    const third = await join();
    await third.log.append(removal("e"));
    await other.told(heardOf("e"));
  });

  it("keeps names of any content apart, each in one hash slot", async () => {
    const names = ["a}b", "{a", "", "%", "a\r\nb", "ü".repeat(100), "{}", "}"];
    const followers = [];
    for (name of names) followers.push(await join());
    for (const [i, { log }] of followers.entries()) await log.append(removal(String(i)));
    for (const [i, follower] of followers.entries())
      expect(follower.seen.map(({ record }) => record)).toEqual(removal(String(i)));
  });

  it("carries keys, tags and patterns of any content", async () => {
    const [one, other] = await two();
    const odd = ["", "\u0000", "@", "h:x", "\ud800", "💥", '"\\', "a\r\nb", "x".repeat(100_000)];
    await one.log.append([
      { kind: "keys", keys: odd, written: 5, pending: true },
      { kind: "tags", tags: odd, soft: true },
      ...odd.map((prefix) => ({ kind: "prefix" as const, prefix })),
      { kind: "ended", keys: odd },
    ]);
    const last = await one.log.append([
      { kind: "tags", tags: odd },
      { kind: "tags", tags: [] },
    ]);
    await other.told(({ seen }) => seen.at(-1)?.position === last);
    expect(other.seen).toEqual(one.seen);
    expect(other.seen[0]?.record).toEqual({ kind: "keys", keys: odd, written: 5, pending: true });
    expect((await other.log.tagPositions(odd)).map(({ hard }) => hard)).toEqual(odd.map(() => last - 1));
    expect(await other.log.patterns()).toHaveLength(odd.length + 1);
    for (const pattern of await other.log.patterns()) await other.log.swept(pattern);
    expect(await other.log.patterns()).toEqual([]);
  });

  it("refuses to append where the keys hold something else, and nobody hangs", async () => {
    const [one] = await two();
    await redis.call("DEL", key("log"));
    await redis.call("SET", key("log"), "x");
    await expect(one.log.append(removal("a"))).rejects.toThrow(/WRONGTYPE/);
    await redis.call("DEL", key("log"));
    await one.log.append(removal("b"));
  });
});
