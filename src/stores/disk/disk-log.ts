import { createHash, randomBytes } from "node:crypto";
import type { Timer } from "../../base/clock.ts";
import { reason, StoreError } from "../../base/errors.ts";
import type {
  ActivePattern,
  Appended,
  Follower,
  LayerContext,
  Log,
  LogHead,
  LogRecord,
  Position,
  TagPositions,
} from "../../coherence/log.ts";
import { isPattern } from "../../coherence/log.ts";
import type { Environment, Table } from "./environment.ts";

/** How often a process looks for records of others, in milliseconds. A look costs microseconds. */
const POLL_EVERY = 25;
/** How often it looks whether its file is still there, in milliseconds. */
const CHECK_FILE_EVERY = 1_000;
/** Longest time in milliseconds between two acknowledgements; a quarter of `maxLag` when that is shorter. */
const HEARTBEAT = 1_000;
/** Pause between looks at what others acknowledged, in milliseconds. */
const SETTLE_PAUSE = 5;
/** Records kept; a process that is further behind starts again. */
const KEPT = 10_000;
/** Records removed in one append at most. */
const TRIM_STEP = 100;

const HEAD = Buffer.from("head");

/**
 * The log of the caches of one name on one machine, in the same LMDB file as their entries. Appending is one
 * transaction; other processes see it at their next look.
 */
export class DiskLog implements Log {
  readonly name = "disk";
  readonly shared = true;
  readonly #env: Environment;
  readonly #meta: Table;
  readonly #records: Table;
  readonly #tags: Table;
  readonly #patterns: Table;
  readonly #context: LayerContext;
  readonly #released: () => Promise<void>;
  #follower: Follower | undefined;
  #head: LogHead = { generation: "", position: 0 };
  readonly #node = randomBytes(9);
  readonly #followers: Table;
  readonly #heartbeat: number;
  /** What a process may trust itself for, a little longer for those who wait than for itself. */
  readonly #lease: number;
  #registeredAt = 0;
  #registering = false;
  /** Somebody waits for what was applied while a registration was under way. */
  #registerAgain = false;
  #lookedAt = 0;
  #timer: Timer | undefined;
  #closed = false;
  /** The file was deleted or replaced underneath: what is read and written here is seen by nobody. */
  #lost = false;
  #fileCheckedAt = Number.NEGATIVE_INFINITY;

  constructor(env: Environment, context: LayerContext, released: () => Promise<void>) {
    const { cacheName } = context;
    this.#env = env;
    this.#meta = env.table(`${cacheName}/log`);
    this.#records = env.table(`${cacheName}/records`);
    this.#tags = env.table(`${cacheName}/tags`);
    this.#patterns = env.table(`${cacheName}/patterns`);
    this.#followers = env.table(`${cacheName}/followers`);
    this.#heartbeat = Math.min(HEARTBEAT, context.maxLag / 4);
    this.#lease = context.maxLag * 1.01 + 10;
    this.#context = context;
    this.#released = released;
  }

