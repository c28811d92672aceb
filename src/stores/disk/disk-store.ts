import { randomBytes } from "node:crypto";
import type { Timer } from "../../base/clock.ts";
import { reason, StoreError } from "../../base/errors.ts";
import type { LayerContext, Position } from "../../coherence/log.ts";
import type { FoundEntry, ReadOptions, Store, StoredEntry, StoreRead, StoreStats } from "../store.ts";
import type { Environment, Table } from "./environment.ts";
import { ageOf, decodeRecord, encodeRecord, misfit, orderOf } from "./format.ts";
import { encodeLease, holderOf, isHeld } from "./lease.ts";
import { after, HASHED, idOf, keyOf, numberKey, PLAIN, withKey, withoutKey } from "./record-id.ts";

/** Records worked off in one step, before the event loop gets its turn. */
const STEP = 500;
/** How often the sweeper looks for what has expired, in milliseconds. */
const SWEEP_EVERY = 5_000;
/** How old a read's knowledge may be of whether the file is still in its place, in milliseconds. */
const LOOK_EVERY = 25;
/** A value larger than this share of the bound is refused. */
const LARGEST_SHARE = 4;

const TOTALS = Buffer.from("totals");

/** What is counted in the transaction that changes it: after a crash the sums are right. */
interface Tally {
  entries: number;
  bytes: number;
  /** The next place in the order of writing. */
  next: number;
}

/** Tables of a cache's store. */
export function storeTables(cacheName: string): Record<"entries" | "leases" | "order" | "meta", string> {
  return {
    entries: `${cacheName}/entries`,
    leases: `${cacheName}/leases`,
    /** Order of writing -> id: the oldest goes first when the bound is reached. */
    order: `${cacheName}/order`,
    meta: `${cacheName}/meta`,
  };
}

