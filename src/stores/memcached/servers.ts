import { createHash } from "node:crypto";
import type { Address } from "./address.ts";
import { type Access, Connection } from "./connection.ts";
import { Items } from "./items.ts";

/** One server: where it is, and a connection to it. */
export class Server {
  readonly items: Items;
  readonly connection: Connection;
  /** What its weight for a key is mixed from. */
  readonly seed: number;

  constructor(address: Address, access: Access) {
    this.connection = new Connection(address, access);
    this.items = new Items(this.connection);
    this.seed = createHash("sha256").update(address.text).digest().readUInt32LE(0);
  }
}

/**
 * Picks the server of a key by highest random weight (rendezvous hashing, Thaler and Ravishankar 1998): each
 * server draws a number from its name and the key, the highest wins. A server more or less moves only the keys
 * it wins or won, and no server gets more than its share.
 */
export function serverOf<T extends { readonly seed: number }>(servers: readonly T[], key: string): T {
  const [only] = servers;
  if (only === undefined) throw new Error("there is at least one server");
  if (servers.length === 1) return only;
  // FNV-1a of the key, which is ASCII.
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  let best = only;
  let highest = -1;
  for (const server of servers) {
    const weight = mixed(hash ^ server.seed);
    if (weight > highest) {
      highest = weight;
      best = server;
    }
  }
  return best;
}

/** The finaliser of MurmurHash3: every bit of the input moves every bit of the result. */
function mixed(input: number): number {
  let h = input;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
