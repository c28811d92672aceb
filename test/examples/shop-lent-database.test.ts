import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Database, DatabaseDown, openPglite } from "../../examples/shop/database.ts";
import { askedDatabase } from "../../examples/shop/processes/asked-database.ts";
import { lentDatabase } from "../../examples/shop/processes/lent-database.ts";
import type { DatabaseRequest, ToWorker } from "../../examples/shop/processes/messages.ts";

let folder = "";
let database: Database;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "shop-lent-"));
  database = await openPglite(join(folder, "database"));
  await database.query("create table t (id int primary key, at timestamptz)");
});
afterAll(async () => {
  await database?.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  vi.useRealTimers();
  await database.query("delete from t");
});

/** The two ends, with copies of their messages between them as there are between processes. */
function lend(from: Pick<Database, "query" | "transaction"> = database) {
  const lent = lentDatabase(from, (message: ToWorker) => {
    if (!asked.take(structuredClone(message))) throw new Error("Only replies come back.");
  });
  const asked = askedDatabase((request: DatabaseRequest) => lent.take(structuredClone(request)));
  return { asked, lent };
}
const ids = async () =>
  (await database.query<{ id: number }>("select id from t order by id")).rows.map((row) => row.id);

describe("a database lent to another process", () => {
  it("answers with the values of the types they have there, and counts the statements of the borrower", async () => {
    const { asked } = lend();
    const at = new Date("2026-01-02T03:04:05.678Z");
    await asked.query("insert into t values ($1, $2)", [1, at]);
    expect((await asked.query("select * from t")).rows).toEqual([{ id: 1, at }]);
    expect(asked.statements).toBe(2);
  });

  it("passes on why a statement was refused", async () => {
    const { asked } = lend();
    await expect(asked.query("select nonsense")).rejects.toMatchObject({ code: "42703" });
  });

  it("runs a transaction as one: all of it, or none when it fails", async () => {
    const { asked } = lend();
    const two = lend().asked;
    await asked.transaction((query) => query("insert into t values (1)"));
    const failing = asked.transaction(async (query) => {
      await query("insert into t values (2)");
      throw new Error("enough");
    });
    // Of another borrower, and not within the transaction that fails.
    const other = two.query("insert into t values (3)");
    await expect(failing).rejects.toThrow("enough");
    await other;
    expect(await ids()).toEqual([1, 3]);
    const refused = asked.transaction(async (query) => {
      await query("insert into t values (4)");
      await query("insert into t values (1)");
    });
    await expect(refused).rejects.toMatchObject({ code: "23505" });
    expect(await ids()).toEqual([1, 3]);
  });

  it("rolls back what a borrower that is gone had begun, and what it was waiting to begin", async () => {
    const { asked, lent } = lend();
    const inside = Promise.withResolvers<void>();
    const first = asked.transaction(async (query) => {
      await query("insert into t values (1)");
      inside.resolve();
      await new Promise(() => {}); // its process dies here
    });
    const second = asked.transaction((query) => query("insert into t values (2)"));
    first.catch(() => {});
    second.catch(() => {});
    await inside.promise;
    lent.gone();
    asked.gone();
    await expect(second).rejects.toThrow(DatabaseDown);
    // Were one of them still open, this would wait for ever.
    await lend().asked.query("insert into t values (3)");
    expect(await ids()).toEqual([3]);
    await expect(asked.query("select 1")).rejects.toThrow(DatabaseDown);
  });

  it("rolls back a transaction that its borrower does not end", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { asked } = lend();
    const inside = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const slow = asked.transaction(async (query) => {
      await query("insert into t values (1)");
      inside.resolve();
      await goOn.promise;
    });
    slow.catch(() => {});
    await inside.promise;
    await vi.advanceTimersByTimeAsync(10_000);
    await lend().asked.query("insert into t values (2)");
    goOn.resolve();
    await expect(slow).rejects.toThrow("took too long");
    expect(await ids()).toEqual([2]);
  });
});
