import type { StoreStats } from "../store.ts";
import type { Access } from "./connection.ts";
import { holdsEntry, holdsLease } from "./format.ts";
import type { KeyNames } from "./key-names.ts";
import { lookAt, SURELY_ALIVE } from "./look.ts";
import { type Server, serverOf } from "./servers.ts";
import { itemNames } from "./walk.ts";

/** Servers with more items than this are not counted, but estimated. */
const COUNTED = 5_000;

/** What is done to all entries of a cache: in steps, along the names of all items of all servers. */
export class Listing {
  readonly #servers: readonly Server[];
  readonly #access: Access;
  readonly #names: KeyNames;
  readonly #assertOpen: () => void;

  constructor(servers: readonly Server[], access: Access, names: KeyNames, assertOpen: () => void) {
    this.#servers = servers;
    this.#access = access;
    this.#names = names;
    this.#assertOpen = assertOpen;
  }

  async *keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[]> {
    signal?.throwIfAborted();
    for await (const [server, names] of this.#walk()) {
      signal?.throwIfAborted();
      const mine = names.filter(
        (name) => this.#names.keyOf(name)?.startsWith(prefix) ?? this.#names.isHashed(name),
      );
      const keys = await Promise.all(mine.map((name) => this.#liveKey(server, name)));
      yield keys.flatMap((key) => (key?.startsWith(prefix) === true ? [key] : []));
    }
  }

  async clear(keep: string): Promise<void> {
    for await (const [{ items }, names] of this.#walk()) {
      await Promise.all(
        names.map(async (name) => {
          const head = await items.head(name);
          if (head !== undefined && holdsEntry(head.flags) && !holdsEntry(head.flags, keep))
            await items.remove(name, head.cas);
        }),
      );
    }
  }

  async stats(): Promise<StoreStats> {
    let entries = 0;
    let bytes = 0;
    let few = true;
    for (const { connection } of this.#servers) {
      const figures = await connection.stats();
      const items = Number(figures.get("curr_items") ?? 0);
      entries += items;
      bytes += Number(figures.get("bytes") ?? 0);
      few &&= items <= COUNTED;
    }
    // Of all caches in these servers: what is ours among so much is not worth a walk each time.
    const all = { entries, bytes };
    return few ? this.#count().catch(() => all) : all;
  }

  async #count(): Promise<StoreStats> {
    let entries = 0;
    let bytes = 0;
    for await (const [{ items }, names] of this.#walk()) {
      for (const [i, head] of (await Promise.all(names.map((name) => items.head(name)))).entries()) {
        if (head === undefined || !holdsEntry(head.flags)) continue;
        entries++;
        bytes += head.size + (names[i]?.length ?? 0);
      }
    }
    return { entries, bytes };
  }

  /** Names of this cache's entries, with the server they are on. */
  async *#walk(): AsyncGenerator<readonly [Server, readonly string[]]> {
    this.#assertOpen();
    for (const server of this.#servers) {
      for await (const names of itemNames(server.connection.address, this.#access)) {
        this.#assertOpen();
        const ours = names.filter((name) => this.#names.isEntry(name));
        // What another list of servers once put here is not what a read of the key would find.
        yield [server, ours.filter((name) => serverOf(this.#servers, name) === server)];
      }
    }
  }

  /** The key of an item, if it holds an entry that is alive. */
  async #liveKey({ items }: Server, name: string): Promise<string | undefined> {
    const head = await items.head(name);
    if (head === undefined || !holdsEntry(head.flags)) return undefined;
    const key = this.#names.keyOf(name);
    if (key !== undefined && head.left >= SURELY_ALIVE && !holdsLease(head.flags)) return key;
    const item = await items.get(name);
    const look = item === undefined ? undefined : lookAt(item);
    return look?.found === undefined ? undefined : (key ?? look.record?.key);
  }
}
