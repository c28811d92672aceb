import { randomBytes } from "node:crypto";
import { StoreError } from "../../base/errors.ts";
import type { StoreRead } from "../store.ts";
import { keySlot } from "./key-slot.ts";
import { decodeRecord, type Layout } from "./record.ts";
import type { RedisLink, Reply } from "./redis-link.ts";
import { readScript, releaseScript } from "./scripts.ts";

/** Most keys of one script call. */
const MOST_KEYS = 128;
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

interface Waiting {
  readonly key: string;
  readonly resolve: (read: StoreRead) => void;
  readonly reject: (error: unknown) => void;
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
  #waiting = new Map<string, { readonly want: Want; readonly list: Waiting[] }>();
  #lost: LostLease[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(link: RedisLink, layout: Layout) {
    this.#link = link;
    this.#layout = layout;
  }

  /** @param key the key as Redis has it. */
  read(key: string, want: Want): Promise<StoreRead> {
    return new Promise((resolve, reject) => {
      const waiting = { key, resolve, reject };
      const group = `${want.lease} ${want.refresh}`;
      const there = this.#waiting.get(group);
      if (there !== undefined) {
        there.list.push(waiting);
        return;
      }
      this.#waiting.set(group, { want, list: [waiting] });
      // After the microtasks of this turn: all readers that one answer has woken have asked again by then.
      if (this.#waiting.size === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const groups = this.#waiting;
    this.#waiting = new Map();
    for (const { want, list } of groups.values())
      for (const same of this.#link.cluster ? bySlot(list) : [list])
        for (let from = 0; from < same.length; from += MOST_KEYS)
          void this.#call(same.length <= MOST_KEYS ? same : same.slice(from, from + MOST_KEYS), want);
  }

  /** Ends what it does by itself. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #call(list: readonly Waiting[], want: Want): Promise<void> {
    const token = want.lease === undefined ? "" : `${this.#node}${(this.#serial++).toString(36)}`;
    try {
      const args =
        want.lease === undefined
          ? [""]
          : [String(Math.ceil(want.lease)), want.refresh ? "1" : "0", token, this.#layout];
      const keys = list.map(({ key }) => key);
      const reply = await this.#link.run(readScript, keys, args);
      this.#answer(list, want, reply, token);
    } catch (error) {
      for (const { reject } of list) reject(error);
      // A server that was frozen carries out what lay in its socket: all would wait for those leases to run out.
      if (want.lease !== undefined && !(error instanceof StoreError)) this.#lose(list, token, want.lease);
    }
  }

  #lose(list: readonly Waiting[], token: string, lease: number): void {
    const until = performance.now() + 2 * lease;
    for (const { key } of list) if (this.#lost.length < MOST_LOST) this.#lost.push({ key, token, until });
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

  #answer(list: readonly Waiting[], want: Want, reply: Reply, token: string): void {
    if (!Array.isArray(reply) || reply.length <= HEAD)
      throw new StoreError("Redis gave another answer than the script's.");
    const now = Number(reply[0]);
    const letters = token === "" ? "" : String(reply[1]);
    const answered = reply.length - HEAD;
    // Asked for before anything is decoded, so that the server is not left waiting.
    if (answered < list.length) void this.#call(list.slice(answered), want);
    for (let index = 0; index < answered; index++) {
      const record: unknown = reply[HEAD + index];
      const letter = letters[index];
      list[index]?.resolve({
        found: Buffer.isBuffer(record) ? decodeRecord(record, now) : undefined,
        lease: letter === "t" ? token : letter === "b" ? "busy" : undefined,
      });
    }
  }
}

function bySlot(list: readonly Waiting[]): Iterable<Waiting[]> {
  const slots = new Map<number, Waiting[]>();
  for (const waiting of list) {
    const slot = keySlot(waiting.key);
    const same = slots.get(slot);
    if (same === undefined) slots.set(slot, [waiting]);
    else same.push(waiting);
  }
  return slots.values();
}
