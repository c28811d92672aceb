import { createHash, randomBytes } from "node:crypto";
import type { Timer } from "../../base/clock.ts";
import { RefusedError, StoreError } from "../../base/errors.ts";
import type { LayerContext, Position } from "../../coherence/log.ts";
import type {
  FillResult,
  FoundEntry,
  ReadOptions,
  Store,
  StoredEntry,
  StoreRead,
  StoreStats,
} from "../store.ts";
import type { Environment, Table } from "./environment.ts";
import { decodeRecord, encodeRecord, orderOf } from "./format.ts";

/** Records worked off in one step, before the event loop gets its turn. */
const STEP = 500;
/** How often the sweeper looks for expired records, in milliseconds. */
const SWEEP_EVERY = 5_000;
/** LMDB takes keys of up to 1,978 bytes; longer ones are kept under their hash. */
const MAX_KEY = 1_900;
/** A value larger than this share of the bound is refused. */
const LARGEST_SHARE = 4;

/** Milliseconds that the wall clock may be set back without a loss: small corrections. */
const CLOCK_TOLERANCE = 1_000;

const TOTALS = Buffer.from("totals");

/** Entries of one cache in an LMDB file. */
export class DiskStore implements Store {
  readonly name = "disk";
  readonly #env: Environment;
  readonly #entries: Table;
  readonly #leases: Table;
  /** Order of writing -> key: the oldest goes first when the bound is reached. */
  readonly #order: Table;
  readonly #meta: Table;
  readonly #maxBytes: number;
  readonly #context: LayerContext;
  readonly #released: () => Promise<void>;
  #sweeper: Timer | undefined;
  #sweptTo: Buffer | undefined;
  #closed = false;

  constructor(env: Environment, context: LayerContext, maxBytes: number, released: () => Promise<void>) {
    const { cacheName } = context;
    this.#env = env;
    this.#entries = env.table(`${cacheName}/entries`);
    this.#leases = env.table(`${cacheName}/leases`);
    this.#order = env.table(`${cacheName}/order`);
    this.#meta = env.table(`${cacheName}/meta`);
    this.#maxBytes = maxBytes;
    this.#context = context;
    this.#released = released;
    this.#sweepLater();
  }

