import assert from "node:assert/strict";
import type { Source } from "../sources/source.ts";
import type { SuiteApi } from "./suite.ts";

/** The values of the contract. A source under test keeps each field as it is. */
export interface ContractRow {
  readonly id: string;
  readonly title: string | null;
  /** To the millisecond. */
  readonly at: Date | null;
  /** A whole number of 64 bits; a source may load it as a bigint, a number (when safe) or its digits. */
  readonly big: bigint | number | string | null;
  /** A JSON document. */
  readonly doc: unknown;
}

/** A source under test, and nothing in it yet. */
export interface OpenedSource {
  readonly source: Source<string, ContractRow>;
  /** A value that the source must refuse to save, for a reason of its own (a check, a constraint). */
  readonly refused: ContractRow;
  close(): Promise<void>;
}

/**
 * The tests that every source passes. Works with any test runner: it takes `describe` and `it` and asserts
 * by `node:assert`.
 * @param open makes an empty source; called, and closed again, for each test.
 * @example
 * import { describe, it } from "node:test";
 * sourceContract({ describe, it }, "my source", openMySource);
 */
export function sourceContract(suite: SuiteApi, name: string, open: () => Promise<OpenedSource>): void {
  const it = (behaviour: string, body: (opened: OpenedSource) => Promise<void>) =>
    suite.it(behaviour, async () => {
      const opened = await open();
      try {
        await body(opened);
      } finally {
        await opened.close();
      }
    });

  suite.describe(`${name} keeps the contract of a source`, () => {
    it("loads many in one step, and says nothing of keys that do not exist", async ({ source }) => {
      await source.save(["a", "b", "c"].map((id) => [id, row(id)]));
      const found = await source.load(["c", "missing", "a"]);
      assert.deepEqual([...found.keys()].sort(), ["a", "c"]);
      same(found.get("a"), row("a"));
      same(found.get("c"), row("c"));
    });

    it("answers a key that is asked for twice once", async ({ source }) => {
      await source.save([["a", row("a")]]);
      assert.deepEqual([...(await source.load(["a", "a", "b", "b"])).keys()], ["a"]);
    });

    it("does nothing with nothing", async ({ source }) => {
      assert.equal((await source.load([])).size, 0);
      await source.save([]);
      assert.equal(await source.delete([]), 0);
    });

    it("inserts what is new and replaces what is there in one save", async ({ source }) => {
      await source.save([["a", row("a", { title: "old" })]]);
      await source.save([
        ["a", row("a", { title: "new" })],
        ["b", row("b")],
      ]);
      const found = await source.load(["a", "b"]);
      assert.equal(found.get("a")?.title, "new");
      assert.equal(found.size, 2);
    });

    it("keeps the last of the values that one save has for a key", async ({ source }) => {
      await source.save([
        ["a", row("a", { title: "first" })],
        ["a", row("a", { title: "last" })],
      ]);
      assert.equal((await source.load(["a"])).get("a")?.title, "last");
    });

    it("saves all or nothing", async ({ source, refused }) => {
      await source.save([["old", row("old", { title: "before" })]]);
      const save = source.save([
        ["new", row("new")],
        ["old", row("old", { title: "after" })],
        [refused.id, refused],
      ]);
      await assert.rejects(save);
      const found = await source.load(["new", "old", refused.id]);
      assert.deepEqual([...found.keys()], ["old"]);
      assert.equal(found.get("old")?.title, "before");
    });

    it("deletes many in one step and counts those that existed", async ({ source }) => {
      await source.save(["a", "b", "c"].map((id) => [id, row(id)]));
      assert.equal(await source.delete(["a", "b", "b", "missing"]), 2);
      assert.deepEqual([...(await source.load(["a", "b", "c"])).keys()], ["c"]);
      assert.equal(await source.delete(["a"]), 0);
    });

    it("takes keys of any content as nothing but keys", async ({ source }) => {
      await source.save(KEYS.map((id) => [id, row(id)]));
      const found = await source.load(KEYS);
      assert.deepEqual([...found.keys()].sort(), [...KEYS].sort());
      for (const id of KEYS) same(found.get(id), row(id));
      assert.equal(await source.delete(KEYS.slice(1)), KEYS.length - 1);
      assert.deepEqual([...(await source.load(KEYS)).keys()], KEYS.slice(0, 1));
    });

    it("keeps null, dates, numbers beyond 2^53 and documents", async ({ source }) => {
      const rows = [
        row("null", { title: null, at: null, big: null, doc: null }),
        row("zero", { title: "", at: new Date(0), big: 0n, doc: {} }),
        row("big", { big: 2n ** 63n - 1n, at: new Date("1969-07-20T20:17:40.123Z") }),
        row("small", { big: -(2n ** 63n) }),
        row("doc", { doc: { list: [1, [true, null], { "": 'a"b\\c' }], text: "ü\n😀", number: 1.5e-7 } }),
        row("list", { doc: [1, 2, { a: [] }] }),
        row("text", { doc: "a string" }),
      ];
      await source.save(rows.map((value) => [value.id, value]));
      const found = await source.load(rows.map(({ id }) => id));
      for (const value of rows) same(found.get(value.id), value);
    });

    it("saves what it loaded without changing it", async ({ source }) => {
      const value = row("a", { big: 2n ** 60n + 1n, doc: { deep: [{ x: null }] } });
      await source.save([["a", value]]);
      const loaded = (await source.load(["a"])).get("a");
      assert.ok(loaded !== undefined);
      await source.save([["a", loaded]]);
      same((await source.load(["a"])).get("a"), value);
    });

    it("serves calls that overlap", async ({ source }) => {
      await Promise.all(["a", "b", "c", "d"].map((id) => source.save([[id, row(id)]])));
      const found = await Promise.all(["a", "b", "c", "d"].map((id) => source.load([id])));
      assert.deepEqual(
        found.flatMap((map) => [...map.keys()]),
        ["a", "b", "c", "d"],
      );
    });

    it("rejects with the reason of a signal that is aborted, and changes nothing", async ({ source }) => {
      await source.save([["a", row("a")]]);
      const reason = new Error("no longer wanted");
      const signal = AbortSignal.abort(reason);
      const isReason = (error: unknown) => error === reason;
      await assert.rejects(source.load(["a"], { signal }), isReason);
      await assert.rejects(source.save([["b", row("b")]], { signal }), isReason);
      await assert.rejects(source.delete(["a"], { signal }), isReason);
      assert.deepEqual([...(await source.load(["a", "b"])).keys()], ["a"]);
    });

    it("stops waiting when the signal aborts, and works on", async ({ source }) => {
      await source.save([["a", row("a")]]);
      const abort = new AbortController();
      const reason = new Error("no longer wanted");
      const load = source.load(["a"], { signal: abort.signal });
      abort.abort(reason);
      await assert.rejects(load, (error) => error === reason);
      assert.equal((await source.load(["a"])).size, 1);
    });
  });
}

const KEYS: readonly string[] = [
  "plain",
  "Plain",
  " spaces ",
  "it's",
  'say "hi"',
  "back\\slash",
  "a,b{c}",
  "{}",
  "NULL",
  "null",
  "$1",
  "%s%",
  "tab\tnew\nline",
  "'); DROP TABLE contract; --",
  "ключ-鍵-😀",
  "e\u0301",
  "\u00e9",
  "x".repeat(500),
];

function row(id: string, facts: Partial<ContractRow> = {}): ContractRow {
  const at = new Date("2026-02-28T23:59:59.999Z");
  return { id, title: `title of ${id}`, at, big: 7n, doc: { id }, ...facts };
}

/** Compares field by field; numbers of 64 bits by their digits, since clients differ in their type. */
function same(actual: ContractRow | undefined, expected: ContractRow): void {
  assert.ok(actual !== undefined, `${expected.id} is missing`);
  const comparable = ({ id, title, at, big, doc }: ContractRow) => ({
    ...{ id, title, doc },
    at: at === null ? null : at.toISOString(),
    big: big === null ? null : String(big),
  });
  assert.deepEqual(comparable(actual), comparable(expected));
}
