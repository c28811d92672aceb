import { randomBytes } from "node:crypto";
import { StoreError } from "../../base/errors.ts";
import type { StoreRead } from "../store.ts";
import { keySlot } from "./key-slot.ts";
import { decodeRecord, type Layout } from "./record.ts";
import type { RedisLink, Reply } from "./redis-link.ts";
import { readScript, releaseScript } from "./scripts.ts";

/** Most keys of one script call. */
const MOST_KEYS = 128;
/** Bytes that one `MGET` should answer: the server does nothing else meanwhile. */
const ENOUGH_BYTES = 512 * 1024;
/** How long one reading of the server's clock serves, in milliseconds: a clock that is set is noticed after that. */
const TIME_SERVES = 50;
/** Parts of a reply before the records. */
const HEAD = 2;
/** Leases given back of reads that failed, at most; and how often that is tried, in milliseconds. */
const MOST_LOST = 1_000;
const GIVE_BACK_EVERY = 250;

/** What decides how a key is read; only equal ones travel together. */
export interface Want {
  readonly lease: number | undefined;
  readonly refresh: boolean;
}

/** What one reader asked for in one go. */
interface Request {
  readonly reads: StoreRead[];
  /** Answers still to come. */
  left: number;
  readonly resolve: (reads: StoreRead[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Keys that travel together, and where their answers go: lists side by side, since there are many of them. */
class Batch {
  readonly keys: string[] = [];
  readonly requests: Request[] = [];
  readonly places: number[] = [];

  add(key: string, request: Request, place: number): void {
    this.keys.push(key);
    this.requests.push(request);
    this.places.push(place);
  }

  slice(from: number, to: number): Batch {
    if (from === 0 && to >= this.keys.length) return this;
    const part = new Batch();
    for (let i = from; i < Math.min(to, this.keys.length); i++) part.take(this, i);
    return part;
  }

  bySlot(): Iterable<Batch> {
    const slots = new Map<number, Batch>();
    for (const [i, key] of this.keys.entries()) {
      const slot = keySlot(key);
      let batch = slots.get(slot);
      if (batch === undefined) {
        batch = new Batch();
        slots.set(slot, batch);
      }
      batch.take(this, i);
    }
    return slots.values();
  }

  answer(i: number, read: StoreRead): void {
    const request = this.requests[i];
    if (request === undefined) return;
    request.reads[this.places[i] ?? 0] = read;
    if (--request.left === 0) request.resolve(request.reads);
  }

  reject(error: unknown): void {
    for (const request of this.requests) request.reject(error);
  }

  /** Takes over a key of another batch. */
  take(from: Batch, i: number): void {
    const [key, request] = [from.keys[i], from.requests[i]];
    if (key !== undefined && request !== undefined) this.add(key, request, from.places[i] ?? 0);
  }
}

/** A lease that the server may have lent without anybody hearing of it. */
interface LostLease {
  readonly key: string;
  readonly token: string;
  readonly until: number;
}

/**
 * Reads by script calls that concurrent readers share: what is asked for in one turn of the event loop travels
 * together. On a cluster, per slot.
 */
export class RedisReader {
  readonly #link: RedisLink;
  readonly #layout: Layout;
  /** Tokens of this process: its own random part, and a number. */
  readonly #node = randomBytes(9).toString("base64url");
  #serial = 0;
  /** The last time that was asked for, and when. */
  #clock: { readonly asked: number; readonly time: Promise<number> } | undefined;
  /** What a record has taken lately, so that a call of large ones stays short. */
  #usualSize = 1_024;
  #waiting = new Map<string, { readonly want: Want; readonly batch: Batch }>();
  #lost: LostLease[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(link: RedisLink, layout: Layout) {
    this.#link = link;
    this.#layout = layout;
  }

  /** @param keys keys as Redis has them. */
  read(keys: readonly string[], want: Want): Promise<StoreRead[]> {
    if (keys.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const request = { reads: new Array<StoreRead>(keys.length), left: keys.length, resolve, reject };
      const group = `${want.lease} ${want.refresh}`;
      let there = this.#waiting.get(group);
      if (there === undefined) {
        there = { want, batch: new Batch() };
        this.#waiting.set(group, there);
        // After the microtasks of this turn: all readers that one answer has woken have asked again by then.
        if (this.#waiting.size === 1) process.nextTick(() => this.#flush());
      }
      for (const [place, key] of keys.entries()) there.batch.add(key, request, place);
    });
  }

  #flush(): void {
    const groups = this.#waiting;
    this.#waiting = new Map();
    for (const { want, batch } of groups.values()) {
      // A cluster answers `TIME` without saying which of its nodes did: there the script tells both.
      const glances = !this.#link.cluster && !want.refresh;
      const most = glances
        ? Math.max(1, Math.min(MOST_KEYS, Math.floor(ENOUGH_BYTES / this.#usualSize)))
        : MOST_KEYS;
      for (const same of this.#link.cluster ? batch.bySlot() : [batch])
        for (let from = 0; from < same.keys.length; from += most) {
          const part = same.slice(from, from + most);
          void (glances ? this.#glance(part, want) : this.#call(part, want));
        }
    }
  }

  /** Ends what it does by itself. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /**
   * Most reads are of fresh entries: `MGET` gets them at a fraction of what a script costs the server. Only
   * the keys that need a lease are asked for once more, in a script.
   */
  async #glance(batch: Batch, want: Want): Promise<void> {
    try {
      const [first = ""] = batch.keys;
      const reading = this.#link.send(first, ["MGET", ...batch.keys]);
      // The time after the records: entries are as old as they say or a moment older, never younger.
      const { asked, time } = this.#time(first);
      const [records, then] = await Promise.all([reading, time]);
      const now = then + performance.now() - asked;
      if (!Array.isArray(records) || records.length !== batch.keys.length)
        throw new StoreError("Redis gave another answer than that of MGET.");
      const rest = new Batch();
      let bytes = 0;
      for (let i = 0; i < records.length; i++) {
        const record: unknown = records[i];
        const found = Buffer.isBuffer(record) ? decodeRecord(record, now) : undefined;
        if (Buffer.isBuffer(record)) bytes += record.length;
        if (want.lease !== undefined && (found === undefined || found.age >= found.entry.ttl))
          rest.take(batch, i);
        else batch.answer(i, { found, lease: undefined });
      }
      const size = bytes / records.length;
      // Large ones are noticed at once, and forgotten slowly.
      this.#usualSize = size > this.#usualSize ? size : this.#usualSize * 0.95 + size * 0.05;
      if (rest.keys.length > 0) void this.#call(rest, want);
    } catch (error) {
      this.#clock = undefined; // the next answer may come from another server
      batch.reject(error);
    }
  }

  /**
   * The server's time in milliseconds, and when it was asked for; what has passed since is at least what has
   * passed since the server read its clock. One reading serves for a few moments.
   */
  #time(key: string): { readonly asked: number; readonly time: Promise<number> } {
    const asked = performance.now();
    const last = this.#clock;
    if (last !== undefined && asked - last.asked < TIME_SERVES) return last;
    const reading = { asked, time: this.#link.send(key, ["TIME"]).then(millisecondsOf) };
    this.#clock = reading;
    return reading;
  }

  async #call(batch: Batch, want: Want): Promise<void> {
    const token = want.lease === undefined ? "" : `${this.#node}${(this.#serial++).toString(36)}`;
    try {
      const args =
        want.lease === undefined
          ? [""]
          : [String(Math.ceil(want.lease)), want.refresh ? "1" : "0", token, this.#layout];
      const reply = await this.#link.run(readScript, batch.keys, args);
      this.#answer(batch, want, reply, token);
    } catch (error) {
      batch.reject(error);
      // A server that was frozen carries out what lay in its socket: all would wait for those leases to run out.
      if (want.lease !== undefined && !(error instanceof StoreError))
        this.#lose(batch.keys, token, want.lease);
    }
  }

  #lose(keys: readonly string[], token: string, lease: number): void {
    const until = performance.now() + 2 * lease;
    for (const key of keys) if (this.#lost.length < MOST_LOST) this.#lost.push({ key, token, until });
    this.#giveBackLater();
  }

  #giveBackLater(): void {
    if (this.#stopped || this.#lost.length === 0) return;
    this.#timer ??= setTimeout(() => {
      void this.#giveBack().finally(() => {
        this.#timer = undefined;
        this.#giveBackLater();
      });
    }, GIVE_BACK_EVERY).unref();
  }

  async #giveBack(): Promise<void> {
    const lost = this.#lost;
    this.#lost = [];
    const back = await Promise.allSettled(
      lost.map(({ key, token }) => this.#link.run(releaseScript, [key], [token])),
    );
    const now = performance.now();
    const still = lost.filter(({ until }, i) => back[i]?.status === "rejected" && now < until);
    this.#lost = [...still, ...this.#lost].slice(0, MOST_LOST);
  }

  #answer(batch: Batch, want: Want, reply: Reply, token: string): void {
    if (!Array.isArray(reply) || reply.length <= HEAD)
      throw new StoreError("Redis gave another answer than the script's.");
    const now = Number(reply[0]);
    const letters = token === "" ? "" : String(reply[1]);
    const answered = reply.length - HEAD;
    // Asked for before anything is decoded, so that the server is not left waiting.
    const { length } = batch.keys;
    if (answered < length) void this.#call(batch.slice(answered, length), want);
    for (let index = 0; index < answered; index++) {
      const record: unknown = reply[HEAD + index];
      const letter = letters[index];
      batch.answer(index, {
        found: Buffer.isBuffer(record) ? decodeRecord(record, now) : undefined,
        lease: letter === "t" ? token : letter === "b" ? "busy" : undefined,
      });
    }
  }
}

/** What `TIME` answers, in milliseconds. */
function millisecondsOf(time: Reply): number {
  const [seconds, micros] = Array.isArray(time) ? time.map(Number) : [];
  if (seconds === undefined || micros === undefined) throw new StoreError("Redis did not tell its time.");
  return seconds * 1_000 + Math.floor(micros / 1_000);
}
