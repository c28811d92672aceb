import { z } from "zod";
import type { Database, Query } from "./database.ts";
import { badRequest, Problem } from "./problem.ts";

export const NewOrder = z.strictObject({
  user_id: z.int().min(1).max(2_147_483_647),
  lines: z
    .array(
      z.strictObject({ product_id: z.int().min(1).max(2_147_483_647), quantity: z.int().min(1).max(100) }),
    )
    .min(1)
    .max(50)
    .refine((lines) => new Set(lines.map((line) => line.product_id)).size === lines.length, {
      message: "each product may appear once",
    }),
});
export type NewOrder = z.infer<typeof NewOrder>;

/** An order as its user sees it. */
export interface Order {
  readonly id: number;
  readonly created_at: Date;
  readonly total_cents: number;
}

/** What was sold of one category. */
export interface SalesLine {
  readonly category: string;
  readonly orders: number;
  readonly units: number;
  readonly revenue_cents: number;
}

/** The latest 50 orders of a user, the newest first. */
export async function ordersOf(query: Query, user: number): Promise<Order[]> {
  const { rows } = await query<Order>(
    "select id, created_at, total_cents from shop_orders where user_id = $1 order by id desc limit 50",
    [user],
  );
  return rows;
}

/** All that was ever sold, by category: a scan of every order there is. */
export async function salesByCategory(query: Query): Promise<SalesLine[]> {
  // float8 holds whole numbers up to 2^53 and arrives as a number; bigint would arrive as a string from some.
  const { rows } = await query<SalesLine>(`
    select p.category, count(distinct i.order_id)::int as orders, sum(i.quantity)::int as units,
      sum(i.quantity::float8 * i.price_cents) as revenue_cents
    from shop_order_items i join shop_products p on p.id = i.product_id
    group by p.category order by revenue_cents desc`);
  return rows;
}

/**
 * Takes the ordered products out of stock and writes the order, in one transaction.
 * @throws {Problem} 400 for an unknown user or product, 409 when there is not enough in stock.
 */
export function placeOrder(database: Database, order: NewOrder): Promise<Order> {
  // One order of locking for everyone, so that two orders of the same products never wait for each other.
  const lines = order.lines.toSorted((a, b) => a.product_id - b.product_id);
  return database.transaction(async (query) => {
    const users = await query("select 1 from shop_users where id = $1", [order.user_id]);
    if (users.rows.length === 0) throw badRequest(`There is no user ${order.user_id}.`);
    const priced: { product_id: number; quantity: number; price_cents: number }[] = [];
    for (const line of lines) priced.push({ ...line, price_cents: await take(query, line) });
    const total = priced.reduce((sum, line) => sum + line.quantity * line.price_cents, 0);
    if (total > 2_147_483_647) throw badRequest("The order is worth more than an order can be: split it.");
    const { rows } = await query<Order>(
      "insert into shop_orders (user_id, total_cents) values ($1, $2) returning id, created_at, total_cents",
      [order.user_id, total],
    );
    const [placed] = rows;
    if (placed === undefined) throw new Error("The database returned no order for the row it inserted.");
    await query(
      `insert into shop_order_items (order_id, product_id, quantity, price_cents)
       select $1, * from unnest($2::int[], $3::int[], $4::int[])`,
      [
        placed.id,
        priced.map((line) => line.product_id),
        priced.map((line) => line.quantity),
        priced.map((line) => line.price_cents),
      ],
    );
    return placed;
  });
}

/** Takes one line out of stock; answers the product's price. */
async function take(query: Query, line: NewOrder["lines"][number]): Promise<number> {
  const { rows } = await query<{ price_cents: number; stock: number }>(
    "select price_cents, stock from shop_products where id = $1 for update",
    [line.product_id],
  );
  const [product] = rows;
  if (product === undefined) throw badRequest(`There is no product ${line.product_id}.`);
  if (product.stock < line.quantity)
    throw new Problem(
      409,
      "out_of_stock",
      `Product ${line.product_id}: ${line.quantity} ordered, ${product.stock} in stock.`,
    );
  await query("update shop_products set stock = stock - $2 where id = $1", [line.product_id, line.quantity]);
  return product.price_cents;
}
