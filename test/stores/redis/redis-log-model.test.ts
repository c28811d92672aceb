import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LogRecord, Position } from "../../../src/coherence/log.ts";
import { type RedisServer, startRedis } from "../../servers.ts";
import { follow, freshName, HEARTBEAT, type Process, removal } from "./redis-log-following.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

const PARTS = ["log", "head", "followers", "patterns"];
const TAGS = ["t0", "t1", "t2"];

type Step =
  | { readonly do: "tag" | "soft"; readonly by: number; readonly tag: number }
  | { readonly do: "prefix" | "clear" | "entry" | "keys"; readonly by: number }
  | { readonly do: "flush" | "trim" | "save" | "go back" | "forget scripts" | "cut" | "leave and join" }
  | { readonly do: "evict"; readonly part: number };

const by = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("tag", "soft"), by, tag: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("entry"), by }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("prefix", "clear", "keys"), by }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("flush", "trim", "save", "go back", "forget scripts", "cut", "leave and join"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("evict"), part: fc.nat(3) }) },
);

/** An entry as a store keeps it, and what was truly invalidated since. */
interface Entry {
  readonly generation: string;
  readonly asOf: Position;
  readonly hard: Set<string>;
  readonly soft: Set<string>;
  patterns: boolean;
  cleared: boolean;
}

/** Where a process stands, as a cache knows it from what it was told. */
function stands({ head, seen, resets }: Process, told: number[]): { generation: string; asOf: Position } {
  const reset = resets.at(-1)?.head ?? head;
  const since = seen.slice(resets.length === 0 ? 0 : (told[resets.length - 1] ?? 0));
  let generation = reset.generation;
  for (const { record } of since) if (record.kind === "clear") generation = record.generation;
  return { generation, asOf: since.at(-1)?.position ?? reset.position };
}

class World {
  readonly name = freshName();
  readonly processes: Process[] = [];
  /** Of each process: how much it had seen at each reset. */
  readonly seenAt: number[][] = [];
  readonly entries: Entry[] = [];
  #saved = false;
  #count = 0;

  key(part: string): string {
    return `{${this.name}}:@${part}`;
  }

  async join(at: number): Promise<void> {
    const process = await follow(this.name, { url: redis.url, maxRecords: 50 });
    this.processes[at] = process;
    const seenAt: number[] = [];
    this.seenAt[at] = seenAt;
    void process
      .told(({ resets, seen }) => {
        while (seenAt.length < resets.length) seenAt.push(seen.length);
        return false;
      }, 600_000)
      .catch(() => undefined);
  }

  at(who: number): Process {
    const process = this.processes[who];
    if (process === undefined) throw new Error("nobody");
    return process;
  }

  where(who: number): { generation: string; asOf: Position } {
    return stands(this.at(who), this.seenAt[who] ?? []);
  }

  async append(who: number, record: LogRecord): Promise<boolean> {
    try {
      await this.at(who).log.append([record]);
      return true;
    } catch {
      return false; // nothing was promised
    }
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case "tag":
      case "soft": {
        const tag = TAGS[step.tag] ?? "";
        const before = [...this.entries];
        const soft = step.do === "soft";
        if (!(await this.append(step.by, { kind: "tags", tags: [tag], ...(soft ? { soft } : {}) }))) return;
        for (const entry of before) (soft ? entry.soft : entry.hard).add(tag);
        return;
      }
      case "prefix": {
        const before = [...this.entries];
        if (!(await this.append(step.by, { kind: "prefix", prefix: "p" }))) return;
        for (const entry of before) entry.patterns = true;
        return;
      }
      case "clear": {
        const before = [...this.entries];
        if (!(await this.append(step.by, { kind: "clear", generation: `g${++this.#count}` }))) return;
        for (const entry of before) entry.cleared = true;
        return;
      }
      case "keys":
        await this.append(step.by, { kind: "keys", keys: ["k"] });
        return;
      case "entry":
        this.entries.push({
          ...this.where(step.by),
          hard: new Set(),
          soft: new Set(),
          patterns: false,
          cleared: false,
        });
        return;
      case "flush":
        await redis.call("FLUSHALL");
        this.#saved = false;
        return;
      case "trim":
        // After going back within one server process it cannot be told that a trimmed record was not there.
        if (!this.#saved) await redis.call("XTRIM", this.key("log"), "MAXLEN", 1);
        return;
      case "save":
        for (const part of PARTS) {
          await redis.call("DEL", `${this.key(part)}:old`);
          await redis.call("COPY", this.key(part), `${this.key(part)}:old`);
        }
        this.#saved = true;
        return;
      case "go back":
        if (!this.#saved) return;
        await redis.call(
          "EVAL",
          "for _, key in ipairs(KEYS) do redis.call('DEL', key) redis.call('COPY', key .. ':old', key) end",
          PARTS.length,
          ...PARTS.map((part) => this.key(part)),
        );
        return;
      case "evict":
        await redis.call("DEL", this.key(PARTS[step.part] ?? ""));
        return;
      case "forget scripts":
        await redis.call("SCRIPT", "FLUSH");
        return;
      case "cut":
        await redis.call("CLIENT", "KILL", "TYPE", "normal");
        return;
      case "leave and join":
        await this.at(1).log.close();
        await expect.poll(() => this.join(1).then(() => true), { interval: 5 }).toBe(true);
    }
  }

  /** Until all processes hear each other, two heartbeats after the last trouble. */
  async calm(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2.2 * HEARTBEAT));
    for (let round = 0; round < 2; round++)
      for (const who of this.processes.keys()) {
        const key = `calm ${++this.#count}`;
        await expect
          .poll(async () => this.at(who).log.append(removal(key)), { interval: 5 })
          .toBeGreaterThan(0);
        await Promise.all(
          this.processes.map((process) =>
            process.told(({ seen }) =>
              seen.some(({ record }) => record.kind === "keys" && record.keys[0] === key),
            ),
          ),
        );
      }
  }

  async check(): Promise<void> {
    const [one, two] = [this.where(0), this.where(1)];
    expect(one).toEqual(two);
    const { log } = this.at(0);
    const positions = await log.tagPositions(TAGS);
    const patterns = await log.patterns();
    for (const entry of this.entries) {
      if (entry.generation !== one.generation) continue; // a miss
      const context = JSON.stringify({
        entry: { ...entry, hard: [...entry.hard], soft: [...entry.soft] },
        positions,
        patterns,
      });
      expect(entry.cleared, context).toBe(false);
      for (const [i, tag] of TAGS.entries()) {
        const last = positions[i] ?? { hard: 0, soft: 0 };
        if (entry.hard.has(tag)) expect(last.hard, context).toBeGreaterThan(entry.asOf);
        if (entry.soft.has(tag)) expect(Math.max(last.hard, last.soft), context).toBeGreaterThan(entry.asOf);
      }
      if (entry.patterns)
        expect(
          patterns.some(({ position }) => position > entry.asOf),
          context,
        ).toBe(true);
    }
  }

  async end(): Promise<void> {
    for (const { log } of this.processes) await log.close();
  }
}

describe("a log in Redis, whatever happens to it", () => {
  it("never lets an entry pass for valid that was invalidated since it was loaded", {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const world = new World();
        try {
          await world.join(0);
          await world.join(1);
          for (const one of steps) await world.run(one);
          await world.calm();
          await world.check();
        } finally {
          await world.end();
        }
      }),
      { numRuns: Number(process.env.TEST_RUNS ?? 15), endOnFailure: false },
    );
  });
});
