import type { Hono } from "hono";
import { type AdminAccess, cacheRoutes } from "./cache-routes.ts";
import { catalogRoutes } from "./catalog-routes.ts";
import { customerRoutes } from "./customer-routes.ts";
import { newApp, route, type ShopEnv } from "./routing.ts";
import type { Shop } from "./shop.ts";
import { tour } from "./tour.ts";

/** The shop's HTTP API. */
export function shopApp(shop: Shop, access: AdminAccess): Hono<ShopEnv> {
  const app = newApp();
  route(app, "/", { GET: (context) => context.text(tour(new URL(context.req.url).origin, shop.layers)) });
  catalogRoutes(app, shop);
  customerRoutes(app, shop);
  cacheRoutes(app, shop, access);
  return app;
}
