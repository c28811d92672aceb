import { isIPv4 } from "node:net";
import type { Duration } from "caching-universal";
import { shopApp } from "./app.ts";
import type { Database } from "./database.ts";
import { sharedLayers } from "./layers.ts";
import { type Listening, listen } from "./listen.ts";
import type { Settings } from "./settings.ts";
import { openShop, type Shop } from "./shop.ts";

/** The shop and the HTTP service on it. */
export interface Service {
  readonly shop: Shop;
  readonly listening: Listening;
  /** The layers, each with where it is. */
  readonly described: readonly string[];
  /** Stops listening, lets requests under way end, and closes the cache; the database stays open. */
  close(): Promise<void>;
}

/** What a service works with. */
export interface ServiceOptions {
  readonly settings: Settings;
  readonly database: Database;
  /** Name of the database's data, see `ShopData`. */
  readonly dataName: string;
  /** Folder of the disk layer. */
  readonly cacheFolder: string;
  /** The port to listen on, and the one that is tried without. */
  readonly port: number | undefined;
  readonly usualPort: number;
  /** Longest wait for an answer of a shared layer ["250ms"]. */
  readonly layerTimeout?: Duration;
  /** Takes warnings. */
  readonly warn: (line: string) => void;
}

/** Opens the cache on the database and listens. A shared layer that cannot be reached is a warning. */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { settings, database, dataName, warn } = options;
  const { stores, described, remote } = await sharedLayers(
    settings,
    options.cacheFolder,
    options.layerTimeout,
  );
  const shop = openShop({
    database,
    stores,
    // A folder belongs to one database. A server may be used by shops on others, and outlives the data.
    name: remote ? `shop-${dataName}` : "shop",
    logger: warn,
  });
  // What the cache warns of is that a layer is down; that it is back is good to know as well.
  shop.cache.on("layerState", ({ layer, state }) => {
    if (state === "up") warn(`Layer ${layer} answers again.`);
  });
  const local = settings.host === "localhost" || settings.host === "::1" || isLoopback(settings.host);
  const app = shopApp(shop, { token: settings.adminToken, local });
  const listening = await listen(app, settings.host, options.port, options.usualPort).catch(async (error) => {
    await shop.close();
    throw error;
  });
  return {
    shop,
    listening,
    described: ["memory", ...described],
    async close() {
      await listening.close();
      await shop.close();
    },
  };
}

function isLoopback(host: string): boolean {
  return isIPv4(host) && host.startsWith("127.");
}
