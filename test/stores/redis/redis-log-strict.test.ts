import { fork } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type RedisServer, startRedis } from "../../servers.ts";
import {
  follow,
  freshName,
  HEARTBEAT,
  heardOf,
  LEASE,
  type Process,
  removal,
  took,
} from "./redis-log-following.ts";

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

async function join(): Promise<Process> {
  const process = await follow(name, { url: redis.url });
  open.push(process);
  return process;
}

const key = (part: string): string => `{${name}}:@${part}`;
const strict = (prefix: string) => [{ kind: "prefix" as const, prefix, strict: true }];

/** Followers of a log that has been there for longer than a lease. */
async function settledIn(count: number): Promise<[Process, ...Process[]]> {
  name = freshName();
  const one = await join();
  const others = await Promise.all(Array.from({ length: count - 1 }, join));
  await one.log.settled(await one.log.append(strict("first")));
  return [one, ...others];
}

/** How long it takes until nobody serves what an invalidation made unusable. */
async function settling({ log }: Process, prefix = "p"): Promise<number> {
  const position = await log.append(strict(prefix));
  return took(() => log.settled(position));
}

describe("waiting until nobody serves an invalidated value (P3), over Redis", () => {
  it("takes milliseconds when all followers are alive", async () => {
    const [one] = await settledIn(3);
    const times = [];
    for (let i = 0; i < 10; i++) times.push(await settling(one, `p${i}`));
    expect(times.sort((a, b) => a - b)[5]).toBeLessThan(50);
  });

  it("waits for the lease of a follower that died, and not longer", async () => {
    name = freshName();
    const child = fork(new URL("./redis-log-follower.ts", import.meta.url), [redis.url, name]);
    await once(child, "message");
    const one = await join();
    await one.log.settled(await one.log.append(strict("first")));
    expect(await settling(one)).toBeLessThan(LEASE / 4);
    child.kill("SIGKILL");
    await once(child, "exit");
    const ms = await settling(one);
    expect(ms).toBeGreaterThan(LEASE - HEARTBEAT - 150);
    expect(ms).toBeLessThan(LEASE + 150);
    expect(await settling(one)).toBeLessThan(LEASE / 4);
  });

  it("does not wait for a follower that left", async () => {
    const [one, other] = await settledIn(2);
    await other?.log.close();
    expect(await settling(one)).toBeLessThan(LEASE / 4);
  });

  for (const [what, lose] of [
    ["was evicted", () => redis.call("DEL", key("followers"))],
    ["was flushed", () => redis.call("FLUSHALL")],
  ] as const)
    it(`waits for a whole lease when the list of followers ${what}: who was on it is not known`, async () => {
      const [one] = await settledIn(2);
      await lose();
      const ms = await settling(one);
      expect(ms).toBeGreaterThan(LEASE - 50);
      expect(ms).toBeLessThan(LEASE + 250);
      expect(await settling(one)).toBeLessThan(LEASE / 4);
    });

  it("does not lose followers with the head", async () => {
    const [one, other] = await settledIn(2);
    await redis.call("DEL", key("head"));
    // The other one has not heard of the new history yet, or is about to.
    const position = await one.log.append(strict("p"));
    await one.log.settled(position);
    expect(other?.resets).toHaveLength(1);
  });

  it("waits for a whole lease after a restart from a file: registrations may be missing in it", async () => {
    const [one] = await settledIn(2);
    await redis.call("SAVE");
    await redis.restart({ keepData: true });
    await expect.poll(async () => one.log.append(strict("p"))).toBeGreaterThan(0);
    const ms = await settling(one);
    expect(ms).toBeGreaterThan(LEASE / 2);
    expect(ms).toBeLessThan(LEASE + 250);
  });

  it("never resolves before a follower that is cut off has stopped to trust itself", async () => {
    const [one, other] = await settledIn(2);
    if (other === undefined) return;
    // Its connections are cut again and again: it joins, and hardly ever reads.
    let cutting = true;
    const cut = (async () => {
      while (cutting) {
        await redis.call("CLIENT", "KILL", "TYPE", "normal");
        await new Promise((resolve) => setTimeout(resolve, 15));
      }
    })();
    try {
      for (let i = 0; i < 5; i++) {
        let position = 0;
        await expect
          .poll(
            async () => {
              position = await one.log.append(removal(`k${i}`));
              return position;
            },
            { interval: 5, timeout: 3_000 },
          )
          .toBeGreaterThan(0);
        await expect
          .poll(
            async () => {
              await one.log.settled(position);
              return true;
            },
            { interval: 5, timeout: 5_000 },
          )
          .toBe(true);
        const knows = heardOf(`k${i}`)(other) || other.resets.length > 0;
        expect(knows || other.log.lag() > 800).toBe(true);
      }
    } finally {
      cutting = false;
      await cut;
    }
  });
});

describe("a lagging replica that is promoted (P7)", () => {
  it("is noticed by idle followers within a heartbeat, and by those who appended", {
    timeout: 30_000,
  }, async () => {
    const replica = await startRedis({ config: { "repl-ping-replica-period": "1" } });
    const own = await startRedis();
    name = freshName();
    const processes: Process[] = [];
    try {
      for (let i = 0; i < 2; i++) processes.push(await follow(name, { url: own.url }));
      const [one, other] = processes;
      if (one === undefined || other === undefined) return;
      await one.log.append(removal("a"));
      await replica.call("REPLICAOF", "127.0.0.1", own.port);
      await expect.poll(() => replica.call("EXISTS", key("head"))).toBe(1);
      await expect
        .poll(async () => String(await replica.call("INFO", "replication")))
        .toMatch(/master_sync_in_progress:0/);
      await replica.call("REPLICAOF", "NO", "ONE");
      // What the replica will not have.
      const lost = await other.log.append([{ kind: "tags", tags: ["t"] }]);
      await one.told(({ seen }) => seen.at(-1)?.position === lost);
      await own.restart();
      await own.call("REPLICAOF", "127.0.0.1", replica.port);
      await expect.poll(() => own.call("EXISTS", key("head")).catch(() => 0)).toBe(1);
      await own.call("REPLICAOF", "NO", "ONE");
      await Promise.all(processes.map((process) => process.told(({ resets }) => resets.length > 0)));
      const generation = (process: Process): string | undefined => process.resets.at(-1)?.head.generation;
      await one.told(() => generation(one) === generation(other));
      expect(generation(one)).not.toBe(one.head.generation);
      expect(one.resets.at(-1)?.head.position).toBeGreaterThan(lost);
      await one.log.append(removal("b"));
      await other.told(heardOf("b"));
    } finally {
      for (const { log } of processes) await log.close();
      await own.stop();
      await replica.stop();
    }
  });
});

describe("many who append at once", () => {
  it("are all heard in one order, without a gap", { timeout: 30_000 }, async () => {
    const processes = await settledIn(4);
    const before = processes.map(({ seen }) => seen.length);
    await Promise.all(
      processes.flatMap(({ log }, who) =>
        Array.from({ length: 1_000 }, (_, i) => log.append(removal(`${who}:${i}`))),
      ),
    );
    const last = Math.max(...processes.map(({ seen }) => seen.at(-1)?.position ?? 0));
    await Promise.all(processes.map((process) => process.told(({ seen }) => seen.at(-1)?.position === last)));
    const heard = processes.map(({ seen }, who) => seen.slice(before[who]));
    for (const one of heard) {
      expect(one).toHaveLength(4_000);
      expect(one).toEqual(heard[0]);
    }
    expect(processes.map(({ resets }) => resets)).toEqual([[], [], [], []]);
  });
});