  async read(keys: readonly string[], options: ReadOptions = {}): Promise<StoreRead[]> {
    this.#assertOpen();
    options.signal?.throwIfAborted();
    this.#env.renew();
    const found = keys.map((key) => this.#find(key));
    const { lease, refresh } = options;
    const wants = (entry: FoundEntry | undefined): boolean =>
      lease !== undefined && (refresh === true || entry === undefined || entry.age >= entry.entry.ttl);
    if (lease === undefined || !found.some(wants))
      return found.map((entry) => ({ found: entry, lease: undefined }));
    return this.#env.write(() =>
      keys.map((key): StoreRead => {
        const entry = this.#find(key);
        return { found: entry, lease: wants(entry) ? this.#lend(key, lease) : undefined };
      }),
    );
  }

  async fill(key: string, entry: StoredEntry, token: string): Promise<FillResult> {
    this.#assertOpen();
    this.#assertFits(key, entry);
    return this.#writing(() => {
      const lease = this.#held(key, token);
      if (lease === undefined) return "refused";
      this.#leases.remove(keyOf(key));
      this.#put(key, entry);
      return isAwaited(lease) ? "awaited" : "stored";
    });
  }

  async renew(key: string, token: string, ms: number): Promise<boolean> {
    this.#assertOpen();
    return this.#env.write(() => {
      const lease = this.#held(key, token);
      if (lease === undefined) return false;
      this.#leases.put(keyOf(key), leaseRecord(token, this.#context.clock.wall(), ms, isAwaited(lease)));
      return true;
    });
  }

  async release(key: string, token: string): Promise<boolean> {
    this.#assertOpen();
    return this.#env.write(() => {
      const lease = this.#held(key, token);
      if (lease === undefined) return false;
      this.#leases.remove(keyOf(key));
      return isAwaited(lease);
    });
  }

  async write(entries: readonly (readonly [string, StoredEntry])[]): Promise<void> {
    this.#assertOpen();
    for (const [key, entry] of entries) this.#assertFits(key, entry);
    await this.#writing(() => {
      for (const [key, entry] of entries) {
        this.#leases.remove(keyOf(key));
        this.#put(key, entry);
      }
    });
  }

  async remove(keys: readonly string[], before?: Position): Promise<number> {
    this.#assertOpen();
    return this.#writing(() => {
      let removed = 0;
      for (const key of keys) {
        const id = keyOf(key);
        if (before === undefined) this.#leases.remove(id);
        const entry = this.#find(key)?.entry;
        if (before !== undefined && entry !== undefined && entry.asOf >= before) continue;
        if (this.#drop(id) && entry !== undefined) removed++;
      }
      return removed;
    });
  }

  async expire(keys: readonly string[]): Promise<number> {
    this.#assertOpen();
    return this.#writing(() => {
      let expired = 0;
      for (const key of keys) {
        this.#leases.remove(keyOf(key));
        const found = this.#find(key);
        if (found === undefined) continue;
        expired++;
        if (found.age < found.entry.ttl) this.#replace(key, { ...found.entry, ttl: found.age }, found.age);
      }
      return expired;
    });
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    this.#assertOpen();
    return this.#env.write(() => {
      const found = this.#find(key);
      if (found === undefined || found.age >= found.entry.ttl) return false;
      this.#replace(key, { ...found.entry, ttl }, 0);
      return true;
    });
  }

  async *keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[]> {
    this.#assertOpen();
    // Plain keys stand in their own order, so that those with the prefix are one run; hashed ones follow, in none.
    for (const from of [Buffer.concat([Buffer.from([PLAIN]), Buffer.from(prefix)]), Buffer.from([HASHED])]) {
      for await (const batch of this.#steps(from)) {
        signal?.throwIfAborted();
        const mine = batch.filter((id) => id[0] === from[0]).map((id) => this.#keyText(id));
        const keys = mine.filter((key) => key.startsWith(prefix) && this.#find(key) !== undefined);
        if (keys.length > 0) yield keys;
        if (mine.length < batch.length || (from[0] === PLAIN && mine.at(-1)?.startsWith(prefix) === false))
          break;
      }
    }
  }

  async clear(keep: string): Promise<void> {
    this.#assertOpen();
    for await (const batch of this.#steps(undefined)) {
      if (this.#closed) return;
      await this.#writing(() => {
        for (const id of batch) {
          const record = this.#entries.getBinary(id);
          if (record === undefined || decodeRecord(record)?.entry.generation === keep) continue;
          this.#drop(id);
          this.#leases.remove(id);
        }
      });
    }
  }

  async stats(): Promise<StoreStats> {
    this.#assertOpen();
    this.#env.renew();
    return this.#totals();
  }

  async ping(): Promise<void> {
    this.#assertOpen();
    this.#totals();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#sweeper?.cancel();
    await this.#released();
  }

  /** A write transaction, after which the bound holds again. */
  async #writing<T>(work: () => T): Promise<T> {
    const result = await this.#env.write(() => {
      const done = work();
      this.#evict();
      return done;
    });
    if (this.#totals().bytes > this.#maxBytes) await this.#evictRest();
    return result;
  }

  #find(key: string): FoundEntry | undefined {
    const record = this.#entries.getBinary(keyOf(key));
    const parsed = record === undefined ? undefined : decodeRecord(unprefixed(record, key));
    if (parsed === undefined) return undefined;
    const age = this.#age(parsed.storedAt);
    return age === Number.POSITIVE_INFINITY || age >= parsed.entry.ttl + parsed.entry.grace
      ? undefined
      : { entry: parsed.entry, age };
  }

  /**
   * By the wall clock, since entries outlive the process. A stamp from the future means that the clock was set
   * back: how old the entry really is cannot be told, so it is past every age.
   */
  #age(storedAt: number): number {
    const age = this.#context.clock.wall() - storedAt;
    return age < -CLOCK_TOLERANCE ? Number.POSITIVE_INFINITY : Math.max(0, age);
  }

  #lend(key: string, ms: number): string | "busy" {
    const id = keyOf(key);
    const record = this.#leases.getBinary(id);
    const now = this.#context.clock.wall();
    if (record !== undefined && isHeld(record, now)) {
      if (!isAwaited(record)) this.#leases.put(id, awaitedRecord(record));
      return "busy";
    }
    const token = randomBytes(12).toString("base64url");
    this.#leases.put(id, leaseRecord(token, now, ms, false));
    return token;
  }

  /** The lease of a key, if it is held with this token. */
  #held(key: string, token: string): Buffer | undefined {
    const record = this.#leases.getBinary(keyOf(key));
    if (record === undefined || !isHeld(record, this.#context.clock.wall())) return undefined;
    return record.toString("latin1", TOKEN_AT) === token ? record : undefined;
  }

  #put(key: string, entry: StoredEntry): void {
    const id = keyOf(key);
    this.#drop(id);
    const { next } = this.#counters();
    this.#insert(id, key, entry, this.#context.clock.wall(), next);
    this.#order.put(orderKey(next), id);
    this.#count(0, 0, next + 1);
  }

  #replace(key: string, entry: StoredEntry, age: number): void {
    const id = keyOf(key);
    const record = this.#entries.getBinary(id);
    if (record === undefined) return;
    const order = orderOf(unprefixed(record, key));
    this.#count(-1, -(id.length + record.length));
    this.#insert(id, key, entry, this.#context.clock.wall() - age, order);
  }

  #insert(id: Buffer, key: string, entry: StoredEntry, storedAt: number, order: number): void {
    const encoded = prefixed(encodeRecord({ entry, storedAt, order }), id, key);
    this.#entries.put(id, encoded);
    this.#count(1, id.length + encoded.length);
  }

  /** Removes a record and its place in the order. */
  #drop(id: Buffer): boolean {
    const record = this.#entries.getBinary(id);
    if (record === undefined) return false;
    this.#order.remove(orderKey(orderOf(bare(record, id))));
    this.#entries.remove(id);
    this.#count(-1, -(id.length + record.length));
    return true;
  }

  /** Drops the oldest until the bound holds, at most one step's worth. */
  #evict(): void {
    const { bytes } = this.#totals();
    if (bytes <= this.#maxBytes) return;
    for (const order of [...this.#order.getKeys({ limit: STEP })]) {
      const id = this.#order.getBinary(order);
      if (id === undefined || !this.#drop(Buffer.from(id))) this.#order.remove(order);
      if (this.#totals().bytes <= this.#maxBytes) return;
    }
  }

  async #evictRest(): Promise<void> {
    while (!this.#closed && this.#totals().bytes > this.#maxBytes && this.#totals().entries > 0) {
      await turn();
      await this.#env.write(() => this.#evict());
    }
  }

  #counters(): { entries: number; bytes: number; next: number } {
    const record = this.#meta.getBinary(TOTALS);
    if (record === undefined || record.length < 24) return { entries: 0, bytes: 0, next: 1 };
    return { entries: record.readDoubleLE(0), bytes: record.readDoubleLE(8), next: record.readDoubleLE(16) };
  }

  #totals(): StoreStats {
    const { entries, bytes } = this.#counters();
    return { entries, bytes };
  }

  #count(entries: number, bytes: number, next?: number): void {
    const now = this.#counters();
    const record = Buffer.alloc(24);
    record.writeDoubleLE(now.entries + entries, 0);
    record.writeDoubleLE(now.bytes + bytes, 8);
    record.writeDoubleLE(next ?? now.next, 16);
    this.#meta.put(TOTALS, record);
  }

  /** Keys of all records in steps, each of its own snapshot, with a turn of the event loop in between. */
  async *#steps(from: Buffer | undefined): AsyncGenerator<Buffer[]> {
    let start = from;
    for (;;) {
      this.#env.renew();
      const batch = [
        ...this.#entries.getKeys({ ...(start === undefined ? {} : { start }), limit: STEP }),
      ].map((id) => Buffer.from(id));
      if (batch.length === 0) return;
      yield batch;
      if (batch.length < STEP) return;
      start = Buffer.concat([batch.at(-1) ?? Buffer.alloc(0), Buffer.from([0])]);
      await turn();
      if (this.#closed) return;
    }
  }

  #keyText(id: Buffer): string {
    if (id[0] !== HASHED) return id.toString("utf8", 1);
    const record = this.#entries.getBinary(id);
    return record === undefined ? "" : record.toString("utf8", 4, 4 + record.readUInt32LE(0));
  }

  #sweepLater(): void {
    if (!this.#closed) this.#sweeper = this.#context.clock.setTimer(SWEEP_EVERY, () => void this.#sweep());
  }

  /** Drops expired records, one step at a time around the whole table. */
  async #sweep(): Promise<void> {
    try {
      await this.#sweepLeases();
      this.#env.renew();
      const start = this.#sweptTo;
      const batch = [
        ...this.#entries.getKeys({ ...(start === undefined ? {} : { start }), limit: STEP }),
      ].map((id) => Buffer.from(id));
      const last = batch.at(-1);
      this.#sweptTo =
        batch.length < STEP || last === undefined ? undefined : Buffer.concat([last, Buffer.from([0])]);
      const dead = batch.filter((id) => this.#find(this.#keyText(id)) === undefined);
      if (dead.length > 0)
        await this.#env.write(() => {
          for (const id of dead) if (this.#find(this.#keyText(id)) === undefined) this.#drop(id);
        });
    } catch (error) {
      if (!this.#closed)
        this.#context.warn(
          `The disk store could not sweep: ${error instanceof Error ? error.message : String(error)}`,
        );
    }
    this.#sweepLater();
  }

  /** Leases whose holders died: nobody else ever removes them. There are few: one a load that is under way. */
  async #sweepLeases(): Promise<void> {
    this.#env.renew();
    const isDead = (id: Buffer): boolean => {
      const record = this.#leases.getBinary(id);
      return record !== undefined && !isHeld(record, this.#context.clock.wall());
    };
    const dead = [...this.#leases.getKeys({ limit: STEP })].map((id) => Buffer.from(id)).filter(isDead);
    if (dead.length === 0) return;
    await this.#env.write(() => {
      for (const id of dead) if (isDead(id)) this.#leases.remove(id);
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('Store "disk" is closed.');
  }

  #assertFits(key: string, entry: StoredEntry): void {
    const largest = this.#maxBytes / LARGEST_SHARE;
    if (entry.value.length > largest)
      throw new RefusedError(
        `The value of key ${JSON.stringify(key)} takes ${entry.value.length} bytes; the disk store keeps at most ${Math.floor(largest)} in one (a quarter of maxBytes).`,
      );
  }
}

