import { RefusedError, StoreError } from "../../base/errors.ts";
import type { Position } from "../../coherence/log.ts";
import type { FillResult, ReadOptions, Store, StoredEntry, StoreRead, StoreStats } from "../store.ts";
import { keySlot } from "./key-slot.ts";
import { encodeRecord, type Layout, wholeSpan } from "./record.ts";
import { generationBytes, INFINITE } from "./record-binary.ts";
import { plainText } from "./record-json.ts";
import type { RedisLink, Reply, Script } from "./redis-link.ts";
import { RedisReader } from "./redis-reader.ts";
import { SCAN_COUNT, walk, walkMaster } from "./redis-walk.ts";
import {
  clearScript,
  expireScript,
  fillScript,
  lookScript,
  releaseScript,
  removeScript,
  renewScript,
  touchScript,
  writeScript,
} from "./scripts.ts";

/** Most keys, and bytes, of one script call: the server does nothing else meanwhile. */
const MOST_KEYS = 256;
const MOST_BYTES = 512 * 1024;
/** Calls of one operation that are under way at once. */
const MOST_CALLS = 64;
/** Redis takes values of up to 512 MB. */
const LARGEST = 511 * 1024 ** 2;
/** Up to so many keys, and so many steps of a walk, entries are counted one by one; beyond that, estimated. */
const COUNTED_KEYS = 10_000;
const COUNTED_STEPS = 100;

/** How a `RedisStore` is set up. */
export interface RedisStoreSettings {
  /** The layer's name. */
  readonly name: string;
  readonly layout: Layout;
  /** What its keys begin with, before a colon. */
  readonly prefix: string;
  /** Told when the store is closed. */
  readonly released: () => Promise<void>;
}

/** Entries of one cache in Redis or Valkey. */
export class RedisStore implements Store {
  readonly name: string;
  readonly #link: RedisLink;
  readonly #layout: Layout;
  readonly #prefix: string;
  readonly #released: () => Promise<void>;
  readonly #reader: RedisReader;
  #closed = false;

  constructor(link: RedisLink, { name, layout, prefix, released }: RedisStoreSettings) {
    this.name = name;
    this.#link = link;
    this.#layout = layout;
    this.#prefix = `${prefix}:`;
    this.#released = released;
    this.#reader = new RedisReader(link, layout);
  }

  async read(keys: readonly string[], options: ReadOptions = {}): Promise<StoreRead[]> {
    this.#assertOpen();
    const { signal, lease } = options;
    signal?.throwIfAborted();
    const want = { lease, refresh: options.refresh === true };
    const reads = this.#reader.read(
      keys.map((key) => this.#prefix + key),
      want,
    );
    if (signal === undefined) return reads;
    return this.#abortable(keys, reads, signal);
  }

