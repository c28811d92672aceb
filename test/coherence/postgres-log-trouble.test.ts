import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { startPostgres, type TestServer } from "../servers.ts";
import { type Bench, bench, keys, never, type Opened, poolOf, saw, signed } from "./postgres-log-setup.ts";

describe("the log on PostgreSQL in trouble", () => {
  let server: TestServer;
  let pool: pg.Pool;
  let here: Bench;
  beforeAll(async () => {
    server = await startPostgres();
    // What was acknowledged is in the server's files, so that a crash loses none of it.
    pool = poolOf(server.url, { options: "-c synchronous_commit=on" });
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });
  beforeEach(() => {
    here = bench(pool);
  });
  afterEach(() => here.end());

  const wasReset = (opened: Opened) =>
    vi.waitFor(() => expect(opened.follower.resets.length).toBeGreaterThan(0), 5_000);
  /** Processes of the server that serve followers of this log: they listen, join or read, and nothing else. */
  const listeners = async (): Promise<number[]> => {
    const rows = await here.sql(
      `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
         AND (query LIKE 'LISTEN%' OR query LIKE $1 OR query LIKE $2)`,
      [
        `%${here.options.prefix}_records%ORDER BY position LIMIT%`,
        `WITH head AS (%SELECT generation, position, id, founded%${here.options.prefix}_tags%`,
      ],
    );
    return rows.map(({ pid }) => Number(pid));
  };

  it("goes on without a reset when the connections that listen are killed", async () => {
    const one = await here.open();
    const two = await here.open();
    const first = await one.log.append(keys("before"));
    await saw(two, first);
    const pids = await listeners();
    expect(pids).toHaveLength(2);
    for (const pid of pids) await here.sql("SELECT pg_terminate_backend($1)", [pid]);
    const second = await one.log.append(keys("after"));
    await saw(two, second);
    await saw(one, second);
    // It listens again.
    await vi.waitFor(async () => expect(await listeners()).toHaveLength(2));
    expect(one.positions()).toEqual([first, second]);
    expect(two.positions()).toEqual([first, second]);
    expect([...one.follower.resets, ...two.follower.resets]).toEqual([]);
  });

  it.skipIf(process.env.TEST_DATABASE_URL)(
    "drops a connection that does not answer, and makes another",
    async () => {
      const one = await here.open();
      await saw(one, await one.log.append(keys("before")));
      const [frozen = never()] = await listeners();
      process.kill(frozen, "SIGSTOP");
      try {
        const two = await here.open();
        const last = await two.log.append(keys("after"));
        await saw(one, last);
        expect(one.follower.resets).toEqual([]);
        expect(one.warnings).toHaveLength(1);
      } finally {
        process.kill(frozen, "SIGCONT");
      }
    },
  );

  it.skipIf(process.env.TEST_DATABASE_URL)(
    "survives a crash of the server, which loses nothing that was acknowledged",
    { timeout: 60_000 },
    async () => {
      const one = await here.open();
      const two = await here.open();
      const first = await one.log.append(keys("before"));
      const [pid = never()] = await listeners();
      // The server ends all its processes and recovers when one of them is killed.
      process.kill(pid, "SIGKILL");
      const last = await vi.waitFor(() => one.log.append(keys("after")), 10_000);
      for (const each of [one, two]) {
        await saw(each, last);
        expect(each.positions()[0]).toBe(first);
        expect(each.follower.resets).toEqual([]);
        await vi.waitFor(() => expect(each.log.lag()).toBeLessThan(5_000));
      }
    },
  );

  it.skipIf(process.env.TEST_DATABASE_URL)(
    "notices when a crash lost what was acknowledged and not written (synchronous_commit off)",
    { timeout: 60_000 },
    async () => {
      const hasty = poolOf(server.url, { options: "-c synchronous_commit=off" });
      const one = await here.open({}, hasty);
      const two = await here.open({}, hasty);
      // A commit that waits writes all that came before it.
      await here.sql(`INSERT INTO ${here.table("tags")} VALUES ('another', 'cache', 0, 0)`);
      const [pid = never()] = await listeners();
      const risky = await one.log.append(keys("risky"));
      process.kill(pid, "SIGKILL");
      const last = await vi.waitFor(() => one.log.append(keys("after")), 10_000);
      const rows = await here.sql(`SELECT record FROM ${here.table("records")} WHERE position = $1`, [risky]);
      const survived = rows.some(({ record }) => String(record).includes("risky"));
      for (const each of [one, two]) {
        if (!survived && each.positions().includes(risky)) await wasReset(each);
        await vi.waitFor(() => expect(each.log.lag()).toBeLessThan(1_000));
      }
      const [head] = await here.sql(
        `SELECT generation, position FROM ${here.table("head")} WHERE name = 'shop'`,
      );
      if (!survived) expect(head?.generation).not.toBe(one.head.generation);
      expect(Number(head?.position)).toBeGreaterThanOrEqual(last);
      const more = await two.log.append(keys("more"));
      await saw(one, more);
      await saw(two, more);
      await one.log.close();
      await two.log.close();
      await hasty.end();
    },
  );

  it.each([
    ["head"],
    ["tags"],
    ["patterns"],
    ["followers"],
    ["head", "records", "tags", "patterns", "followers"],
  ])("is founded anew, and everybody told, when tables were emptied: %s %s %s %s %s", async (...emptied) => {
    const one = await here.open();
    const two = await here.open();
    const before = await one.log.append([{ kind: "tags", tags: ["t"] }]);
    await here.sql(`TRUNCATE ${emptied.map(here.table).join(", ")}`);
    await wasReset(one);
    await wasReset(two);
    const head = one.follower.resets.at(-1)?.head;
    expect(head?.generation).not.toBe(one.head.generation);
    expect(head?.position).toBeGreaterThan(before);
    expect(two.follower.resets.at(-1)?.head.generation).toBe(head?.generation);
    const last = await two.log.append(keys("after"));
    await saw(one, last);
    await saw(two, last);
  });

  it("counts tags as invalidated when their table was emptied, even before that was noticed", async () => {
    const log = here.server();
    await log.join("n", undefined, 5_000);
    const { position } = await log.append([{ id: "1", record: { kind: "tags", tags: ["t"] } }]);
    await here.sql(`TRUNCATE ${here.table("tags")}`);
    expect(await log.tagPositions(["t"])).toEqual([{ hard: position, soft: position }]);
    await here.sql(`TRUNCATE ${here.table("head")}`);
    const [lost] = await log.tagPositions(["t"]);
    expect(lost?.hard).toBeGreaterThan(position);
  });

  it("starts a new history when an older backup came back under living followers", async () => {
    const one = await here.open();
    const two = await here.open();
    await one.log.append(keys("kept"));
    await here.sql(`CREATE TABLE ${here.table("saved_head")} AS SELECT * FROM ${here.table("head")}`);
    await here.sql(`CREATE TABLE ${here.table("saved_records")} AS SELECT * FROM ${here.table("records")}`);
    try {
      const lost = await one.log.append(keys("lost 1"));
      await saw(two, lost);
      const client = await pool.connect();
      await client.query("BEGIN");
      for (const name of ["head", "records"]) {
        await client.query(`TRUNCATE ${here.table(name)}`);
        await client.query(`INSERT INTO ${here.table(name)} SELECT * FROM ${here.table(`saved_${name}`)}`);
      }
      await client.query("COMMIT");
      client.release();
      // Another process, which knows nothing of this, takes the position again.
      expect((await here.server().append(signed("again"))).position).toBe(lost);
      await wasReset(one);
      await wasReset(two);
      const generations = [one, two].map(({ follower }) => follower.resets.at(-1)?.head.generation);
      expect(generations[0]).not.toBe(one.head.generation);
      expect(generations[1]).toBe(generations[0]);
      const last = await one.log.append(keys("after"));
      expect(last).toBeGreaterThan(lost + 1);
      await saw(two, last);
    } finally {
      await here.sql(`DROP TABLE ${here.table("saved_head")}, ${here.table("saved_records")}`);
    }
  });

  it("resets followers that were away longer than records are kept, and goes on in the same generation", async () => {
    const one = await here.open();
    const two = await here.open();
    const first = await one.log.append(keys("a"));
    await saw(two, first);
    // Trimmed before anybody read them, in the eyes of both.
    const gone = `WITH h AS (UPDATE ${here.table("head")} SET position = position + 5, id = 'x' RETURNING 1) SELECT 1`;
    await here.sql(gone);
    await wasReset(one);
    await wasReset(two);
    expect(one.follower.resets.at(-1)).toMatchObject({
      head: { generation: one.head.generation, position: first + 5 },
      reason: "this process was away longer than the log remembers",
    });
    await saw(two, await one.log.append(keys("b")));
  });

  it("creates its tables again when they were dropped, or says so when it may not", async () => {
    const one = await here.open();
    await one.log.append(keys("a"));
    await here.sql(
      `DROP TABLE ${["head", "records", "tags", "patterns", "followers"].map(here.table).join(", ")}`,
    );
    const careful = here.server("shop", pool, { create: false });
    await expect(careful.append(signed("1"))).rejects.toThrow(/postgresLogSchema/);
    await wasReset(one);
    await saw(one, await one.log.append(keys("b")));
  });

  it("needs two clients of its pool, and gives them back when it is closed", async () => {
    const small = poolOf(server.url, { max: 2 });
    const one = await here.open({}, small);
    await one.log.append(keys("a"));
    expect(small.totalCount).toBe(2);
    await one.log.close();
    await expect(one.log.append(keys("b"))).rejects.toThrow(/closed/);
    await small.end();
    expect(small.totalCount).toBe(0);
  });

  it("waits for a pool that has no client left, without asking for ever more", async () => {
    const small = poolOf(server.url, { max: 2 });
    const held = [await small.connect(), await small.connect()];
    await expect(here.open({}, small)).rejects.toThrow(/did not answer/);
    expect(small.waitingCount).toBeLessThanOrEqual(3);
    for (const client of held) client.release();
    const one = await here.open({}, small);
    await saw(one, await one.log.append(keys("a")));
    await one.log.close();
    await small.end();
  });

  it.skipIf(process.env.TEST_DATABASE_URL)("works in databases of other encodings", async () => {
    await pool.query("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    const latin = poolOf(server.url.replace(/postgres$/, "latin"));
    const there = bench(latin);
    const one = await there.open({ cacheName: "läden 漢字" });
    await one.log.append([{ kind: "tags", tags: ["漢字 😀"] }, ...keys("漢字")]);
    expect(one.follower.seen.map(({ record }) => record)).toEqual([
      { kind: "tags", tags: ["漢字 😀"] },
      ...keys("漢字"),
    ]);
    await there.end();
    await latin.end();
  });
});
