import type { Product } from "../shop.ts";
import type { Worker } from "./workers.ts";

/** One process' answer to "what does this product cost?". */
export interface PriceAnswer {
  readonly worker: Worker;
  readonly cents: number;
  /** The layer that answered, out of `Cache-Status`. */
  readonly layer: string;
  /** Milliseconds the request took. */
  readonly took: number;
}

/** What a process has counted since its start. */
export interface Counts {
  readonly statements: number;
  readonly timeouts: number;
}

/** The processes as their clients see them: everything goes over HTTP. */
export interface Asking {
  price(worker: Worker, id: number): Promise<PriceAnswer>;
  setPrice(worker: Worker, id: number, cents: number): Promise<void>;
  /** `DELETE /cache/<what>` */
  invalidate(worker: Worker, what: string): Promise<void>;
  /** Layers, and the log, of which the process says that they do not answer. */
  trouble(worker: Worker): Promise<readonly string[]>;
  /** Statements the process has had its database run so far, and reads of layers it no longer waited for. */
  counts(worker: Worker): Promise<Counts>;
}

/** @param token sent to `/cache/*`, where one is asked for. */
export function asking(token: string | undefined): Asking {
  const admin = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const send = async (worker: Worker, method: string, path: string, options: RequestInit = {}) => {
    const response = await fetch(worker.address + path, { method, ...options });
    const body = await response.text();
    // A process whose cache is not well says so with 503, and how it is all the same.
    if (!response.ok && path !== "/cache/health")
      throw new Error(`${method} ${worker.address}${path} answered ${response.status}: ${body}`);
    return { response, body };
  };
  const json = async <T>(worker: Worker, path: string): Promise<T> =>
    JSON.parse((await send(worker, "GET", path, { headers: admin })).body); // as our own routes answer

  return {
    async price(worker, id) {
      const began = performance.now();
      const { response, body } = await send(worker, "GET", `/products/${id}`);
      const took = performance.now() - began;
      const product: Product = JSON.parse(body);
      const layer = /detail=([^;\s]+)/.exec(response.headers.get("cache-status") ?? "")?.[1] ?? "none";
      return { worker, cents: product.price_cents, layer, took };
    },
    async setPrice(worker, id, cents) {
      const headers = { "Content-Type": "application/json" };
      await send(worker, "PATCH", `/products/${id}`, {
        headers,
        body: JSON.stringify({ price_cents: cents }),
      });
    },
    async invalidate(worker, what) {
      await send(worker, "DELETE", `/cache/${what}`, { headers: admin });
    },
    async trouble(worker) {
      const { layers, log } = await json<Health>(worker, "/cache/health");
      const down = layers.filter(({ state }) => state !== "up").map(({ name }) => `layer ${name}`);
      return log.state === "up" ? down : [...down, `log ${log.name}`];
    },
    async counts(worker) {
      const { database, layers } = await json<Stats>(worker, "/cache/stats");
      const timeouts = Object.values(layers).reduce((sum, layer) => sum + layer.timeouts, 0);
      return { statements: database.statements, timeouts };
    },
  };
}

interface Stats {
  readonly database: { readonly statements: number };
  readonly layers: Readonly<Record<string, { readonly timeouts: number }>>;
}

interface Health {
  readonly layers: readonly { readonly name: string; readonly state: string }[];
  readonly log: { readonly name: string; readonly state: string };
}
