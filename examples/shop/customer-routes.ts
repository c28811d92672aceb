import type { Hono } from "hono";
import { NewOrder } from "./orders.ts";
import { bodyOf, idOf, notFound } from "./problem.ts";
import { type Handler, route, type ShopEnv } from "./routing.ts";
import type { Shop } from "./shop.ts";

/** Users, and the orders each has: cached under keys of their own, and kept out of caches between us and them. */
export function customerRoutes(app: Hono<ShopEnv>, shop: Shop): void {
  const user: Handler = async (context) => {
    const id = idOf(context.req.param("id"), "The user id");
    context.header("Cache-Control", "private, no-store");
    const found = await shop.user(id, context.var.report);
    if (found === undefined) throw notFound(`user ${id}`);
    return context.json(found);
  };

  const orders: Handler = async (context) => {
    const id = idOf(context.req.param("id"), "The user id");
    context.header("Cache-Control", "private, no-store");
    if ((await shop.user(id, () => {})) === undefined) throw notFound(`user ${id}`);
    return context.json({ orders: await shop.orders(id, context.var.report) });
  };

  const order: Handler = async (context) => {
    const placed = await shop.order(await bodyOf(context, NewOrder));
    context.var.wrote();
    return context.json(placed, 201);
  };

  route(app, "/users/:id", { GET: user });
  route(app, "/users/:id/orders", { GET: orders });
  route(app, "/orders", { POST: order });
}