  async fill(key: string, entry: StoredEntry, token: string): Promise<FillResult> {
    this.#assertOpen();
    this.#assertFits(key, entry);
    const { record, keep } = encodeRecord(entry, this.#layout);
    const reply = await this.#link.run(fillScript, [this.#prefix + key], [token, record, keep]);
    return FILL_RESULTS[Number(reply)] ?? "refused";
  }

  async renew(key: string, token: string, ms: number): Promise<boolean> {
    this.#assertOpen();
    return isOne(await this.#link.run(renewScript, [this.#prefix + key], [token, String(Math.ceil(ms))]));
  }

  async release(key: string, token: string): Promise<boolean> {
    this.#assertOpen();
    return isOne(await this.#link.run(releaseScript, [this.#prefix + key], [token]));
  }

  async write(entries: readonly (readonly [key: string, entry: StoredEntry])[]): Promise<void> {
    this.#assertOpen();
    for (const [key, entry] of entries) this.#assertFits(key, entry);
    const encoded = entries.map(([key, entry]) => {
      const { record, keep } = encodeRecord(entry, this.#layout);
      return { key: this.#prefix + key, size: record.length, args: [record, keep] };
    });
    await this.#inSteps(encoded, (step) =>
      this.#link.run(
        writeScript,
        step.map(({ key }) => key),
        step.flatMap(({ args }) => args),
      ),
    );
  }

  async remove(keys: readonly string[], before?: Position): Promise<number> {
    this.#assertOpen();
    return this.#sum(removeScript, keys, [before === undefined ? "" : String(before)]);
  }

  async expire(keys: readonly string[]): Promise<number> {
    this.#assertOpen();
    return this.#sum(expireScript, keys, []);
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    this.#assertOpen();
    const ms = Math.min(wholeSpan(ttl), INFINITE);
    return isOne(await this.#link.run(touchScript, [this.#prefix + key], [String(ms)]));
  }

  async *keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[]> {
    this.#assertOpen();
    signal?.throwIfAborted();
    for await (const found of walk(this.#link, this.#prefix + prefix, signal)) {
      this.#assertOpen();
      const { live } = await this.#look(found);
      if (live.length > 0) yield live.map((key) => key.slice(this.#prefix.length));
    }
  }

  async clear(keep: string): Promise<void> {
    this.#assertOpen();
    const { packed, bytes } = generationBytes(keep);
    const args = [keep, plainText(keep).slice(1, -1), packed ? bytes : ""];
    for await (const found of walk(this.#link, this.#prefix)) {
      this.#assertOpen();
      await this.#inSteps(found.map(sized), (step) => this.#link.run(clearScript, step.map(keyOf), args));
    }
  }

  async stats(): Promise<StoreStats> {
    this.#assertOpen();
    let entries = 0;
    let bytes = 0;
    for (const master of await this.#link.masters()) {
      const here = { entries: 0, bytes: 0, seen: 0, steps: 0, exact: true };
      for await (const { keys, ended } of walkMaster(master, this.#prefix)) {
        const { live, bytes } = await this.#look(keys);
        here.entries += live.length;
        here.bytes += bytes;
        here.seen += keys.length;
        here.steps++;
        here.exact = ended;
        if (here.seen >= COUNTED_KEYS || here.steps >= COUNTED_STEPS) break;
      }
      // Redis walks in an order as good as random: the part that was looked at stands for all.
      const all = here.exact ? 0 : Number(await master.send(["dbsize"]));
      const factor = here.exact ? 1 : Math.max(1, all / (here.steps * SCAN_COUNT));
      entries += Math.round(here.entries * factor);
      bytes += Math.round(here.bytes * factor);
    }
    return { entries, bytes };
  }

  async ping(): Promise<void> {
    this.#assertOpen();
    // No key of the cache is empty: this one is never there.
    await this.#reader.read([this.#prefix], { lease: undefined, refresh: false });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#reader.stop();
    await this.#released();
  }

  /** Which of these keys of Redis hold live entries, and their bytes. */
  async #look(keys: readonly string[]): Promise<{ readonly live: string[]; readonly bytes: number }> {
    const live: string[] = [];
    let bytes = 0;
    await this.#inSteps(keys.map(sized), async (step) => {
      const reply = await this.#link.run(lookScript, step.map(keyOf), []);
      const [letters, sum] = Array.isArray(reply) ? reply : [];
      const flags = String(letters);
      bytes += Number(sum);
      live.push(...step.map(keyOf).filter((_, index) => flags[index] === "1"));
    });
    return { live, bytes };
  }

  async #sum(script: Script, keys: readonly string[], args: readonly string[]): Promise<number> {
    let sum = 0;
    const items = keys.map((key) => sized(this.#prefix + key));
    await this.#inSteps(items, async (step) => {
      const reply = await this.#link.run(script, step.map(keyOf), args);
      sum += Number(reply);
    });
    return sum;
  }

  /** Splits what concerns many keys into script calls of bounded size (on a cluster: per slot), some at a time. */
  async #inSteps<T extends Sized>(
    items: readonly T[],
    call: (step: readonly T[]) => Promise<Reply | void>,
  ): Promise<void> {
    const steps = this.#link.cluster ? [...bySlot(items)].flatMap(split) : split(items);
    if (steps.length <= 1) {
      for (const step of steps) await call(step);
      return;
    }
    let next = 0;
    const work = async (): Promise<void> => {
      for (let step = steps[next++]; step !== undefined; step = steps[next++]) await call(step);
    };
    const outcomes = await Promise.allSettled(
      Array.from({ length: Math.min(MOST_CALLS, steps.length) }, work),
    );
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /** Leases that a reader was lent after it had gone are given back. */
  #abortable(
    keys: readonly string[],
    reads: Promise<StoreRead[]>,
    signal: AbortSignal,
  ): Promise<StoreRead[]> {
    return new Promise((resolve, reject) => {
      let gone = false;
      const abort = (): void => {
        gone = true;
        reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      reads
        .then(
          (answers) => {
            if (gone) this.#giveBack(keys, answers);
            else resolve(answers);
          },
          (error: unknown) => reject(error),
        )
        .finally(() => signal.removeEventListener("abort", abort));
    });
  }

  #giveBack(keys: readonly string[], answers: readonly StoreRead[]): void {
    for (const [index, { lease }] of answers.entries()) {
      const key = keys[index];
      if (key === undefined || lease === undefined || lease === "busy" || this.#closed) continue;
      // It runs out by itself otherwise.
      this.release(key, lease).catch(() => undefined);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError(`Store "${this.name}" is closed.`);
  }

  #assertFits(key: string, entry: StoredEntry): void {
    if (entry.value.length > LARGEST)
      throw new RefusedError(
        `The value of key ${JSON.stringify(key)} takes ${entry.value.length} bytes; Redis keeps at most 512 MB in one.`,
      );
  }
}

const FILL_RESULTS: readonly FillResult[] = ["refused", "stored", "awaited"];

interface Sized {
  /** As Redis has it. */
  readonly key: string;
  /** Bytes that go to the server with it. */
  readonly size: number;
}

function sized(key: string): Sized {
  return { key, size: 0 };
}

function keyOf({ key }: Sized): string {
  return key;
}

function isOne(reply: Reply): boolean {
  return Number(reply) === 1;
}

function split<T extends Sized>(items: readonly T[]): T[][] {
  const steps: T[][] = [];
  let step: T[] = [];
  let bytes = 0;
  for (const item of items) {
    if (step.length === MOST_KEYS || (step.length > 0 && bytes + item.size > MOST_BYTES)) {
      steps.push(step);
      step = [];
      bytes = 0;
    }
    step.push(item);
    bytes += item.size;
  }
  if (step.length > 0) steps.push(step);
  return steps;
}

function bySlot<T extends Sized>(items: readonly T[]): Iterable<T[]> {
  const slots = new Map<number, T[]>();
  for (const item of items) {
    const slot = keySlot(item.key);
    const same = slots.get(slot);
    if (same === undefined) slots.set(slot, [item]);
    else same.push(item);
  }
  return slots.values();
}
