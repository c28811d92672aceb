import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OptionError, StoreError } from "../../src/base/errors.ts";
import type { LogRecord } from "../../src/coherence/log.ts";
import {
  type PostgresLogClient,
  postgresLog,
  postgresLogSchema,
} from "../../src/coherence/postgres/index.ts";
import { logContract } from "../../src/testing/log-contract.ts";
import { type Bench, bench, CLIENTS, caughtUp, contextOf } from "./postgres-log-setup.ts";

/** Texts that SQL, `text` columns and indexes have trouble with. */
const HOSTILE = [
  "'",
  '"',
  '"; DROP TABLE users; --',
  "\\",
  "\\*",
  "\\\\*",
  "\0",
  "\\u0000",
  "a\0b",
  "\ud800",
  "\\ud800",
  "\udfff\ud800",
  "é",
  "e\u0301",
  "漢字 😀",
  "%_$1 {} ,",
  "\u2028\n\r\t\u0007",
  "",
  " ",
  "x".repeat(5_000),
  `${"x".repeat(5_000)}y`,
  "\0".repeat(3_000),
];

for (const { name, connect } of CLIENTS) {
  describe(`postgresLog() with ${name}`, () => {
    let client: PostgresLogClient;
    let end: () => Promise<void>;
    let here: Bench;
    const benches: Bench[] = [];
    const another = (): Bench => {
      const made = bench(client);
      benches.push(made);
      return made;
    };
    beforeAll(async () => {
      ({ client, end } = await connect());
    });
    afterAll(() => end());
    beforeEach(() => {
      here = another();
    });
    afterEach(async () => {
      for (const one of benches.splice(0)) await one.end();
    });

    logContract({ describe, it }, name, () => {
      const { options, sql, table } = another();
      return caughtUp(postgresLog(client, options), sql, table("head"));
    });

    it("says what to do when its tables are not there, and works once they are", async () => {
      const { prefix = "" } = here.options;
      const log = postgresLog(client, { prefix })(contextOf());
      const failed = await Promise.resolve(log.open({ apply() {}, reset() {} })).catch((error) => error);
      expect(failed).toBeInstanceOf(StoreError);
      expect(failed.message).toMatch(/postgresLogSchema\(\).*create: true/);
      await log.close();
      for (const statement of postgresLogSchema({ prefix }).split(";\n")) await client.query(statement);
      const again = postgresLog(client, { prefix })(contextOf());
      expect((await again.open({ apply() {}, reset() {} })).position).toBeGreaterThan(Date.now() - 3_600_000);
      await again.close();
    });

    it("creates its tables once when many open at the same moment", async () => {
      const opened = await Promise.all(Array.from({ length: 4 }, () => here.open()));
      expect(new Set(opened.map(({ head }) => head.generation)).size).toBe(1);
    });

    it("keeps caches of any names apart, and keys and tags as they are", { timeout: 60_000 }, async () => {
      const records = HOSTILE.flatMap((text, i): LogRecord[] => [
        { kind: "keys", keys: [text] },
        { kind: "tags", tags: [text], soft: i % 2 === 1 },
        { kind: "prefix", prefix: text },
      ]);
      const positions = new Map<string, number>();
      for (const cacheName of HOSTILE) {
        const server = here.server(cacheName);
        const before = await server.join("node", undefined, 5_000);
        const signed = records.map((record, i) => ({ id: `id${i}`, record }));
        expect(await server.append(signed)).toEqual({
          generation: before.generation,
          position: before.position + records.length,
        });
        positions.set(cacheName, before.position);
        await server.close();
      }
      for (const [cacheName, before] of positions) {
        const server = here.server(cacheName);
        const read = await server.read(before, 1_000, 1);
        expect(read.map(({ record }) => record)).toEqual(records);
        const tags = await server.tagPositions([...HOSTILE, "never"]);
        for (const [i, tag] of tags.entries()) {
          const at = before + i * 3 + 2;
          const expected = i % 2 === 1 ? { hard: before, soft: at } : { hard: at, soft: 0 };
          // What is older than the founding counts as invalidated.
          expect(tag).toEqual(i === HOSTILE.length ? { hard: before, soft: 0 } : expected);
        }
        const patterns = await server.patterns();
        expect(patterns.map(({ record }) => record)).toEqual(records.filter(({ kind }) => kind === "prefix"));
        for (const pattern of patterns) await server.swept(pattern);
        expect(await server.patterns()).toEqual([]);
        await server.close();
      }
    });

    it("tells where it stands against what a follower applied", async () => {
      const server = here.server();
      const founded = await server.join("a", undefined, 5_000);
      expect(founded).toMatchObject({ standing: "new", id: founded.generation });
      const from = founded.position;
      const keys = (id: string) => ({ id, record: { kind: "keys", keys: ["k"] } as const });
      await server.append(["1", "2", "3", "4"].map(keys));
      const standing = async (position: number, id: string) =>
        (await server.join("b", { position, id }, 5_000)).standing;
      expect(await standing(from, founded.generation)).toBe("same");
      expect(await standing(from, "x")).toBe("other");
      expect(await standing(from - 1, "x")).toBe("other");
      expect(await standing(from + 2, "2")).toBe("same");
      expect(await standing(from + 2, "3")).toBe("other");
      expect(await standing(from + 4, "4")).toBe("same");
      expect(await standing(from + 4, "5")).toBe("other");
      expect(await standing(from + 5, "5")).toBe("other");
      await here.sql(`DELETE FROM ${here.table("records")} WHERE position <= $1`, [from + 2]);
      expect(await standing(from, founded.generation)).toBe("trimmed");
      expect(await standing(from + 1, "1")).toBe("trimmed");
      expect(await standing(from + 3, "3")).toBe("same");
      await here.sql(`DELETE FROM ${here.table("records")} WHERE position = $1`, [from + 4]);
      expect(await standing(from + 3, "3")).toBe("trimmed");
      expect(await standing(from + 4, "4")).toBe("same");
      const renounced = await server.renounce(founded.generation, from + 100);
      expect(renounced.generation).not.toBe(founded.generation);
      expect(renounced.position).toBeGreaterThan(from + 100);
      expect(await server.renounce(founded.generation, from + 900)).toEqual(renounced);
      expect(await standing(from + 4, "4")).toBe("other");
    });

    it("keeps keys that are pending until they are swept, and sweeps no other record", async () => {
      const server = here.server();
      const { position } = await server.append([
        { id: "1", record: { kind: "keys", keys: ["gone"] } },
        { id: "2", record: { kind: "keys", keys: ["k"], pending: true, soft: true } },
      ]);
      const record = { soft: true, pending: true, keys: ["k"], kind: "keys" } as const;
      expect(await server.patterns()).toEqual([{ position, record }]);
      await server.swept({ position, record: { kind: "keys", keys: ["of another history"], pending: true } });
      expect(await server.patterns()).toHaveLength(1);
      await server.swept({ position, record });
      expect(await server.patterns()).toEqual([]);
    });

    it("answers appends that share a statement each with its own place and generation", async () => {
      const server = here.server();
      const { position, generation } = await server.join("n", undefined, 5_000);
      const keys = { id: "k", record: { kind: "keys", keys: ["k"] } } as const;
      const clear = { id: "c", record: { kind: "clear", generation: "next" } } as const;
      const batches = [[keys], [keys, keys], [keys, clear], [keys], [], [clear, keys]];
      expect(await Promise.all(batches.map((records) => server.append(records)))).toEqual([
        { generation, position: position + 1 },
        { generation, position: position + 3 },
        { generation: "next", position: position + 5 },
        { generation: "next", position: position + 6 },
        { generation: "next", position: position + 6 },
        { generation: "next", position: position + 8 },
      ]);
      expect(await server.append([])).toEqual({ generation: "next", position: position + 8 });
      expect((await server.join("n", { position: position + 8, id: "k" }, 5_000)).standing).toBe("same");
    });

    it("forgets all tags when there are too many, and counts them as invalidated then", async () => {
      const server = here.server("shop", client, { maxTags: 10 });
      let last = 0;
      const tag = async (...tags: string[]) => {
        ({ position: last } = await server.append([{ id: "i", record: { kind: "tags", tags } }]));
      };
      for (let i = 0; i < 30; i++) await tag("hot", "warm");
      const [never] = await server.tagPositions(["cold"]);
      expect(never?.soft).toBe(0);
      expect(never?.hard).toBe(last - 30); // its founding
      for (let i = 0; i < 12; i++) await tag(`t${i}`);
      // It goes on in the background: closing waits for it.
      await server.close();
      const other = here.server();
      const [hot, cold] = await other.tagPositions(["hot", "cold"]);
      expect(cold?.hard).toBeGreaterThan(last - 12);
      expect(cold?.soft).toBe(cold?.hard);
      expect(hot?.hard).toBeGreaterThanOrEqual(cold?.hard ?? Number.NaN);
      expect(await here.sql(`SELECT tag FROM ${here.table("tags")}`)).not.toContainEqual({ tag: "hot" });
      // Known again for a soft invalidation: of hard ones it still tells no less than before.
      const { position } = await other.append([
        { id: "i", record: { kind: "tags", tags: ["hot"], soft: true } },
      ]);
      expect(await other.tagPositions(["hot"])).toEqual([{ hard: cold?.hard, soft: position }]);
    });

    it("keeps the newest 100,000 records", { timeout: 120_000 }, async () => {
      const server = here.server();
      const { position: begin } = await server.join("n", undefined, 5_000);
      const record = { kind: "keys", keys: ["k"] } as const;
      for (let i = 0; i < 11; i++)
        await server.append(Array.from({ length: 10_000 }, (_, n) => ({ id: `${i}.${n}`, record })));
      const [kept] = await here.sql(
        `SELECT count(*)::int AS n, min(position)::text AS first FROM ${here.table("records")}`,
      );
      expect(kept).toEqual({ n: 100_000, first: String(begin + 10_001) });
    });
  });
}

