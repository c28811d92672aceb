import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Service, start } from "./shop-process.ts";

let data = "";
let service: Service;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), "shop-service-"));
  service = await start(data);
});
afterAll(async () => {
  await service.end("SIGKILL");
  await rm(data, { recursive: true, force: true });
});

const get = (path: string) => service.ask("GET", path);

describe("reading", () => {
  it("is a miss at first, then a hit in memory", async () => {
    const first = await get("/products/42");
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({
      id: 42,
      category: expect.any(String),
      price_cents: expect.any(Number),
    });
    expect(first.cache).toMatch(/^caching-universal; fwd=miss; stored; ttl=\d+; detail=database$/);
    const second = await get("/products/42");
    expect(second.cache).toMatch(/^caching-universal; hit; ttl=\d+; detail=memory$/);
    expect(second.body).toEqual(first.body);
  });

  it("of a batch loads only what is missing, in one statement", async () => {
    await get("/products/100");
    const before = await service.statements();
    const batch = await get("/products?ids=100,101,102,9999");
    expect(await service.statements()).toBe(before + 1);
    expect(batch.body).toMatchObject({ products: [{ id: 100 }, { id: 101 }, { id: 102 }], missing: [9999] });
    expect(batch.cache).toMatch(/fwd=partial; stored; ttl=\d+; detail="memory 1, database [23]"$/);
    expect((await get("/products?ids=101,102")).cache).toMatch(/; hit; ttl=\d+; detail="memory 2"$/);
  });

  it("tells each of many callers at once which layer answered it", async () => {
    await get("/products/200");
    const paths = Array.from({ length: 20 }, (_, at) =>
      at % 2 === 0 ? "/products/200" : `/products/${201 + at}`,
    );
    const answers = await Promise.all(paths.map(get));
    for (const [at, { cache }] of answers.entries())
      expect(cache).toContain(at % 2 === 0 ? "hit" : "fwd=miss");
    const sales = await Promise.all([get("/reports/sales"), get("/products/200"), get("/reports/sales")]);
    expect(sales[0].cache).toContain("detail=database");
    expect(sales[1].cache).toContain("detail=memory");
    expect((await get("/reports/sales")).cache).toContain("detail=memory");
  });

  it("finds products, page by page, whatever the spacing and case", async () => {
    const first = await get("/search?q=oak");
    expect(first.body).toMatchObject({ q: "oak", page: 1, more: true });
    expect((await get("/search?q=%20OAK%20&page=1")).cache).toContain("detail=memory");
    expect((await get("/search?q=oak&page=2")).cache).toContain("detail=database");
    expect((await get("/search?q=100%25")).body).toMatchObject({ products: [] });
  });

  it("of a user leaves the e-mail address out and is kept by no cache in between", async () => {
    const user = await get("/users/7");
    expect(Object.keys(user.body as object).toSorted()).toEqual(["id", "name", "premium"]);
    expect(user.headers.get("cache-control")).toBe("private, no-store");
    expect((await get("/users/7")).cache).toContain("detail=memory");
  });

  it("answers HEAD as GET without a body", async () => {
    const head = await service.ask("HEAD", "/products/42");
    expect(head).toMatchObject({ status: 200, text: "" });
    expect(head.cache).toContain("detail=memory");
  });

  it("says what there is at /", async () => {
    expect((await get("/")).text).toContain(`curl -i ${service.address}/products/42`);
  });
});

describe("writing", () => {
  it("goes through: the next read is a hit with the new value", async () => {
    const patched = await service.ask("PATCH", "/products/50", { price_cents: 999 });
    expect(patched).toMatchObject({ status: 200, body: { id: 50, price_cents: 999 } });
    expect(patched.cache).toBe("caching-universal; fwd=method; stored; detail=database");
    const read = await get("/products/50");
    expect(read.body).toEqual(patched.body);
    expect(read.cache).toContain("detail=memory");
  });

  it("puts a product in place, new or not", async () => {
    const content = { name: "Sofa", category: "living", description: "", price_cents: 5, stock: 1 };
    expect((await service.ask("PUT", "/products/5000", content)).status).toBe(201);
    expect((await service.ask("PUT", "/products/5000", { ...content, stock: 2 })).status).toBe(200);
    expect((await get("/products/5000")).body).toEqual({ id: 5000, ...content, stock: 2 });
  });

  it("of an order shows at once in the user's orders and the product's stock, and nobody else's", async () => {
    const mine = await get("/users/3/orders");
    await get("/users/4/orders");
    const product = (await get("/products/60")).body as { stock: number };
    const lines = [{ product_id: 60, quantity: 1 }];
    const order = await service.ask("POST", "/orders", { user_id: 3, lines });
    expect(order.status).toBe(201);
    const after = await get("/users/3/orders");
    expect(after.cache).toContain("detail=database");
    const ordersIn = (body: unknown) => (body as { orders: unknown[] }).orders;
    expect(ordersIn(after.body)[0]).toEqual(order.body);
    expect(ordersIn(after.body).length).toBe(Math.min(50, ordersIn(mine.body).length + 1));
    expect((await get("/users/4/orders")).cache).toContain("detail=memory");
    expect((await get("/products/60")).body).toMatchObject({ stock: product.stock - 1 });
  });

  it("refuses an order that there is not enough of, and takes nothing", async () => {
    await service.ask("PATCH", "/products/61", { stock: 1 });
    const lines = [{ product_id: 61, quantity: 2 }];
    expect(await service.ask("POST", "/orders", { user_id: 3, lines })).toMatchObject({
      status: 409,
      body: { error: { code: "out_of_stock", message: "Product 61: 2 ordered, 1 in stock." } },
    });
    expect((await get("/products/61")).body).toMatchObject({ stock: 1 });
  });
});

