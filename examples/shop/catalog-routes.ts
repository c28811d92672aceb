import type { Hono } from "hono";
import { badRequest, bodyOf, idOf, notFound } from "./problem.ts";
import { type Handler, route, type ShopEnv } from "./routing.ts";
import { PAGE, Product, type Shop } from "./shop.ts";

const MAX_BATCH = 100;
const Change = Product.omit({ id: true })
  .partial()
  .refine((change) => Object.keys(change).length > 0, { message: "nothing to change" });
const Content = Product.omit({ id: true });

/** Products (read, written through, read in batches), searches and the sales report. */
export function catalogRoutes(app: Hono<ShopEnv>, shop: Shop): void {
  const read: Handler = async (context) => {
    const id = idOf(context.req.param("id"), "The product id");
    const product = await shop.products.get(id, { report: context.var.report });
    if (product === undefined) throw notFound(`product ${id}`);
    return context.json(product);
  };

  const replace: Handler = async (context) => {
    const id = idOf(context.req.param("id"), "The product id");
    const content = await bodyOf(context, Content);
    const existed = (await shop.products.get(id)) !== undefined;
    const product = { id, ...content };
    await shop.saveProduct(product);
    context.var.wrote();
    return context.json(product, existed ? 200 : 201);
  };

  const change: Handler = async (context) => {
    const id = idOf(context.req.param("id"), "The product id");
    const changes = await bodyOf(context, Change);
    const product = await shop.changeProduct(id, (current) => {
      if (current === undefined) throw notFound(`product ${id}`);
      return Product.parse({ ...current, ...changes });
    });
    context.var.wrote();
    return context.json(product);
  };

  const readMany: Handler = async (context) => {
    const text = context.req.query("ids");
    if (text === undefined) throw badRequest("Name the products: /products?ids=1,2,3");
    const ids = [...new Set(text.split(",").map((id) => idOf(id.trim(), "A product id")))];
    if (ids.length > MAX_BATCH) throw badRequest(`At most ${MAX_BATCH} ids at a time, not ${ids.length}.`);
    const found = await shop.products.getMany(ids, { report: context.var.report });
    const missing = ids.filter((_, at) => found[at] === undefined);
    return context.json({ products: found.filter((product) => product !== undefined), missing });
  };

  const search: Handler = async (context) => {
    const text = (context.req.query("q") ?? "").trim().toLowerCase().replaceAll(/\s+/g, " ");
    if (text.length < 2 || text.length > 64)
      throw badRequest("q is what to look for, of 2 to 64 characters: /search?q=oak+chair");
    const page = idOf(context.req.query("page") ?? "1", "page");
    if (page > 1_000) throw badRequest("page is at most 1000: look for something narrower.");
    const products = await shop.search(text, page, context.var.report);
    return context.json({ q: text, page, products, more: products.length === PAGE });
  };

  route(app, "/products/:id", { GET: read, PUT: replace, PATCH: change });
  route(app, "/products", { GET: readMany });
  route(app, "/search", { GET: search });
  route(app, "/reports/sales", {
    GET: async (context) => context.json({ sales: await shop.sales(context.var.report) }),
  });
}