describe("postgresLog()", () => {
  const client: PostgresLogClient = { query: async () => ({ rows: [] }) };

  it.each([
    [{ schema: "" }, "postgresLog.schema"],
    [{ schema: "a\0" }, "postgresLog.schema"],
    [{ prefix: "x".repeat(41) }, "postgresLog.prefix"],
    [{ create: 1 }, "postgresLog.create"],
    [{ poll: "2s" }, "postgresLog.poll"],
    [{ poll: 0 }, "postgresLog.poll"],
    [{ maxTags: 0 }, "postgresLog.maxTags"],
    [{ maxtags: 1 }, "postgresLog.maxtags"],
  ])("refuses %j", (options, path) => {
    // Reason of the cast: what a program without types may give.
    expect(() => postgresLog(client, options as never)).toThrow(expect.objectContaining({ path }));
  });

  it("refuses what is no client, and a pool of one, which the log would use up", () => {
    expect(() => postgresLog({} as never)).toThrow(OptionError);
    expect(() => postgresLog({ ...client, options: { max: 1 } } as never)).toThrow(/2 or more/);
  });

  it("prints SQL whose names cannot break out of it", () => {
    const sql = postgresLogSchema({ schema: 'a"b', prefix: 'c"; DROP TABLE d; --' });
    expect(sql).toContain('CREATE TABLE IF NOT EXISTS "a""b"."c""; DROP TABLE d; --_head" (');
    expect(() => postgresLogSchema({ create: true } as never)).toThrow(OptionError);
  });
});
