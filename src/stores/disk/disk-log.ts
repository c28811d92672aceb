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
    this.#context = context;
    this.#released = released;
  }

  open(follower: Follower): LogHead {
    this.#follower = follower;
    const fresh = this.#env.root.transactionSync(() => {
      const head = this.#read();
      if (head !== undefined) return head;
      const first = { generation: randomBytes(12).toString("base64url"), position: 0 };
      this.#meta.put(HEAD, Buffer.from(JSON.stringify(first)));
      return first;
    });
    this.#head = fresh;
    this.#lookedAt = this.#context.clock.now();
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

  /**
   * Processes do not tell how far they looked, so this waits until none can still believe what it saw before:
   * who has not looked since stops trusting its memory after `maxLag`.
   */
  async settled(_position: Position, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        timer.cancel();
        reject(signal?.reason);
      };
      const timer = this.#context.clock.setTimer(
        this.#context.maxLag * 1.01 + 10,
        () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
        true,
      );
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  lag(): number {
    return this.#lost ? Number.POSITIVE_INFINITY : this.#context.clock.now() - this.#lookedAt;
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
    } else if (head.generation !== known.generation) {
      this.#restart(follower, head, "the log is another one: its file was replaced");
      return;
    }
    this.#lookedAt = this.#context.clock.now();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#follower = undefined;
    await this.#released();
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