describe("the cache's own paths", () => {
  it("invalidate a tag, a key and a pattern: each read after it is a miss", async () => {
    const paths = ["/cache/tags/products", "/cache/keys/product:42", "/cache/pattern?glob=product:4*"];
    for (const path of paths) {
      await get("/products/42");
      expect((await get("/products/42")).cache).toContain("detail=memory");
      const dry = await service.ask("DELETE", `${path}${path.includes("?") ? "&" : "?"}dryRun=true`);
      expect((dry.body as { layers: { memory: number } }).layers.memory).toBeGreaterThanOrEqual(1);
      expect((await get("/products/42")).cache).toContain("detail=memory");
      expect((await service.ask("DELETE", path)).status).toBe(200);
      expect((await get("/products/42")).cache, path).toContain("fwd=miss");
    }
  });

  it("tell counters, health and why a key would hit", async () => {
    await get("/products/42");
    expect((await get("/cache/stats")).body).toMatchObject({
      hitRate: expect.any(Number),
      layers: { memory: { hits: expect.any(Number) }, disk: { entries: expect.any(Number) } },
    });
    expect(await get("/cache/health")).toMatchObject({ status: 200, body: { ok: true } });
    const explained = await get("/cache/explain/product:42");
    expect(explained.body).toMatchObject({
      verdict: "hit",
      layers: [{ layer: "memory", answer: "hit" }, { layer: "disk" }],
    });
  });
});

describe("what cannot be answered", () => {
  it.each([
    ["GET", "/products/9999", undefined, 404, "There is no product 9999."],
    ["GET", "/users/9999", undefined, 404, "There is no user 9999."],
    ["GET", "/nowhere", undefined, 404, "Nothing is at /nowhere"],
    ["GET", "/products/abc", undefined, 400, 'The product id is "abc"'],
    ["GET", "/products/99999999999", undefined, 400, "The product id"],
    ["GET", "/products", undefined, 400, "/products?ids="],
    ["GET", "/search?q=x", undefined, 400, "2 to 64 characters"],
    ["GET", "/search?q=oak&page=0", undefined, 400, "page"],
    ["PATCH", "/products/42", {}, 400, "nothing to change"],
    ["PATCH", "/products/42", { price_cents: -1 }, 400, "price_cents"],
    ["PATCH", "/products/42", { colour: "red" }, 400, "colour"],
    ["PATCH", "/products/9999", { stock: 1 }, 404, "There is no product 9999."],
    ["PUT", "/products/42", { name: "half" }, 400, "category"],
    [
      "POST",
      "/orders",
      { user_id: 9999, lines: [{ product_id: 1, quantity: 1 }] },
      400,
      "There is no user 9999.",
    ],
    ["POST", "/orders", { user_id: 1, lines: [] }, 400, "lines"],
    ["DELETE", "/products/42", undefined, 405, "DELETE is not possible here: GET, PUT, PATCH, HEAD."],
    ["DELETE", "/cache/pattern", undefined, 400, "/cache/pattern?glob="],
  ])("%s %s %j is told so: %i", async (method, path, body, status, message) => {
    const answer = await service.ask(method, path, body);
    expect(answer.status).toBe(status);
    expect((answer.body as { error: { message: string } }).error.message).toContain(message);
  });

  it("a body that is too large, no JSON, or not said to be", async () => {
    const url = `${service.address}/products/42`;
    const send = async (body: string, type = "application/json") => {
      const response = await fetch(url, { method: "PATCH", body, headers: { "Content-Type": type } });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await send(JSON.stringify({ name: "x".repeat(70_000) }))).toBe(413);
    expect(await send("{")).toBe(400);
    expect(await send("{}", "text/plain")).toBe(415);
  });
});