/** Entries of one cache in an LMDB file. */
export class DiskStore implements Store {
  readonly name = "disk";
  readonly #env: Environment;
  readonly #tables: ReturnType<typeof storeTables>;
  readonly #maxBytes: number;
  readonly #context: LayerContext;
  #tally: Tally = { entries: 0, bytes: 0, next: 1 };
  #lookedAt: number;
  #sweeper: Timer | undefined;
  /** Where the next step of the sweeper begins in each table. */
  readonly #sweptTo: Record<"entries" | "leases", Buffer | undefined> = {
    entries: undefined,
    leases: undefined,
  };
  #closed = false;

  constructor(env: Environment, context: LayerContext, maxBytes: number) {
    this.#env = env;
    this.#tables = storeTables(context.cacheName);
    this.#maxBytes = maxBytes;
    this.#context = context;
    this.#lookedAt = context.clock.now();
    this.#sweepLater();
  }

  async read(keys: readonly string[], options: ReadOptions = {}): Promise<StoreRead[]> {
    this.#assertOpen();
    options.signal?.throwIfAborted();
    this.#look();
    const { lease, refresh } = options;
    const answer = (key: string, lend: (id: Buffer) => string | undefined): StoreRead => {
      const id = idOf(key);
      const found = this.#find(id);
      const fresh = found !== undefined && found.age < found.entry.ttl;
      return { found, lease: lease === undefined || (fresh && refresh !== true) ? undefined : lend(id) };
    };
    let unlent = false;
    const seen = this.#env.read(() =>
      keys.map((key) =>
        answer(key, (id) => {
          // Those who wait for another's fill ask again and again: that needs no transaction.
          if (isHeld(this.#leases.getBinary(id), this.#wall())) return "busy";
          unlent = true;
          return undefined;
        }),
      ),
    );
    if (!unlent || lease === undefined) return seen;
    return this.#env.write(() => keys.map((key) => answer(key, (id) => this.#lend(id, lease))));
  }

  async fill(key: string, entry: StoredEntry, token: string): Promise<boolean> {
    this.#assertOpen();
    this.#assertFits(key, entry);
    return this.#change(() => {
      const id = idOf(key);
      if (!this.#holds(id, token)) return false;
      this.#leases.remove(id);
      this.#put(id, key, entry);
      return true;
    });
  }

  async renew(key: string, token: string, ms: number): Promise<boolean> {
    this.#assertOpen();
    return this.#env.write(() => {
      const id = idOf(key);
      if (!this.#holds(id, token)) return false;
      this.#leases.put(id, encodeLease(token, this.#wall(), ms));
      return true;
    });
  }

  async release(key: string, token: string): Promise<void> {
    this.#assertOpen();
    await this.#env.write(() => {
      const id = idOf(key);
      if (this.#holds(id, token)) this.#leases.remove(id);
    });
  }

  async write(entries: readonly (readonly [string, StoredEntry])[]): Promise<void> {
    this.#assertOpen();
    for (const [key, entry] of entries) this.#assertFits(key, entry);
    await this.#change(() => {
      for (const [key, entry] of entries) {
        const id = idOf(key);
        this.#leases.remove(id);
        this.#put(id, key, entry);
      }
    });
  }

  async remove(keys: readonly string[], before?: Position): Promise<number> {
    this.#assertOpen();
    return this.#change(() => {
      let removed = 0;
      for (const key of keys) {
        const id = idOf(key);
        if (before === undefined) this.#leases.remove(id);
        const entry = this.#find(id)?.entry;
        if (before !== undefined && entry !== undefined && entry.asOf >= before) continue;
        if (this.#drop(id) && entry !== undefined) removed++;
      }
      return removed;
    });
  }

  async expire(keys: readonly string[]): Promise<number> {
    this.#assertOpen();
    return this.#change(() => {
      let expired = 0;
      for (const key of keys) {
        const id = idOf(key);
        this.#leases.remove(id);
        const found = this.#find(id);
        if (found === undefined) continue;
        expired++;
        if (found.age < found.entry.ttl) this.#replace(id, key, { ...found.entry, ttl: found.age }, found.age);
      }
      return expired;
    });
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    this.#assertOpen();
    return this.#change(() => {
      const id = idOf(key);
      const found = this.#find(id);
      if (found !== undefined) this.#replace(id, key, { ...found.entry, ttl }, 0);
      return found !== undefined;
    });
  }

  async *keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[]> {
    this.#assertOpen();
    // Plain keys stand in their own order, so that those with the prefix are one run; hashed ones follow, in none.
    for (const from of [Buffer.concat([Buffer.from([PLAIN]), Buffer.from(prefix)]), Buffer.from([HASHED])]) {
      for await (const batch of this.#steps(from)) {
        signal?.throwIfAborted();
        const mine = batch.filter((id) => id[0] === from[0]);
        const keys = this.#env.read(() =>
          mine
            .filter((id) => this.#find(id) !== undefined)
            .map((id) => this.#keyOf(id))
            .filter((key) => key.startsWith(prefix)),
        );
        if (keys.length > 0) yield keys;
        const last = mine.at(-1);
        if (last === undefined || mine.length < batch.length) break;
        if (from[0] === PLAIN && !last.subarray(0, from.length).equals(from)) break;
      }
    }
  }

  async clear(keep: string): Promise<void> {
    this.#assertOpen();
    for await (const batch of this.#steps(undefined))
      await this.#change(() => {
        for (const id of batch) {
          const kept = this.#entries.getBinary(id);
          if (kept === undefined || decodeRecord(withoutKey(kept, id))?.entry.generation === keep) continue;
          this.#drop(id);
          this.#leases.remove(id);
        }
      });
  }

  async stats(): Promise<StoreStats> {
    this.#assertOpen();
    this.#look();
    const { entries, bytes } = this.#env.read(() => this.#totals());
    return { entries, bytes };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#sweeper?.cancel();
    await this.#env.release();
  }

  get #entries(): Table {
    return this.#env.table(this.#tables.entries);
  }

  get #leases(): Table {
    return this.#env.table(this.#tables.leases);
  }

  get #order(): Table {
    return this.#env.table(this.#tables.order);
  }

  get #meta(): Table {
    return this.#env.table(this.#tables.meta);
  }

  #wall(): number {
    return this.#context.clock.wall();
  }

  /** Notices a replaced file soon enough: reads may be as old as what the log's followers know. */
  #look(): void {
    const now = this.#context.clock.now();
    if (now - this.#lookedAt < LOOK_EVERY) return;
    this.#env.verify();
    this.#lookedAt = now;
  }

  /** A write transaction that keeps the sums, after which the bound holds again. */
  async #change<T>(work: () => T): Promise<T> {
    const tallied = (job: () => T | undefined): { value: T | undefined; over: boolean } => {
      this.#tally = this.#totals();
      const { entries, bytes, next } = this.#tally;
      try {
        const value = job();
        this.#evict();
        return { value, over: this.#tally.bytes > this.#maxBytes && this.#tally.entries > 0 };
      } finally {
        // Also when it failed half way: what it did is committed with the others' work.
        const now = this.#tally;
        if (now.entries !== entries || now.bytes !== bytes || now.next !== next)
          this.#meta.put(TOTALS, encodeTally(now));
      }
    };
    let { value, over } = await this.#env.write(() => tallied(work));
    while (over && !this.#closed) {
      await turn();
      ({ over } = await this.#env.write(() => tallied(() => undefined)));
    }
    return value as T; // `work` has run
  }

  #find(id: Buffer): FoundEntry | undefined {
    const kept = this.#entries.getBinary(id);
    const record = kept === undefined ? undefined : decodeRecord(withoutKey(kept, id));
    if (record === undefined) return undefined;
    const age = ageOf(record, this.#wall());
    return age === undefined ? undefined : { entry: record.entry, age };
  }

  #lend(id: Buffer, ms: number): string | "busy" {
    const now = this.#wall();
    if (isHeld(this.#leases.getBinary(id), now)) return "busy";
    const token = randomBytes(12).toString("base64url");
    this.#leases.put(id, encodeLease(token, now, ms));
    return token;
  }

  #holds(id: Buffer, token: string): boolean {
    const record = this.#leases.getBinary(id);
    return isHeld(record, this.#wall()) && holderOf(record) === token;
  }

  #put(id: Buffer, key: string, entry: StoredEntry): void {
    this.#drop(id);
    const order = this.#tally.next++;
    this.#insert(id, key, entry, 0, order);
    this.#order.put(numberKey(order), id);
  }

  #replace(id: Buffer, key: string, entry: StoredEntry, age: number): void {
    const kept = this.#entries.getBinary(id);
    const order = kept === undefined ? undefined : orderOf(withoutKey(kept, id));
    if (kept === undefined || order === undefined) return;
    this.#tally.entries--;
    this.#tally.bytes -= id.length + kept.length;
    this.#insert(id, key, entry, age, order);
  }

  #insert(id: Buffer, key: string, entry: StoredEntry, age: number, order: number): void {
    const kept = withKey(encodeRecord({ entry, storedAt: this.#wall() - age, order }), id, key);
    this.#entries.put(id, kept);
    this.#tally.entries++;
    this.#tally.bytes += id.length + kept.length;
  }

  /** Removes a record and its place in the order. */
  #drop(id: Buffer): boolean {
    const kept = this.#entries.getBinary(id);
    if (kept === undefined) return false;
    const order = orderOf(withoutKey(kept, id));
    if (order !== undefined) this.#order.remove(numberKey(order));
    this.#entries.remove(id);
    this.#tally.entries--;
    this.#tally.bytes -= id.length + kept.length;
    return true;
  }

  /** Drops the oldest until the bound holds, at most one step's worth. */
  #evict(): void {
    if (this.#tally.bytes <= this.#maxBytes) return;
    for (const place of [...this.#order.getKeys({ limit: STEP })]) {
      const id = this.#order.getBinary(place);
      if (id !== undefined) this.#drop(id);
      this.#order.remove(place);
      if (this.#tally.bytes <= this.#maxBytes) return;
    }
  }

  #totals(): Tally {
    const record = this.#meta.getBinary(TOTALS);
    if (record === undefined || record.length < 24) return { entries: 0, bytes: 0, next: 1 };
    return { entries: record.readDoubleLE(0), bytes: record.readDoubleLE(8), next: record.readDoubleLE(16) };
  }

  /** Ids of all records in steps, each of its own snapshot, with a turn of the event loop in between. */
  async *#steps(from: Buffer | undefined): AsyncGenerator<Buffer[]> {
    let start = from;
    while (!this.#closed) {
      this.#look();
      const batch = this.#env.read(() => idsFrom(this.#entries, start));
      if (batch.length > 0) yield batch;
      const last = batch.at(-1);
      if (last === undefined || batch.length < STEP) return;
      start = after(last);
      await turn();
    }
  }

  #keyOf(id: Buffer): string {
    return keyOf(id, () => this.#entries.getBinary(id));
  }

  #sweepLater(): void {
    if (!this.#closed) this.#sweeper = this.#context.clock.setTimer(SWEEP_EVERY, () => void this.#sweep());
  }

  /** A step around each table; more at once while much is found. */
  async #sweep(): Promise<void> {
    try {
      this.#look();
      this.#env.freeDeadReaders();
      await this.#sweepStep("leases", (id) => !isHeld(this.#leases.getBinary(id), this.#wall()));
      for (let dead = STEP; dead >= STEP / 4 && !this.#closed; )
        dead = await this.#sweepStep("entries", (id) => this.#find(id) === undefined);
    } catch (error) {
      if (!this.#closed) this.#context.warn(`The disk store could not sweep: ${reason(error)}.`);
    }
    this.#sweepLater();
  }

  async #sweepStep(name: "entries" | "leases", isDead: (id: Buffer) => boolean): Promise<number> {
    const table = () => this.#env.table(this.#tables[name]);
    const batch = this.#env.read(() => idsFrom(table(), this.#sweptTo[name]));
    const last = batch.at(-1);
    this.#sweptTo[name] = batch.length < STEP || last === undefined ? undefined : after(last);
    const dead = this.#env.read(() => batch.filter(isDead));
    if (dead.length > 0)
      await this.#change(() => {
        for (const id of dead)
          if (isDead(id)) {
            if (name === "entries") this.#drop(id);
            else table().remove(id);
          }
      });
    await turn();
    return dead.length;
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('Store "disk" is closed.');
  }

  #assertFits(key: string, entry: StoredEntry): void {
    const largest = this.#maxBytes / LARGEST_SHARE;
    if (entry.value.length > largest)
      throw new StoreError(
        `The value of key ${JSON.stringify(key)} takes ${entry.value.length} bytes; the disk store keeps at most ${Math.floor(largest)} in one (a quarter of maxBytes).`,
      );
    const odd = misfit(entry);
    if (odd !== undefined)
      throw new StoreError(`The entry of key ${JSON.stringify(key)} has ${odd}; the disk store keeps none.`);
  }
}

function idsFrom(table: Table, start: Buffer | undefined): Buffer[] {
  return [...table.getKeys({ ...(start === undefined ? {} : { start }), limit: STEP })].map((id) =>
    Buffer.from(id),
  );
}

function encodeTally({ entries, bytes, next }: Tally): Buffer {
  const record = Buffer.alloc(24);
  record.writeDoubleLE(entries, 0);
  record.writeDoubleLE(bytes, 8);
  record.writeDoubleLE(next, 16);
  return record;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
