import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { CacheError, OptionError } from "../../src/base/errors.ts";
import { type PostgresClient, postgres } from "../../src/sources/postgres.ts";
import { CLIENTS, tableName } from "./postgres-clients.ts";

type Row = Record<string, unknown>;

/** A client that remembers the statements it was given. */
function watched(client: PostgresClient) {
  const statements: string[] = [];
  return {
    statements,
    query(text: string, params?: unknown[]) {
      statements.push(text);
      return client.query(text, params);
    },
  };
}

for (const { name, connect } of CLIENTS.slice(0, 2)) {
  describe(`postgres() with ${name}`, () => {
    let client: PostgresClient & { end(): Promise<void> };
    let table: string;
    beforeAll(async () => {
      client = await connect();
    });
    afterAll(() => client.end());
    beforeEach(() => {
      table = tableName();
    });
    afterEach(async () => {
      vi.unstubAllEnvs();
      await client.query(`DROP TABLE IF EXISTS ${table}`);
    });

    const create = (columns: string) => client.query(`CREATE TABLE ${table} (${columns})`);
    const textOf = async (id: unknown) =>
      (
        await client.query(`SELECT whole::text AS text FROM ${table} AS whole WHERE id::text = $1`, [
          String(id),
        ])
      ).rows[0]?.text;

    it.each([
      ["UTC", 0],
      ["America/New_York", 300],
      ["Asia/Kolkata", -330],
    ])(
      "saves each type as its column has it, and what it loaded without change, in %s",
      async (zone, offset) => {
        vi.stubEnv("TZ", zone);
        expect(new Date(2026, 0).getTimezoneOffset()).toBe(offset);
        await create(`id int PRIMARY KEY, n numeric, f float8, d date, ts timestamp(3), tz timestamptz(3), b bytea,
        bs bytea[], i8 int8[], t text[], j jsonb, js json, u uuid, iv interval, ok boolean, days date[], twice int
        GENERATED ALWAYS AS (id * 2) STORED`);
        await client.query(`INSERT INTO ${table} VALUES (1, 12345678901234567890.10, 'NaN', '2024-03-05',
        '2024-07-05 10:11:12.345', '1999-12-31 23:59:59.999Z', '\\x00ff', '{"\\\\x01"}', '{1,9007199254740993,null}',
        '{"a,b","\\"","",NULL}', '{"a":[1,"x",null]}', '[1,{"b":2}]', '0b5b6b0e-7d0c-4c6a-9c6e-000000000001',
        '1 day 02:03:04', true, '{2024-01-01,1900-02-28}')`);
        const source = postgres<Row, number>(client, { table, key: "id" });
        const before = await textOf(1);
        const loaded = (await source.load([1])).get(1);
        expect(loaded?.twice).toBe(2);
        expect(Object.keys(loaded ?? {})).toHaveLength(17);
        await source.save([
          [1, loaded ?? {}],
          [2, { ...loaded, id: 2 }],
        ]);
        expect(await textOf(1)).toBe(before);
        expect(await textOf(2)).toBe(before?.toString().replace("(1,", "(2,").replace(/,2\)$/, ",4)"));
      },
    );

    it("saves numbers that JSON has no word for, bigints inside documents, and text that looks like JSON", async () => {
      await create("id text PRIMARY KEY, f float8, j jsonb, t text");
      const source = postgres<Row>(client, { table, key: "id" });
      await source.save([["a", { f: -Infinity, j: { n: 2n ** 70n, list: [1n] }, t: '{"not": "parsed"}' }]]);
      expect(await textOf("a")).toBe(
        `(a,-Infinity,"{""n"": ${2n ** 70n}, ""list"": [1]}","{""not"": ""parsed""}")`,
      );
      await expect(source.save([["b", { t: new Date(Number.NaN) }]])).rejects.toThrow(RangeError);
    });

    it("saves dates of any year that the database knows", async () => {
      await create("id text PRIMARY KEY, at timestamptz");
      const source = postgres<Row>(client, { table, key: "id" });
      const years = [-43, 0, 1, 99, 2026, 10_000];
      await source.save(
        years.map((year) => {
          const at = new Date(0);
          at.setUTCFullYear(year);
          return [String(year), { at }];
        }),
      );
      const { rows } = await client.query(
        `SELECT id, to_char(at AT TIME ZONE 'UTC', 'FMYYYY-MM-DD BC') AS at FROM ${table}`,
      );
      expect(new Map(rows.map((row) => [Number(row.id), row.at]))).toEqual(
        new Map(years.map((year) => [year, `${year > 0 ? year : 1 - year}-01-01 ${year > 0 ? "AD" : "BC"}`])),
      );
    });

    it("answers by the caller's own keys, whatever type the client gives the column", async () => {
      await create("id bigint PRIMARY KEY, name text");
      const source = postgres<Row, string | number | bigint>(client, { table, key: "id" });
      await source.save([
        [5, { name: "five" }],
        [2n ** 60n, { name: "huge" }],
      ]);
      const found = await source.load([5, "5", 5n, "05", 2n ** 60n, 6]);
      expect([...found.keys()].sort()).toEqual([5, "5", 5n, "05", 2n ** 60n].sort());
      expect(found.get("05")?.name).toBe("five");
      expect(await source.delete([5, "5", 7n])).toBe(1);
    });

    it.each([
      ["bigint", ["1", "abc", "1.5", "", "99999999999999999999", "1;", "\0", "-0x1"]],
      ["uuid", ["0B5B6B0E-7D0C-4C6A-9C6E-000000000001", "abc", "", "0b5b6b0e"]],
      ["text", ["fine", "nul\0", "lone\ud800"]],
      ["numeric", ["1.50"]],
      ["char(4)", ["ab"]],
    ])(
      "takes keys that a %s cannot hold for missing, and loads the others",
      async (type, [good = "", ...bad]) => {
        await create(`id ${type} PRIMARY KEY`);
        const source = postgres<Row>(client, { table, key: "id" });
        await source.save([[good, {}]]);
        expect([...(await source.load([good, ...bad])).keys()]).toEqual([good]);
        expect(await source.load(bad)).toEqual(new Map());
        expect(await source.delete(bad)).toBe(0);
        expect(await source.delete([good, ...bad])).toBe(1);
      },
    );

    it("leaves the database to say which keys are equal", async () => {
      await create("id numeric PRIMARY KEY");
      const source = postgres<Row>(client, { table, key: "id" });
      await source.save([["1.50", {}]]);
      expect([...(await source.load(["1.5", "1.500", "1.51"])).keys()].sort()).toEqual(["1.5", "1.500"]);
    });

    it("keeps the columns that a value does not have, even those that a new row must have", async () => {
      await create("id text PRIMARY KEY, name text NOT NULL, price int NOT NULL DEFAULT 1, note text");
      const source = postgres<Row>(client, { table, key: "id" });
      await source.save([["a", { name: "A", price: 5, note: "x" }]]);
      await source.save([["a", { price: 6 }]]);
      expect(await textOf("a")).toBe("(a,A,6,x)");
      await source.save([["a", { name: "B", price: undefined, note: null }]]);
      expect(await textOf("a")).toBe("(a,B,6,)");
      await expect(source.save([["b", { price: 6 }]])).rejects.toThrow(/null value in column "name"/);
    });

    it("saves values of different columns in one statement: all or nothing", async () => {
      await create("id text PRIMARY KEY, name text, price int CHECK (price > 0)");
      const client2 = watched(client);
      const source = postgres<Row>(client2, { table, key: "id" });
      await source.save([["a", {}]]);
      client2.statements.length = 0;
      await source.save([
        ["a", { price: 1 }],
        ["b", { name: "B" }],
        ["c", { name: "C", price: 3 }],
        ["d", {}],
      ]);
      expect(client2.statements).toHaveLength(1);
      expect([await textOf("a"), await textOf("b"), await textOf("c"), await textOf("d")]).toEqual([
        "(a,,1)",
        "(b,B,)",
        "(c,C,3)",
        "(d,,)",
      ]);
      const save = source.save([
        ["a", { name: "A" }],
        ["b", { price: -1 }],
      ]);
      await expect(save).rejects.toThrow(/check constraint/);
      expect(await textOf("a")).toBe("(a,,1)");
    });

    it("loads and saves only the columns it is told", async () => {
      await create("id text PRIMARY KEY, name text NOT NULL, secret text NOT NULL");
      await client.query(`INSERT INTO ${table} VALUES ('a', 'A', 's')`);
      const source = postgres<Row>(client, { table, key: "id", columns: ["name"] });
      expect(await source.load(["a"])).toEqual(new Map([["a", { name: "A" }]]));
      await source.save([["a", { name: "B", secret: "ignored" }]]);
      expect(await textOf("a")).toBe("(a,B,s)");
    });

    it("serves tables and columns that are named like parts of its statements", async () => {
      await client.query(`CREATE SCHEMA ${table}`);
      await client.query(
        `CREATE TABLE ${table}.rows1 (id int PRIMARY KEY, t int NOT NULL, k int, place int, text text)`,
      );
      const source = postgres<Row, number>(client, { table: `${table}.rows1`, key: "id" });
      const row = { id: 1, t: 2, k: 3, place: 4, text: "5" };
      await source.save([[1, row]]);
      await source.save([[1, { k: 6 }]]);
      expect((await source.load([1])).get(1)).toEqual({ ...row, k: 6 });
      expect(await source.delete([1])).toBe(1);
      await client.query(`DROP SCHEMA ${table} CASCADE`);
    });

    it("quotes names of any content", async () => {
      const schema = `${table}.s`;
      await client.query(`CREATE SCHEMA "${schema}"`);
      await client.query(`CREATE TABLE "${schema}"."T ""x""" ("the "" Key" int PRIMARY KEY, "Or--der" text)`);
      const source = postgres<Row, number>(client, { table: `"${schema}"."T ""x"""`, key: 'the " Key' });
      await source.save([[1, { "Or--der": "o" }]]);
      expect((await source.load([1])).get(1)).toEqual({ 'the " Key': 1, "Or--der": "o" });
      expect(await source.delete([1])).toBe(1);
      await client.query(`DROP SCHEMA "${schema}" CASCADE`);
    });

    it("makes values from rows and rows from values", async () => {
      await create("id int PRIMARY KEY, first text, last text");
      const source = postgres<string, number>(client, {
        table,
        key: "id",
        fromRow: (row) => `${row.first} ${row.last}`,
        toRow: (value) => ({ first: value.split(" ")[0], last: value.split(" ")[1] }),
      });
      await source.save([[1, "Ada Lovelace"]]);
      expect(await source.load([1])).toEqual(new Map([[1, "Ada Lovelace"]]));
    });

    it.each(["bigint", "text", "uuid"])("loads by a query of one's own over %s keys", async (type) => {
      await create(`id ${type} PRIMARY KEY, name text`);
      const key = type === "uuid" ? "0b5b6b0e-7d0c-4c6a-9c6e-000000000001" : "7";
      const load = `SELECT id, upper(name) AS name FROM ${table} WHERE id = ANY($1)`;
      const source = postgres<Row>(client, { table, key: "id", load });
      await source.save([[key, { name: "n" }]]);
      expect((await source.load([key, "8"])).get(key)?.name).toBe("N");
    });

    it("says when a query of one's own answers what was not asked for", async () => {
      await create("id text PRIMARY KEY");
      await client.query(`INSERT INTO ${table} VALUES ('a'), ('b')`);
      const load = `SELECT * FROM ${table} WHERE $1::text[] IS NOT NULL`;
      const source = postgres<Row>(client, { table, key: "id", load });
      await expect(source.load(["a"])).rejects.toThrow(/row whose "id" is "b", which was not asked for/);
    });

    it("makes one statement a call, none for nothing, and splits only very long loads", async () => {
      await create("id int PRIMARY KEY, name text");
      const counted = watched(client);
      const source = postgres<Row, number>(counted, { table, key: "id", keyType: "INT" });
      const ids = Array.from({ length: 10_001 }, (_, id) => id);
      await source.load([]);
      await source.save([]);
      await source.delete([]);
      expect(counted.statements).toHaveLength(0);
      await source.load(ids.slice(0, 10_000));
      expect(counted.statements).toHaveLength(1);
      await source.save(ids.map((id) => [id, { name: `n${id}` }]));
      expect(counted.statements).toHaveLength(3); // The first save looks at the table's columns.
      expect((await source.load(ids)).size).toBe(10_001);
      expect(counted.statements).toHaveLength(5);
      expect(await source.delete(ids)).toBe(10_001);
      expect(counted.statements).toHaveLength(6);
    });

    it("passes on the database's own errors, and tries again the next time", async () => {
      const source = postgres<Row>(client, { table, key: "id" });
      await expect(source.load(["a"])).rejects.toMatchObject({ code: "42P01" });
      await create("id text PRIMARY KEY");
      expect((await source.load(["a"])).size).toBe(0);
      await expect(postgres<Row>(client, { table, key: "sku" }).load(["a"])).rejects.toThrow(
        /has no column "sku": check the option "key"/,
      );
    });

    it("refuses values that are no rows, or rows of another key", async () => {
      await create("id text PRIMARY KEY");
      const source = postgres<unknown>(client, { table, key: "id" });
      for (const value of [null, "text", 5, [1]])
        await expect(source.save([["a", value]])).rejects.toThrow(/not a row: give `toRow`/);
      await expect(source.save([["a", { id: "b" }]])).rejects.toThrow(CacheError);
      expect((await source.load(["a", "b"])).size).toBe(0);
    });

    it("keeps any text, whatever it is made of", async () => {
      await create("id text PRIMARY KEY, list text[], doc jsonb");
      const source = postgres<Row>(client, { table, key: "id" });
      const text = fc.string({ unit: "grapheme" }).filter((value) => !value.includes("\0"));
      const rows = fc.dictionary(text, fc.record({ list: fc.array(text), doc: fc.dictionary(text, text) }));
      await fc.assert(
        fc.asyncProperty(rows, async (given) => {
          const entries = Object.entries(given).map(([id, value]) => [id, { id, ...value }] as const);
          await source.save(entries);
          const found = await source.load(entries.map(([id]) => id));
          expect(found.size).toBe(entries.length);
          for (const [id, value] of entries) expect(found.get(id)).toEqual(value);
        }),
        { numRuns: 50 },
      );
    });
  });
}

