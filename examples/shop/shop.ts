import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Answer,
  type Cache,
  type Collection,
  createCache,
  type Logger,
  type MemoryLayer,
  memory,
  type StoreLayer,
} from "caching-universal";
import { postgres } from "caching-universal/postgres";
import { z } from "zod";
import type { Database } from "./database.ts";
import {
  type NewOrder,
  type Order,
  ordersOf,
  placeOrder,
  type SalesLine,
  salesByCategory,
} from "./orders.ts";

/** Is told which layer answered a read. */
export type Report = (answer: Answer) => void;

export const Product = z.strictObject({
  id: z.int().min(1),
  name: z.string().min(1).max(200),
  category: z.string().min(1).max(50),
  description: z.string().max(2_000),
  price_cents: z.int().min(0).max(100_000_000),
  stock: z.int().min(0).max(1_000_000),
});
export type Product = z.infer<typeof Product>;

/** A user without what a reader of the API must not see: the e-mail address stays in the database. */
export interface User {
  readonly id: number;
  readonly name: string;
  readonly premium: boolean;
}

/** Products found in one search, a page of 20. */
export type SearchPage = readonly Pick<Product, "id" | "name" | "price_cents">[];
export const PAGE = 20;

/** The shop: every read goes through the cache, every write tells it. */
export interface Shop {
  readonly database: Database;
  readonly cache: Cache;
  /** Names of its layers, from near to far. */
  readonly layers: readonly string[];
  readonly products: Collection<Product, number>;
  user(id: number, report: Report): Promise<User | undefined>;
  orders(user: number, report: Report): Promise<readonly Order[]>;
  search(text: string, page: number, report: Report): Promise<SearchPage>;
  sales(report: Report): Promise<readonly SalesLine[]>;
  /** Writes an order, then takes out of the cache what it changed. */
  order(order: NewOrder): Promise<Order>;
  /** Writes a product, and makes the searches it may appear in stale. */
  saveProduct(product: Product): Promise<void>;
  /** Lays a change over what the database has now, and saves it. */
  changeProduct(id: number, change: (current: Product | undefined) => Product): Promise<Product>;
  close(): Promise<void>;
}

/** How the shop caches. */
export interface ShopOptions {
  readonly database: Database;
  /** L2: stores that outlive the process, from near to far. */
  readonly stores: readonly StoreLayer[];
  /** Names the cache in its stores ["shop"]. */
  readonly name?: string;
  /** L1 [64 MB]. */
  readonly memory?: MemoryLayer;
  /** Where the cache speaks of trouble [the process's warnings]. */
  readonly logger?: Logger;
}

/** Opens the shop on its database: memory over stores that outlive the process. */
export function openShop({
  database,
  stores,
  name = "shop",
  memory: l1 = memory({ maxBytes: "64mb" }),
  logger,
}: ShopOptions): Shop {
  const warn = logger ?? ((line) => process.emitWarning(line));
  const cache = createCache({
    name,
    layers: [l1, ...stores],
    logger,
    ttl: "1h",
    grace: "1h",
    policies: {
      // Changed through this service only, and written through: may live long.
      catalog: { ttl: "1h", jitter: 0.1, grace: "1d", negativeTtl: "10s" },
      // A little old is fine, slow is not: serve stale at once and refresh behind it.
      search: { ttl: "1m", grace: "1h", swr: true },
      // Costs a scan of all orders: refreshed in the last fifth of its life, so that nobody waits for it.
      report: { ttl: "1m", grace: "1h", swr: true, eager: 0.8 },
      // Somebody's own data: never served stale, never written to a store.
      personal: { ttl: "5m", grace: 0, l2: false },
    },
  });

  const products = cache.collection<Product, number>("product", {
    source: postgres<Product, number>(database, { table: "shop_products", key: "id", keyType: "int" }),
    schema: Product,
    policy: "catalog",
    tags: (product) => ["products", `category:${product.category}`],
  });

  // `wrap` takes its options once, for all calls: the call under way is found by its asynchronous context.
  const asking = new AsyncLocalStorage<Report>();
  const sales = cache.wrap(() => salesByCategory(database.query), {
    key: () => "report:sales",
    policy: "report",
    tags: ["sales"],
    report: (answer) => asking.getStore()?.(answer),
  });

  return {
    database,
    cache,
    layers: ["memory", ...stores.map((store) => store.name)],
    products,
    user: (id, report) =>
      cache.getOrSet(["user", id], () => findUser(database, id), {
        policy: "personal",
        negativeTtl: "10s",
        report,
      }),
    orders: (user, report) =>
      cache.scope({ user }).getOrSet("orders", () => ordersOf(database.query, user), {
        policy: "personal",
        tags: [`orders:${user}`],
        report,
      }),
    search: (text, page, report) =>
      cache.getOrSet(["search", text, page], () => findProducts(database, text, page), {
        policy: "search",
        tags: ["search"],
        report,
      }),
    sales: (report) => asking.run(report, () => sales()),
    async order(order) {
      const tell = async () => {
        await products.invalidate(order.lines.map((line) => line.product_id)); // their stock changed
        await cache.invalidateTags([`orders:${order.user_id}`]);
        await cache.invalidateTags(["sales"], { soft: true });
      };
      // Before it is written too: what the other processes cannot be told of is refused while nothing is done yet.
      await tell();
      const placed = await placeOrder(database, order);
      // Once it is written, an error would have it ordered twice. What a layer missed now, it is told later.
      await tell().catch((error) => warn(`Order ${placed.id}: ${error.message}`));
      return placed;
    },
    async saveProduct(product) {
      await products.set(product.id, product);
      await cache.invalidateTags(["search"], { soft: true });
    },
    async changeProduct(id, change) {
      const product = await products.update(id, change);
      await cache.invalidateTags(["search"], { soft: true });
      return product;
    },
    close: () => cache.close(),
  };
}

async function findUser(database: Database, id: number): Promise<User | undefined> {
  const { rows } = await database.query<User>("select id, name, premium from shop_users where id = $1", [id]);
  return rows[0];
}

async function findProducts(database: Database, text: string, page: number): Promise<SearchPage> {
  const pattern = `%${text.replaceAll(/[\\%_]/g, "\\$&")}%`;
  const { rows } = await database.query<SearchPage[number]>(
    "select id, name, price_cents from shop_products where name ilike $1 order by id limit $2 offset $3",
    [pattern, PAGE, (page - 1) * PAGE],
  );
  return rows;
}
