import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Database, openPglite } from "../../examples/shop/database.ts";
import { seed } from "../../examples/shop/seed.ts";

const PRODUCTS = 500;
/** md5 of all 500 products, on every machine: change it together with the generator. */
const CHECKSUM = "4d1709ba6714ce54bb05f615427f60e8";

async function checksum(database: Database, table: string): Promise<unknown> {
  const { rows } = await database.query(
    `select count(*)::int as count, md5(string_agg(x::text, ',' order by x::text)) from (select * from ${table}) x`,
  );
  return rows[0];
}

describe("seeding", () => {
  let folder = "";
  let database: Database;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "shop-seed-"));
    database = await openPglite(join(folder, "database"));
  });
  afterAll(async () => {
    await database.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("makes the same products on every machine", async () => {
    expect(await seed(database, PRODUCTS)).toBe(true);
    expect(await checksum(database, "shop_products")).toEqual({ count: PRODUCTS, md5: CHECKSUM });
  });

  it("is done once: the next start changes nothing", async () => {
    await database.query("update shop_products set name = 'changed' where id = 1");
    expect(await seed(database, PRODUCTS)).toBe(false);
    const { rows } = await database.query("select name from shop_products where id = 1");
    expect(rows).toEqual([{ name: "changed" }]);
  });

  it("begins again where the marker is missing, and ends with the same products", async () => {
    await database.query("delete from shop_seed");
    expect(await seed(database, PRODUCTS)).toBe(true);
    expect(await checksum(database, "shop_products")).toEqual({ count: PRODUCTS, md5: CHECKSUM });
  });

  it("leaves nothing half made when it fails in between", async () => {
    await database.query("delete from shop_seed");
    const broken: Database = {
      ...database,
      query: database.query,
      transaction: (fn) =>
        database.transaction((query) =>
          fn((text, values) => {
            if (text.includes("insert into shop_order_items")) throw new Error("killed");
            return query(text, values);
          }),
        ),
    };
    await expect(seed(broken, 300)).rejects.toThrow("killed");
    expect(await checksum(database, "shop_products")).toEqual({ count: PRODUCTS, md5: CHECKSUM });
    expect((await database.query("select * from shop_seed")).rows).toEqual([]);
  });

  it("has every order add up to its lines, and orders of existing users only", async () => {
    await seed(database, PRODUCTS);
    const { rows } = await database.query(`
      select count(*)::int as wrong from shop_orders o
      where total_cents <> (select sum(quantity * price_cents) from shop_order_items where order_id = o.id)`);
    expect(rows).toEqual([{ wrong: 0 }]);
    const next = await database.query<{ id: number }>(
      "insert into shop_orders (user_id, total_cents) values (1, 0) returning id",
    );
    expect(next.rows).toEqual([{ id: 251 }]);
  });
});
