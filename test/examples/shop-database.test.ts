import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectPostgres, type Database, DatabaseDown } from "../../examples/shop/database.ts";
import { ordersOf, placeOrder } from "../../examples/shop/orders.ts";
import { seed } from "../../examples/shop/seed.ts";
import { freePort, startPostgres, type TestServer } from "../servers.ts";

describe("the shop on a PostgreSQL server", () => {
  let server: TestServer;
  let database: Database;
  beforeAll(async () => {
    server = await startPostgres();
    database = await connectPostgres(server.url);
  });
  afterAll(async () => {
    await database?.query(
      "drop table if exists shop_seed, shop_order_items, shop_orders, shop_users, shop_products",
    );
    await database?.close();
    await server?.stop();
  });

  it("has the same products as on PGlite", async () => {
    expect(await seed(database, 500)).toBe(true);
    expect(await seed(database, 500)).toBe(false);
    const { rows } = await database.query(
      "select md5(string_agg(p::text, ',' order by p::text)) from (select * from shop_products) p",
    );
    expect(rows).toEqual([{ md5: "4d1709ba6714ce54bb05f615427f60e8" }]); // as in shop-seed.test.ts
  });

  it("writes an order in one transaction, or none of it", async () => {
    const stock = "select stock from shop_products where id in (10, 11) order by id";
    await database.query("update shop_products set stock = 1 where id = 11");
    const before = await database.query(stock);
    const lines = [
      { product_id: 10, quantity: 1 },
      { product_id: 11, quantity: 2 },
    ];
    await expect(placeOrder(database, { user_id: 3, lines })).rejects.toThrow("2 ordered, 1 in stock");
    expect((await database.query(stock)).rows).toEqual(before.rows);
    const order = await placeOrder(database, { user_id: 3, lines: lines.slice(0, 1) });
    expect((await ordersOf(database.query, 3))[0]).toEqual(order);
  });

  it("counts statements, and passes on why one was refused", async () => {
    const before = database.statements;
    await expect(database.query("select nonsense")).rejects.toMatchObject({ code: "42703" });
    expect(database.statements).toBe(before + 1);
  });

  it("tells a server that cannot be reached from a statement that is refused", async () => {
    const url = `postgres://shop@127.0.0.1:${await freePort()}/shop`;
    await expect(connectPostgres(url)).rejects.toThrow(DatabaseDown);
    await database.query("select pg_terminate_backend(pg_backend_pid())").then(
      () => expect.unreachable("the connection was ended"),
      (error: unknown) => expect(error).toBeInstanceOf(DatabaseDown),
    );
    expect((await database.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });
});