  open(follower: Follower): LogHead {
    this.#follower = follower;
    const now = this.#context.clock.now();
    const fresh = this.#env.root.transactionSync(() => {
      const head = this.#read() ?? { generation: randomBytes(12).toString("base64url"), position: 0 };
      this.#meta.put(HEAD, Buffer.from(JSON.stringify(head)));
      this.#acknowledge(head.position);
      return head;
    });
    this.#head = fresh;
    this.#lookedAt = now;
    this.#registeredAt = now;
    this.#pollLater();
    return fresh;
  }

  async append(records: readonly LogRecord[]): Promise<Position> {
    if (this.#lost)
      throw new StoreError(
        "The disk store's file was deleted or replaced: restart the process to use the new one.",
      );
    const last = await this.#env.write(() => {
      let { generation, position } = this.#read() ?? this.#head;
      for (const record of records) {
        position++;
        this.#records.put(positionKey(position), Buffer.from(JSON.stringify(record)));
        if (record.kind === "tags")
          for (const tag of record.tags) this.#markTag(tag, position, record.soft === true);
        if (isPattern(record)) this.#patterns.put(positionKey(position), Buffer.from(JSON.stringify(record)));
        if (record.kind === "clear") ({ generation } = record);
      }
      this.#meta.put(HEAD, Buffer.from(JSON.stringify({ generation, position })));
      this.#trim(position);
      return position;
    });
    this.catchUp();
    return last;
  }

  tagPositions(tags: readonly string[]): TagPositions[] {
    this.#env.renew();
    return tags.map((tag) => {
      const record = this.#tags.getBinary(tagKey(tag));
      return record === undefined
        ? { hard: 0, soft: 0 }
        : { hard: record.readDoubleLE(0), soft: record.readDoubleLE(8) };
    });
  }

  patterns(): ActivePattern[] {
    this.#env.renew();
    return [...this.#patterns.getRange()].map(({ key, value }) => ({
      position: Number(key.readBigUInt64BE(0)),
      record: JSON.parse(value.toString()), // written by `append`, which puts only patterns here
    }));
  }

  async swept(pattern: ActivePattern): Promise<void> {
    await this.#env.write(() => this.#patterns.remove(positionKey(pattern.position)));
  }

  /** Waits until all processes that are registered acknowledged it, or their leases ran out. */
  async settled(position: Position, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    // Whatever the wall clock does meanwhile: a lease that there is now lasts no longer than this.
    const until = clock.now() + this.#lease;
    for (;;) {
      signal?.throwIfAborted();
      const left = Math.min(this.#unacknowledged(position), until - clock.now());
      if (left <= 0) return;
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(left, SETTLE_PAUSE), resolve, true);
      });
    }
  }

  lag(): number {
    // Both: what others wait for ends with the lease, and what is known with the last look.
    const heardAt = Math.min(this.#lookedAt, this.#registeredAt);
    return this.#lost ? Number.POSITIVE_INFINITY : this.#context.clock.now() - heardAt;
  }

  /** Applies what was appended since the last look, in order, each record once. */
  catchUp(): void {
    const follower = this.#follower;
    if (follower === undefined || this.#closed || this.#isLost(follower)) return;
    this.#env.renew();
    const head = this.#read();
    const known = this.#head;
    if (head === undefined || head.position < known.position) {
      this.#restart(follower, head, "the log went back: its file was replaced");
      return;
    }
    if (head.position > known.position) {
      const records = this.#since(known.position, head.position);
      if (records === undefined) {
        this.#restart(follower, head, "this process was away longer than the log remembers");
        return;
      }
      this.#head = head;
      follower.apply(records);
      if (records.some(({ record }) => record.strict === true)) this.#register();
    } else if (head.generation !== known.generation) {
      this.#restart(follower, head, "the log is another one: its file was replaced");
      return;
    }
    this.#lookedAt = this.#context.clock.now();
    if (this.#lookedAt - this.#registeredAt >= this.#heartbeat) this.#register();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#follower = undefined;
    await this.#env.write(() => this.#followers.remove(this.#node)).catch(() => undefined);
    await this.#released();
  }

  /** Tells those who wait how far this process is, and that it may trust itself for another while. */
  #register(): void {
    if (this.#closed || this.#lost) return;
    if (this.#registering) {
      this.#registerAgain = true;
      return;
    }
    this.#registering = true;
    // Before it is written: what others know of this process is never newer than what it believes.
    const sentAt = this.#context.clock.now();
    const { position } = this.#head;
    this.#env
      .write(() => this.#acknowledge(position))
      .then(
        () => {
          this.#registeredAt = sentAt;
        },
        () => undefined, // `lag` grows, so memory stops being trusted in time
      )
      .finally(() => {
        this.#registering = false;
        if (!this.#registerAgain) return;
        this.#registerAgain = false;
        this.#register();
      });
  }

  #acknowledge(position: Position): void {
    const record = Buffer.alloc(16);
    record.writeDoubleLE(position, 0);
    record.writeDoubleLE(this.#context.clock.wall() + this.#lease, 8);
    this.#followers.put(this.#node, record);
    const now = this.#context.clock.wall();
    // Who died without a word.
    for (const { key, value } of [...this.#followers.getRange({})])
      if (value.readDoubleLE(8) < now) this.#followers.remove(key);
  }

  /** How many milliseconds some process may still serve what a record at `position` made unusable. */
  #unacknowledged(position: Position): number {
    this.#env.renew();
    const now = this.#context.clock.wall();
    let left = 0;
    for (const { value } of this.#followers.getRange({}))
      if (value.readDoubleLE(0) < position) left = Math.max(left, value.readDoubleLE(8) - now);
    return left;
  }

  /** P7: looks once a second whether the file is still the one that was opened. */
  #isLost(follower: Follower): boolean {
    const now = this.#context.clock.now();
    if (this.#lost || now - this.#fileCheckedAt < CHECK_FILE_EVERY) return this.#lost;
    this.#fileCheckedAt = now;
    if (!this.#env.isReplaced()) return false;
    this.#lost = true;
    // A generation that no entry has: neither memory nor the old file may serve any more.
    const generation = `lost-${randomBytes(6).toString("base64url")}`;
    follower.reset(
      { generation, position: this.#head.position },
      "its file was deleted or replaced; restart the process",
    );
    return true;
  }

  #restart(follower: Follower, head: LogHead | undefined, why: string): void {
    this.#head = head ?? { generation: "", position: 0 };
    this.#lookedAt = this.#context.clock.now();
    follower.reset(this.#head, why);
  }

  #since(position: Position, last: Position): Appended[] | undefined {
    const found: Appended[] = [];
    for (const { key, value } of this.#records.getRange({
      start: positionKey(position + 1),
      end: positionKey(last + 1),
    }))
      found.push({ position: Number(key.readBigUInt64BE(0)), record: JSON.parse(value.toString()) }); // written by `append`
    return found.length === last - position ? found : undefined;
  }

  #read(): LogHead | undefined {
    const record = this.#meta.getBinary(HEAD);
    return record === undefined ? undefined : JSON.parse(record.toString()); // written by `open` and `append` alone
  }

  #markTag(tag: string, position: Position, soft: boolean): void {
    const key = tagKey(tag);
    const record = Buffer.alloc(16);
    this.#tags.getBinary(key)?.copy(record, 0, 0, 16);
    record.writeDoubleLE(position, soft ? 8 : 0);
    this.#tags.put(key, record);
  }

  #trim(position: Position): void {
    if (position <= KEPT) return;
    for (const key of [...this.#records.getKeys({ end: positionKey(position - KEPT), limit: TRIM_STEP })])
      this.#records.remove(key);
  }

  #pollLater(): void {
    this.#timer = this.#context.clock.setTimer(POLL_EVERY, () => {
      if (this.#closed) return;
      try {
        this.catchUp();
      } catch (error) {
        // `lag` grows, so memory stops being trusted in time.
        this.#context.warn(`The disk log could not be read: ${reason(error)}`);
      }
      this.#pollLater();
    });
  }
}

/** Big-endian, so that LMDB's order of bytes is the order of positions. */
function positionKey(position: Position): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(position));
  return key;
}

/** Tags of any length fit: LMDB's keys do not. */
function tagKey(tag: string): Buffer {
  const bytes = Buffer.from(tag);
  return bytes.length <= 1_000
    ? bytes
    : Buffer.concat([bytes.subarray(0, 900), createHash("sha256").update(bytes).digest()]);
}
