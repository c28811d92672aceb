import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { PostgresLogClient } from "../../src/coherence/postgres/index.ts";
import { startPostgres, type TestServer } from "../servers.ts";
import { type Bench, bench, keys, type Opened, poolOf, saw, signed } from "./postgres-log-setup.ts";

/** Shorter than the 500 ms after which a follower looks by itself, and long enough for a busy machine. */
const SOON = 400;

describe("the order of the log on PostgreSQL", () => {
  let server: TestServer;
  let pool: pg.Pool;
  let here: Bench;
  beforeAll(async () => {
    server = await startPostgres();
    pool = poolOf(server.url);
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(() => {
    here = bench(pool);
  });
  afterEach(() => here.end());

  it("tells other followers at once", async () => {
    const one = await here.open();
    const two = await here.open();
    const begin = performance.now();
    for (let i = 0; i < 20; i++) await saw(two, await one.log.append(keys(`k${i}`)));
    expect((performance.now() - begin) / 20).toBeLessThan(SOON / 4);
    expect(two.follower.seen).toEqual(one.follower.seen);
  });

  it.each(["read committed", "repeatable read", "serializable"])(
    "gives 4 x 250 appends made at once one order without a gap, seen by all, where transactions are %s",
    { timeout: 60_000 },
    async (level) => {
      const pools = Array.from({ length: 4 }, () =>
        poolOf(server.url, {
          max: 3,
          options: `-c default_transaction_isolation=${level.replace(" ", "\\ ")}`,
        }),
      );
      const opened: Opened[] = [];
      for (const each of pools) opened.push(await here.open({}, each));
      const begin = opened[0]?.head.position ?? Number.NaN;
      // Somebody who looks all the time must never see n + 1 and not n.
      let appending = true;
      let looks = 0;
      const looking = (async () => {
        let seen = begin;
        while (appending) {
          const [row] = await here.sql(
            `SELECT count(*)::int AS n, max(position)::text AS last FROM ${here.table("records")}
             WHERE position > $1`,
            [seen],
          );
          if (row?.last === null) continue;
          expect(Number(row?.last) - seen).toBe(row?.n);
          seen = Number(row?.last);
          looks++;
        }
      })();
      // Some of them share statements and some do not: ten at a time in each log.
      const answers = new Map<string, number>();
      await Promise.all(
        Array.from({ length: 40 }, async (_, lane) => {
          for (let i = 0; i < 25; i++)
            answers.set(
              `${lane}.${i}`,
              (await opened[lane % 4]?.log.append(keys(`${lane}.${i}`))) ?? Number.NaN,
            );
        }),
      );
      appending = false;
      await looking;
      const all = Array.from({ length: 1_000 }, (_, i) => begin + i + 1);
      expect([...answers.values()].sort((a, b) => a - b)).toEqual(all);
      for (const one of opened) {
        await saw(one, begin + 1_000);
        expect(one.positions()).toEqual(all);
        expect(one.follower.seen).toEqual(opened[0]?.follower.seen);
        expect(one.follower.resets).toEqual([]);
        expect(one.warnings).toEqual([]);
      }
      for (const [key, position] of answers)
        expect(opened[0]?.follower.seen[position - begin - 1]?.record).toEqual(keys(key)[0]);
      expect(looks).toBeGreaterThan(10);
      for (const { log } of opened) await log.close();
      for (const each of pools) await each.end();
    },
  );

  it("keeps an append waiting while another is not committed, so that nobody sees the later one alone", async () => {
    const reader = here.server();
    const { position: begin } = await reader.join("n", undefined, 5_000);
    const client = await pool.connect();
    await client.query("BEGIN");
    const first = { query: (text: string, params?: unknown[]) => client.query(text, params) };
    expect((await here.server("shop", first).append(signed("first"))).position).toBe(begin + 1);
    const waiting = here.server().append(signed("second"));
    await vi.waitFor(async () => {
      const locked = await here.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
      expect(locked).toHaveLength(1);
    });
    expect(await reader.read(begin, 10, 1)).toEqual([]);
    expect((await reader.join("n", undefined, 5_000)).position).toBe(begin);
    await client.query("COMMIT");
    client.release();
    expect((await waiting).position).toBe(begin + 2);
    expect((await reader.read(begin, 10, 1)).map(({ id }) => id)).toEqual(["first", "second"]);
  });
});

describe("who still counts on a log on PostgreSQL", () => {
  let server: TestServer;
  let pool: pg.Pool;
  let here: Bench;
  beforeAll(async () => {
    server = await startPostgres();
    pool = poolOf(server.url);
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(() => {
    here = bench(pool);
  });
  afterEach(() => here.end());

  it("is settled at once when all acknowledged, and after its lease when a follower died", async () => {
    const one = await here.open({ maxLag: 1_000 });
    const two = await here.open({ maxLag: 1_000 });
    const strict = [{ ...keys("k")[0], strict: true } as const];
    // The log is new: who followed what was there before is forgotten only after the first lease.
    await one.log.settled(await one.log.append(strict));
    let begin = performance.now();
    await one.log.settled(await one.log.append(strict));
    expect(performance.now() - begin).toBeLessThan(800);
    const dead = here.server();
    const { position, id } = await dead.join("dead", undefined, 1_500);
    await dead.join("dead", { position, id }, 1_500);
    begin = performance.now();
    await one.log.settled(await one.log.append(strict));
    expect(performance.now() - begin).toBeGreaterThan(1_200);
    expect(performance.now() - begin).toBeLessThan(3_000);
    expect(two.follower.resets).toEqual([]);
  });

  it("counts on no follower that does not say what it applied, nor on those it forgot", async () => {
    const log = here.server();
    const { position, id } = await log.join("a", undefined, 60_000);
    // As if the log had been founded long ago.
    await here.sql(`UPDATE ${here.table("followers")} SET until = now() WHERE node = '"'`);
    const waits = async (at: number) => (await log.unacknowledged(at)) > 50_000;
    expect(await waits(position)).toBe(true);
    await log.join("a", { position, id }, 60_000);
    expect(await log.unacknowledged(position)).toBe(0);
    const { position: next } = await log.append(signed("1"));
    expect(await waits(next)).toBe(true);
    await log.join("a", { position: next, id: "1" }, 60_000);
    expect(await log.unacknowledged(next)).toBe(0);
    // Starting again does not acknowledge: its memory may have the old value until the answer is there.
    await log.join("a", undefined, 60_000);
    expect(await waits(next)).toBe(true);
    await log.join("a", { position: next, id: "1" }, 60_000);
    expect(await log.unacknowledged(next)).toBe(0);
    await log.join("a", { position: next, id: "another" }, 60_000);
    expect(await waits(position)).toBe(true);
    await log.leave("a");
    expect(await log.unacknowledged(next)).toBe(0);
    await here.sql(`TRUNCATE ${here.table("followers")}`);
    await log.join("b", undefined, 1);
    expect(await log.unacknowledged(next)).toBeGreaterThan(4_000);
  });

  it("tells a follower whose lease had run out of all that was settled without it", async () => {
    const other = here.server();
    let meanwhile: (() => Promise<void>) | undefined;
    const client: PostgresLogClient = {
      async query(text, params) {
        const answer = await pool.query(text, params);
        const act = meanwhile;
        meanwhile = undefined;
        await act?.();
        return answer;
      },
    };
    const log = here.server("shop", client);
    const { position, id } = await log.join("a", undefined, 1);
    await vi.waitFor(async () => expect(await other.unacknowledged(position + 1)).toBeLessThan(5_010));
    await here.sql(
      `UPDATE ${here.table("followers")} SET until = now() - interval '1 second' WHERE node = 'a'`,
    );
    meanwhile = async () => void (await other.append(signed("1")));
    const again = await log.join("a", { position, id }, 5_000);
    expect(again).toMatchObject({ standing: "same", position: position + 1 });
  });
});