describe("postgres()", () => {
  const client: PostgresClient = { query: async () => Promise.reject(new Error("connection refused")) };

  it.each([
    ["table", { table: "", key: "id" }],
    ["table", { table: "a.b.c", key: "id" }],
    ["table", { table: 'a"b', key: "id" }],
    ["table", { table: '"open', key: "id" }],
    ["table", { table: "a.", key: "id" }],
    ["table", { table: ".a", key: "id" }],
    ["key", { table: "t", key: "" }],
    ["columns", { table: "t", key: "id", columns: [] }],
    ["columns[1]", { table: "t", key: "id", columns: ["a", ""] }],
    ["keyType", { table: "t", key: "id", keyType: "int); DROP TABLE t; --" }],
    ["load", { table: "t", key: "id", load: "SELECT 1" }],
  ])("refuses a bad %s where it is given", (path, options) => {
    expect(() => postgres(client, options)).toThrow(OptionError);
    expect(() => postgres(client, options)).toThrow(`Option "${path}" is `);
  });

  it("refuses functions and clients that are none", () => {
    // Reason of the casts: what a caller without types may give.
    const wrong = { table: "t", key: "id", fromRow: "x" } as unknown as { table: string; key: string };
    expect(() => postgres(client, wrong)).toThrow('Option "fromRow"');
    expect(() => postgres({} as unknown as PostgresClient, { table: "t", key: "id" })).toThrow(
      'Option "client"',
    );
  });

  it("passes on the error of a connection", async () => {
    const source = postgres(client, { table: "t", key: "id", keyType: "text" });
    await expect(source.load(["a"])).rejects.toThrow("connection refused");
    await expect(source.save([["a", {}]])).rejects.toThrow("connection refused");
    await expect(source.delete(["a"])).rejects.toThrow("connection refused");
  });
});
