import { CacheError, LayerError } from "caching-universal";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cacheStatus } from "./cache-status.ts";
import { DatabaseDown } from "./database.ts";
import { Problem } from "./problem.ts";
import type { Report } from "./shop.ts";

/** What handlers find on their context: where the cache tells which layer answered. */
export interface ShopEnv {
  Variables: {
    readonly report: Report;
    /** Marks the request as a write, which goes to the database whatever is cached. */
    readonly wrote: () => void;
  };
}
export type ShopContext = Context<ShopEnv>;
export type Handler = (context: ShopContext) => Response | Promise<Response>;
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** The name by which the cache speaks of the database. */
const SOURCE = "postgres";
/** Largest body taken, in bytes. */
const MAX_BODY = 64 * 1024;

/** An app that sends `Cache-Status` and `Server-Timing` with each answer, and problems as JSON. */
export function newApp(): Hono<ShopEnv> {
  const app = new Hono<ShopEnv>();
  app.use(async (context, next) => {
    const began = performance.now();
    const answers: Parameters<Report>[0][] = [];
    let write = false;
    context.set("report", (answer) => answers.push(answer));
    context.set("wrote", () => {
      write = true;
    });
    await next();
    const status = cacheStatus("caching-universal", { answers, write: write && context.res.ok });
    if (status !== undefined) context.header("Cache-Status", status);
    context.header("Server-Timing", `app;dur=${(performance.now() - began).toFixed(3)}`);
  });
  app.use(
    bodyLimit({
      maxSize: MAX_BODY,
      onError: () => {
        throw new Problem(413, "too_large", `A body may have at most ${MAX_BODY} bytes.`);
      },
    }),
  );
  app.notFound((context) => {
    const message = `Nothing is at ${context.req.path}. GET / shows what there is.`;
    return context.json({ error: { code: "not_found", message } }, 404);
  });
  app.onError((error, context) => {
    const problem = problemOf(error);
    for (const [name, value] of Object.entries(problem.headers)) context.header(name, value);
    return context.json({ error: { code: problem.code, message: problem.message } }, problem.status);
  });
  return app;
}

/** Puts the handlers of one path in place; other methods get 405 with what is allowed. HEAD is GET's. */
export function route(app: Hono<ShopEnv>, path: string, handlers: Partial<Record<Method, Handler>>): void {
  for (const [method, handler] of Object.entries(handlers)) app.on(method, path, handler);
  const methods = Object.keys(handlers);
  const allow = [...methods, ...(methods.includes("GET") ? ["HEAD"] : [])].join(", ");
  app.all(path, (context) => {
    throw new Problem(405, "method_not_allowed", `${context.req.method} is not possible here: ${allow}.`, {
      Allow: allow,
    });
  });
}

/** What the client is told; the details of faults stay in our own log. */
function problemOf(error: Error): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof DatabaseDown) {
    console.error(error.message);
    return unavailable();
  }
  if (error instanceof CacheError) {
    if (error.code === "ERR_CACHE_KEY" || error.code === "ERR_CACHE_OPTION")
      return new Problem(400, "bad_request", error.message);
    console.error(error.message);
    if (error instanceof LayerError && error.layer !== SOURCE)
      return unavailable(`The layer ${error.layer} does not answer, so that other processes cannot be told`);
    if (error.code === "ERR_CACHE_LAYER" || error.code === "ERR_CACHE_TIMEOUT") return unavailable();
  } else console.error(error);
  return new Problem(500, "internal", "Something is broken on our side.");
}

function unavailable(why = "The database does not answer"): Problem {
  return new Problem(503, "unavailable", `${why}. Try again.`, { "Retry-After": "1" });
}
