import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { RefusedError, reason, StoreError } from "../../base/errors.ts";
import type { LayerContext, Position } from "../../coherence/log.ts";
import type { FillResult, ReadOptions, Store, StoredEntry, StoreRead, StoreStats } from "../store.ts";
import type { Access } from "./connection.ts";
import { encodeRecord, holdsEntry, itemFlags, markAwaited } from "./format.ts";
import type { KeyNames } from "./key-names.ts";
import { Listing } from "./listing.ts";
import { type Change, keepEntry, keepLease, type Look, lookAt, newLease, recordOf } from "./look.ts";
import { type Server, serverOf } from "./servers.ts";
import { stampNow } from "./stamp.ts";

/** How often a step is tried again because others wrote the item meanwhile. */
const TRIES = 40;
/** Lease in milliseconds that a write holds between its two steps. */
const WRITE_LEASE = 2_000;
/** What a record takes beside value, tags and names, generously. */
const RECORD_OVERHEAD = 256;
const MISS: StoreRead = { found: undefined, lease: undefined };

/** What to do with an item, and what to answer when that was done. */
type Step<T> =
  | { readonly answer: T; readonly put?: Change; readonly drop?: false }
  | { readonly answer: T; readonly drop: true };

/** Entries of one cache in Memcached. Every change of an item names the version it changes. */
export class MemcachedStore implements Store {
  readonly name: string;
  readonly #servers: readonly Server[];
  readonly #listing: Listing;
  readonly #names: KeyNames;
  readonly #context: LayerContext;
  readonly #warned = new Set<Server>();
  #closed = false;

  constructor(
    name: string,
    servers: readonly Server[],
    access: Access,
    names: KeyNames,
    context: LayerContext,
  ) {
    this.name = name;
    this.#servers = servers;
    this.#names = names;
    this.#context = context;
    this.#listing = new Listing(servers, access, names, () => this.#assertOpen());
  }

  async read(keys: readonly string[], options: ReadOptions = {}): Promise<StoreRead[]> {
    this.#assertOpen();
    options.signal?.throwIfAborted();
    let failed = 0;
    let failure: unknown;
    const reads = await Promise.all(
      keys.map(async (key) => {
        const server = this.#serverOf(key);
        try {
          const read = await this.#readOne(key, options);
          this.#warned.delete(server);
          return read;
        } catch (error) {
          failed++;
          failure = error;
          this.#warn(server, error);
          return MISS;
        }
      }),
    );
    // One server of several is away: its keys are misses, and those of the others are served.
    const othersAnswer = failed < keys.length || this.#servers.some(({ connection }) => connection.up);
    if (failed > 0 && (this.#closed || !othersAnswer)) throw failure;
    return reads;
  }

  async fill(key: string, entry: StoredEntry, token: string): Promise<FillResult> {
    this.#assertOpen();
    const change = { entry, stamp: stampNow() };
    await this.#assertFits(key, entry);
    const [secret, cas] = token.split(".");
    // As a rule nobody touched the record since the lease was lent.
    if (cas !== undefined && (await this.#put(key, change, { cas })) !== undefined) return "stored";
    return this.#step<FillResult>(key, (look) =>
      look?.lease === undefined || look.lease.token !== secret
        ? { answer: "refused" }
        : { answer: look.lease.awaited ? "awaited" : "stored", put: change },
    );
  }

  async renew(key: string, token: string, ms: number): Promise<boolean> {
    this.#assertOpen();
    const [secret = ""] = token.split(".");
    return this.#step(key, (look) =>
      look?.lease === undefined || look.lease.token !== secret
        ? { answer: false }
        : { answer: true, put: { ...keepEntry(look), ...newLease(secret, ms, look.lease.awaited) } },
    );
  }

  async release(key: string, token: string): Promise<boolean> {
    this.#assertOpen();
    const [secret] = token.split(".");
    return this.#step(key, (look) => {
      if (look?.lease === undefined || look.lease.token !== secret) return { answer: false };
      return withoutLease(look, look.lease.awaited);
    });
  }

  async write(entries: readonly (readonly [string, StoredEntry])[]): Promise<void> {
    this.#assertOpen();
    for (const [key, entry] of entries) await this.#assertFits(key, entry);
    await Promise.all(entries.map(([key, entry]) => this.#writeOne(key, entry)));
  }

  async remove(keys: readonly string[], before?: Position): Promise<number> {
    this.#assertOpen();
    const removed = await Promise.all(
      keys.map((key) => (before === undefined ? this.#removeOne(key) : this.#removeOlder(key, before))),
    );
    return removed.filter((gone) => gone).length;
  }

  async expire(keys: readonly string[]): Promise<number> {
    this.#assertOpen();
    const expired = await Promise.all(
      keys.map((key) =>
        this.#step(key, (look): Step<boolean> => {
          if (look?.found === undefined)
            return look?.lease === undefined ? { answer: false } : withoutLease(look, false);
          const { entry, age } = look.found;
          if (age >= entry.ttl) return look.lease === undefined ? { answer: true } : withoutLease(look, true);
          // Stale by every clock: whoever stored it measures its age otherwise than we do.
          return {
            answer: true,
            put: { ...keepEntry(look), entry: { ...entry, ttl: 0, grace: age + entry.grace } },
          };
        }),
      ),
    );
    return expired.filter((there) => there).length;
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    this.#assertOpen();
    return this.#step(key, (look): Step<boolean> => {
      const found = look?.found;
      if (found === undefined || found.age >= found.entry.ttl) return { answer: false };
      return { answer: true, put: { entry: { ...found.entry, ttl }, stamp: stampNow(), ...keepLease(look) } };
    });
  }

  keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[]> {
    return this.#listing.keys(prefix, signal);
  }