/** First byte of an id: the key's own bytes follow, or its hash (then the record begins with the key). */
const PLAIN = 1;
const HASHED = 2;

function keyOf(key: string): Buffer {
  const bytes = Buffer.from(key);
  if (bytes.length <= MAX_KEY) return Buffer.concat([Buffer.from([PLAIN]), bytes]);
  return Buffer.concat([Buffer.from([HASHED]), createHash("sha256").update(bytes).digest()]);
}

function prefixed(record: Buffer, id: Buffer, key: string): Buffer {
  if (id[0] !== HASHED) return record;
  const text = Buffer.from(key);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text, record]);
}

function unprefixed(record: Buffer, key: string): Buffer {
  const length = Buffer.byteLength(key);
  return length <= MAX_KEY ? record : record.subarray(4 + length);
}

function bare(record: Buffer, id: Buffer): Buffer {
  return id[0] === HASHED ? record.subarray(4 + record.readUInt32LE(0)) : record;
}

/** Big-endian, so that LMDB's order of bytes is the order of numbers. */
function orderKey(order: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(order));
  return key;
}

/** Taken at, for how long, whether others wait, token. */
function leaseRecord(token: string, now: number, ms: number, awaited: boolean): Buffer {
  const record = Buffer.alloc(TOKEN_AT + token.length);
  record.writeDoubleLE(now, 0);
  record.writeDoubleLE(ms, 8);
  record[AWAITED_AT] = awaited ? 1 : 0;
  record.write(token, TOKEN_AT, "latin1");
  return record;
}

const AWAITED_AT = 16;
const TOKEN_AT = 17;

function isAwaited(lease: Buffer): boolean {
  return lease[AWAITED_AT] === 1;
}

function awaitedRecord(lease: Buffer): Buffer {
  const record = Buffer.from(lease);
  record[AWAITED_AT] = 1;
  return record;
}

/** A lease taken in the future was taken before the wall clock was set back: it does not hold for ever. */
function isHeld(record: Buffer, now: number): boolean {
  const age = now - record.readDoubleLE(0);
  return age >= 0 && age < record.readDoubleLE(8);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
