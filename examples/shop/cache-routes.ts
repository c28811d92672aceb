import { createHash, timingSafeEqual } from "node:crypto";
import type { InvalidateOptions, InvalidationReport } from "caching-universal";
import type { Hono } from "hono";
import { badRequest, Problem } from "./problem.ts";
import { type Handler, route, type ShopContext, type ShopEnv } from "./routing.ts";
import type { Shop } from "./shop.ts";

/** Who may call `/cache/*`. */
export interface AdminAccess {
  /** When set, it is asked for as a bearer token. */
  readonly token: string | undefined;
  /** Whether the service can be reached from this machine only. */
  readonly local: boolean;
}

/** What an operator does with the cache: look into it, and take things out of it. */
export function cacheRoutes(app: Hono<ShopEnv>, shop: Shop, access: AdminAccess): void {
  const { cache, database } = shop;
  app.use("/cache/*", async (context, next) => {
    assertAdmin(access, context.req.header("authorization"));
    context.header("Cache-Control", "no-store");
    await next();
  });

  const invalidation = (
    act: (context: ShopContext, options: InvalidateOptions) => Promise<InvalidationReport>,
  ): Handler => {
    return async (context) => {
      const dryRun = context.req.query("dryRun") === "true";
      const wait = context.req.query("wait") === "all" ? "all" : undefined;
      return context.json(await act(context, { dryRun, wait }));
    };
  };
  const rest = (context: ShopContext, name: string) => context.req.param(name) ?? "";

  route(app, "/cache/tags/:tag{.+}", {
    DELETE: invalidation((context, options) => cache.invalidateTags([rest(context, "tag")], options)),
  });
  route(app, "/cache/keys/:key{.+}", {
    DELETE: invalidation((context, options) => cache.delete(rest(context, "key"), options)),
  });
  route(app, "/cache/pattern", {
    DELETE: invalidation((context, options) => {
      const glob = context.req.query("glob") ?? "";
      if (glob === "") throw badRequest("Name what to take out: /cache/pattern?glob=product:*");
      return cache.invalidatePattern(glob, options);
    }),
  });
  route(app, "/cache/explain/:key{.+}", {
    GET: async (context) => context.json(await cache.explain(rest(context, "key"))),
  });
  route(app, "/cache/stats", {
    GET: (context) => {
      const { rss, heapUsed } = process.memoryUsage();
      const process_ = { rss, heapUsed, uptime: Math.round(process.uptime()) };
      return context.json({
        ...cache.stats(),
        database: { statements: database.statements },
        process: process_,
      });
    },
  });
  route(app, "/cache/health", {
    GET: (context) => {
      const health = cache.health();
      return context.json(health, health.ok ? 200 : 503);
    },
  });
}

function assertAdmin(access: AdminAccess, authorization: string | undefined): void {
  if (access.token === undefined) {
    if (access.local) return;
    throw new Problem(403, "forbidden", "Set ADMIN_TOKEN to use /cache from other machines.");
  }
  // Compared as digests: equal lengths, and the time taken tells nothing of the token.
  const digest = (text: string) => createHash("sha256").update(text).digest();
  if (timingSafeEqual(digest(authorization ?? ""), digest(`Bearer ${access.token}`))) return;
  throw new Problem(401, "unauthorized", "Send the header Authorization: Bearer <ADMIN_TOKEN>.", {
    "WWW-Authenticate": "Bearer",
  });
}