  async clear(keep: string): Promise<void> {
    await this.#listing.clear(keep);
  }

  async stats(): Promise<StoreStats> {
    this.#assertOpen();
    return this.#listing.stats();
  }

  async ping(): Promise<void> {
    this.#assertOpen();
    try {
      await Promise.any(this.#servers.map(({ connection }) => connection.send("mn")));
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { connection } of this.#servers) connection.close();
  }

  async #readOne(key: string, { lease: ms, refresh }: ReadOptions): Promise<StoreRead> {
    const { items } = this.#serverOf(key);
    const name = this.#names.entry(key);
    for (let left = TRIES; ; left--) {
      const item = await items.get(name);
      const look = item === undefined ? undefined : lookAt(item);
      const found = look?.found;
      const fresh = found !== undefined && found.age < found.entry.ttl;
      if (ms === undefined || (fresh && refresh !== true)) return { found, lease: undefined };
      if (look?.lease !== undefined) {
        if (left <= 1 || look.lease.awaited || (await this.#mark(name, look)))
          return { found, lease: "busy" };
        continue;
      }
      const token = newToken();
      const cas = await this.#put(key, { ...keepEntry(look), ...newLease(token, ms) }, howOver(look));
      if (cas !== undefined) return { found, lease: `${token}.${cas}` };
      if (left <= 1) return { found, lease: "busy" };
    }
  }

  /** Notes on a lease that somebody waits for it. */
  async #mark(name: string, { item, record }: Look): Promise<boolean> {
    // The mark leaves all stamps as they are, so the item may not live longer than it would have.
    const seconds = item.left - 1;
    if (record === undefined || seconds < 1) return true; // about to end: whoever waits will look again
    const how = { cas: item.cas };
    const { items } = serverOf(this.#servers, name);
    return (
      (await items.put(name, markAwaited(item.value), { seconds, flags: itemFlags(record), how })) !==
      undefined
    );
  }

  /**
   * In two steps, both harmless when a frozen server does them late: the first leaves nothing but a lease, the
   * second is refused wherever that lease is gone.
   */
  async #writeOne(key: string, entry: StoredEntry): Promise<void> {
    const token = newToken();
    const cas = await this.#put(key, newLease(token, WRITE_LEASE), "set");
    try {
      // Refused: somebody wrote or removed it since, which is as if it had been just after this.
      await this.fill(key, entry, `${token}.${cas}`);
    } catch (error) {
      if (error instanceof RefusedError) await this.release(key, token);
      throw error;
    }
  }

  async #removeOne(key: string): Promise<boolean> {
    const { items } = this.#serverOf(key);
    const name = this.#names.entry(key);
    // The look is for the count alone; both travel together.
    const [head, gone] = await Promise.all([items.head(name), items.remove(name)]);
    return gone && head !== undefined && holdsEntry(head.flags);
  }

  #removeOlder(key: string, before: Position): Promise<boolean> {
    return this.#step(key, (look): Step<boolean> => {
      if (look?.found === undefined || look.found.entry.asOf >= before) return { answer: false };
      return look.lease === undefined ? { answer: true, drop: true } : { answer: true, put: keepLease(look) };
    });
  }

  /** Looks, decides, and writes over just what was seen; again when somebody else wrote in between. */
  async #step<T>(key: string, decide: (look: Look | undefined) => Step<T>): Promise<T> {
    const { items } = this.#serverOf(key);
    const name = this.#names.entry(key);
    for (let tries = 1; tries <= TRIES; tries++) {
      const item = await items.get(name);
      const look = item === undefined ? undefined : lookAt(item);
      const step = decide(look);
      if (step.drop === true) {
        if (look === undefined || (await items.remove(name, look.item.cas))) return step.answer;
      } else if (step.put === undefined || (await this.#put(key, step.put, howOver(look))) !== undefined)
        return step.answer;
      if (tries > 5) await sleep(this.#context.random() * 5);
    }
    throw new StoreError(`Too many processes write the entry of "${key.slice(0, 100)}" at once.`);
  }

  #put(key: string, change: Change, how: "set" | "add" | { cas: string }): Promise<string | undefined> {
    const name = this.#names.entry(key);
    const record = recordOf(change, this.#names.isHashed(name) ? key : undefined);
    const put = { seconds: record.seconds, flags: itemFlags(record), how };
    return this.#serverOf(key).items.put(name, encodeRecord(record), put);
  }

  /** Refuses what the server would, before anything is touched: what was there stays. */
  async #assertFits(key: string, { value, tags, generation }: StoredEntry): Promise<void> {
    const name = this.#names.entry(key);
    const texts = tags.reduce((sum, tag) => sum + 4 + 3 * tag.length, 3 * generation.length + 2 * key.length);
    await serverOf(this.#servers, name).connection.assertFits(name, value.length + texts + RECORD_OVERHEAD);
  }

  #serverOf(key: string): Server {
    return serverOf(this.#servers, this.#names.entry(key));
  }

  #warn(server: Server, error: unknown): void {
    if (this.#closed || this.#servers.length === 1 || this.#warned.has(server)) return;
    this.#warned.add(server);
    this.#context.warn(`Keys of one Memcached server are misses: ${reason(error)}`);
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError(`The store "${this.name}" is closed.`);
  }
}

/** Over what was seen: the item, or nothing. */
function howOver(look: Look | undefined): "add" | { cas: string } {
  return look === undefined ? "add" : { cas: look.item.cas };
}

function withoutLease<T>(look: Look, answer: T): Step<T> {
  return look.found === undefined ? { answer, drop: true } : { answer, put: keepEntry(look) };
}

/** Sixteen characters. */
function newToken(): string {
  return randomBytes(12).toString("base64url");
}
