import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCache, memory } from "../../../src/index.ts";
import { redis } from "../../../src/stores/redis/index.ts";
import { type RedisServer, startRedis, startRedisCluster } from "../../servers.ts";

let server: RedisServer;
let children: ChildProcess[] = [];

beforeEach(async () => {
  server = await startRedis();
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  children = [];
  await server.stop();
});

interface Told {
  readonly ready?: boolean;
  readonly loading?: string;
  readonly done?: number;
  readonly values?: unknown[];
}

/** Starts processes that share the server; loads are answered by the test. */
async function processes(count: number, lease = "10s") {
  let serial = 0;
  const loads: { child: ChildProcess; key: string; answer: (value: unknown) => void }[] = [];
  const waiting = new Map<number, (values: unknown[]) => void>();
  const noticed = new Set<() => void>();
  const started = Array.from({ length: count }, () => {
    const args = [JSON.stringify({ url: server.url, lease })];
    const child = fork(join(import.meta.dirname, "cache-process.ts"), args, { stdio: "inherit" });
    children.push(child);
    const ready = new Promise<ChildProcess>((resolve) =>
      child.on("message", (told: Told) => {
        if (told.ready) resolve(child);
        if (told.loading !== undefined) {
          const key = told.loading;
          loads.push({ child, key, answer: (value) => child.send({ do: "loaded", key, value }) });
          for (const notice of noticed) notice();
        }
        if (told.done !== undefined) waiting.get(told.done)?.(told.values ?? []);
      }),
    );
    return ready;
  });
  const all = await Promise.all(started);
  const ask = (child: ChildProcess, what: object): Promise<unknown[]> =>
    new Promise((resolve) => {
      waiting.set(++serial, resolve);
      child.send({ ...what, id: serial });
    });
  /** Resolves with a load once there are so many. */
  const load = (nth: number) =>
    new Promise<(typeof loads)[number]>((resolve) => {
      const look = (): void => {
        const found = loads[nth - 1];
        if (found === undefined) return;
        noticed.delete(look);
        resolve(found);
      };
      noticed.add(look);
      look();
    });
  return { all, ask, loads, load };
}

describe("processes that share a Redis", () => {
  it("make one load of a cold key for 1,000 callers in each of four (P6)", async () => {
    const { all, ask, loads, load } = await processes(4);
    const reads = all.map((child) => ask(child, { do: "read", key: "cold", count: 1_000 }));
    (await load(1)).answer("loaded once");
    expect(await Promise.all(reads)).toEqual(Array.from({ length: 4 }, () => ["loaded once"]));
    expect(loads).toHaveLength(1);
  });

  it("take over within the lease when its holder is killed (P6)", async () => {
    const { all, ask, load } = await processes(2, "1s");
    const [one, two] = all as [ChildProcess, ChildProcess];
    void ask(one, { do: "read", key: "k", count: 1 });
    await load(1);
    const second = ask(two, { do: "read", key: "k", count: 10 });
    one.kill("SIGKILL");
    const killedAt = performance.now();
    const next = await load(2);
    expect(next.child).toBe(two);
    expect(performance.now() - killedAt).toBeLessThan(3_000); // the lease of 1 s, and slow machines
    next.answer("taken over");
    expect(await second).toEqual([["taken over"]].flat());
  });

  it("load again after an invalidation by another, whose load under way is not stored (P1)", async () => {
    const { all, ask, load } = await processes(3);
    const [one, two, three] = all as [ChildProcess, ChildProcess, ChildProcess];
    const slow = ask(one, { do: "read", key: "k", count: 1 });
    const first = await load(1);
    await ask(two, { do: "delete", key: "k" });
    const later = ask(three, { do: "read", key: "k", count: 1 });
    (await load(2)).answer("new");
    expect(await later).toEqual(["new"]);
    first.answer("old");
    expect(await slow).toEqual(["old"]);
    expect(await ask(two, { do: "read", key: "k", count: 1 })).toEqual(["new"]);
    expect(await ask(one, { do: "read", key: "k", count: 1 })).toEqual(["new"]);
  });
});

describe("caches on a cluster of three masters", () => {
  it("stay coherent over a failover of every shard in the middle of their work", async () => {
    const cluster = await startRedisCluster({ masters: 3, replicasEach: 1 });
    const make = () =>
      createCache({
        name: "cluster",
        layers: [memory(), redis({ cluster: cluster.urls })],
        maxLag: "2s",
        ttl: "1h",
        logger: false,
      });
    const [one, two] = [make(), make()];
    try {
      const rows = new Map<string, number>();
      const keys = Array.from({ length: 30 }, (_, i) => `key:${i}`);
      const read = (cache: typeof one, key: string) =>
        cache.getOrSet(key, () => rows.get(key) ?? 0, { tags: [`tag:${key}`] });
      const round = async (): Promise<void> => {
        for (const [i, key] of keys.entries()) {
          const version = (rows.get(key) ?? 0) + 1;
          await Promise.all([read(one, key), read(two, key)]);
          rows.set(key, version);
          // A caller who is told that it failed tries again; who is told that it worked relies on it.
          for (;;) {
            const done = await (i % 2 === 0
              ? one.delete(key, { wait: "all" })
              : two.invalidateTags([`tag:${key}`], { wait: "all" })
            ).then(
              () => true,
              () => false,
            );
            if (done) break;
            await new Promise((resolve) => setImmediate(resolve)); // a refusal may come without a turn
          }
          expect([await read(one, key), await read(two, key)]).toEqual([version, version]);
        }
      };
      await round();
      for (const shard of [0, 1, 2]) {
        const failover =
          shard === 1
            ? cluster.killMaster(shard).then(() => cluster.failover(shard))
            : cluster.failover(shard);
        await Promise.all([round(), failover]);
      }
      await cluster.ready();
      await round();
      await expect.poll(() => one.health().ok && two.health().ok, { timeout: 10_000 }).toBe(true);
    } finally {
      await Promise.all([one.close(), two.close()]);
      await cluster.stop();
    }
  }, 120_000);
});
