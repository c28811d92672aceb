import type { Clock } from "../base/clock.ts";
import { RefusedError, reason } from "../base/errors.ts";
import type { Position } from "../coherence/log.ts";
import { LayerCounters } from "../observe/counters.ts";
import type { FillResult, ReadOptions, Store, StoredEntry, StoreRead, StoreStats } from "../stores/store.ts";
import { Circuit, type CircuitState } from "./circuit.ts";
import { deadline, within } from "./within.ts";

/** Keys a store may owe a removal of, one by one; beyond it everything in it is owed. */
const MAX_OWED = 10_000;
/** How often an owed removal is tried again while nobody reads, in milliseconds. */
const PAY_EVERY = 1_000;

/** How long emptying a store may take before it is begun anew, in milliseconds. */
const LONGEST_CLEAR = 600_000;
/** Keys, and bytes of values, of one call: each step has the layer's timeout for itself. */
const STEP_KEYS = 2_000;
const STEP_BYTES = 4 * 1024 ** 2;

/** Fills under way at once; further ones wait for their turn. */
const FILLS_AT_ONCE = 256;

/** How old, in milliseconds, the answer to "how much does it hold" may be before it is asked for again. */
const STATS_EVERY = 10_000;
/** How often, in milliseconds, a store is looked at that is not used because the log is not heard. */
const CHECK_EVERY = 250;

/** What the guard tells of. */
export interface StoreEvents {
  error(layer: string, action: string, error: unknown): void;
  state(layer: string, state: CircuitState): void;
}

/** A store that failed, timed out or was left alone: the caller goes on without it. */
export const UNAVAILABLE = Symbol("unavailable");
type Unavailable = typeof UNAVAILABLE;

/**
 * A store as the cache uses it: nothing it does can throw at or hang a reader. Calls end within the
 * layer's timeout, failures open a circuit, and removals that could not be made are owed: until they are
 * paid, the keys concerned are not read, so a store that was away cannot serve what was invalidated meanwhile.
 */
export class GuardedStore {
  readonly name: string;
  readonly counters = new LayerCounters();
  lastError: string | undefined;
  readonly #store: Store;
  readonly #timeout: number;
  readonly #clock: Clock;
  readonly #circuit: Circuit;
  readonly #events: StoreEvents;
  /** Keys with a removal owed, and the position of the invalidation once it is known: newer entries stay. */
  readonly #owed = new Map<string, Position | undefined>();
  #owedAll = false;
  /** How often all was owed: what is owed while the store is being emptied is not paid by that. */
  #owedAllTimes = 0;
  #clearing: Promise<boolean> | undefined;
  #paying: Promise<boolean> | undefined;
  #filling = 0;
  #fillsWaiting: (() => void)[] = [];
  /** Writes given up that may still land. */
  #late = 0;
  #whenPaid: (() => void)[] = [];
  #payTimer = false;
  #closed = false;
  #stats: StoreStats | undefined;
  #checkDue = Number.NEGATIVE_INFINITY;
  #statsDue = Number.NEGATIVE_INFINITY;

  constructor(store: Store, timeout: number, clock: Clock, random: () => number, events: StoreEvents) {
    this.#store = store;
    this.name = store.name;
    this.#timeout = timeout;
    this.#clock = clock;
    this.#events = events;
    this.#circuit = new Circuit(
      clock,
      random,
      () => within(clock, timeout, store.ping()),
      (state) => {
        events.state(store.name, state);
        if (state === "up" && this.owes()) void this.#pay();
      },
    );
  }

  get state(): CircuitState {
    return this.#circuit.state;
  }

  get since(): number {
    return this.#circuit.since;
  }

  /** Whether removals are owed (of this key, when given). */
  owes(key?: string): boolean {
    return this.#owedAll || (key === undefined ? this.#owed.size > 0 : this.#owed.has(key));
  }

  async read(keys: readonly string[], options: ReadOptions): Promise<StoreRead[] | Unavailable> {
    if (this.owes() && !(await this.#pay())) {
      this.counters.skipped += keys.length;
      return UNAVAILABLE;
    }
    let late: Promise<StoreRead[]> | undefined;
    const read = (): Promise<StoreRead[]> => {
      late = this.#store.read(keys, options);
      return late;
    };
    const done = await this.#call("read", read, keys.length);
    // Leases that it lends all the same are nobody's: every process would wait for them until they run out.
    if (done === UNAVAILABLE && options.lease !== undefined)
      void late?.then((reads) => this.#giveBack(keys, reads)).catch(noop);
    return done;
  }

  async #giveBack(keys: readonly string[], reads: readonly StoreRead[]): Promise<void> {
    for (const [i, { lease }] of reads.entries()) {
      const key = keys[i];
      if (key === undefined || lease === undefined || lease === "busy" || this.#closed) continue;
      await this.#store.release(key, lease);
    }
  }

  /** A fill that lands late is harmless: only its token's lease lets it in. */
  async fill(key: string, entry: StoredEntry, token: string): Promise<FillResult> {
    // A batch load ends in thousands of fills at once: those at the end must not be late because of those before.
    if (this.#filling >= FILLS_AT_ONCE)
      await new Promise<void>((resolve) => this.#fillsWaiting.push(resolve));
    this.#filling++;
    const done = await this.#call("fill", () => this.#store.fill(key, entry, token));
    this.#filling--;
    this.#fillsWaiting.shift()?.();
    return done === UNAVAILABLE ? "refused" : done;
  }

  /**
   * Stores entries; what could not be stored is owed a removal, since an older value may be there.
   * @throws {RefusedError} for an entry that the store does not take.
   */
  async write(all: readonly (readonly [string, StoredEntry])[]): Promise<boolean> {
    if (this.owes()) await this.#pay();
    let done = 0;
    try {
      for (const entries of inSteps(all, ([, { value }]) => value.length)) {
        if (!(await this.#writeStep(entries))) {
          this.#owe(all.slice(done).map(keyOf));
          return false;
        }
        done += entries.length;
      }
    } catch (error) {
      this.#owe(all.slice(0, done).map(keyOf)); // none of it was written, then
      throw error;
    }
    return true;
  }

  async #writeStep(entries: readonly (readonly [string, StoredEntry])[]): Promise<boolean> {
    const keys = entries.map(([key]) => key);
    let late: Promise<void> | undefined;
    let refused: RefusedError | undefined;
    const done = await this.#call("write", () => {
      late = this.#store.write(entries).catch((error: unknown) => {
        if (error instanceof RefusedError) refused = error;
        throw error;
      });
      return late;
    });
    if (done !== UNAVAILABLE) return true;
    if (refused !== undefined) throw refused; // the store looks before it writes: what was there is there
    if (late !== undefined) {
      // A write that timed out may still land, behind newer ones: then it has to go as well.
      this.#late++;
      late
        .then(() => this.#owe(keys), noop)
        .finally(() => {
          this.#late--;
          this.#tellPaid();
        });
    }
    return false;
  }

  /** Removes entries, or makes them stale; what could not be reached is owed. */
  async remove(all: readonly string[], soft = false): Promise<number | Unavailable> {
    let removed = 0;
    let done = 0;
    for (const keys of inSteps(all, () => 0)) {
      const step = await (soft
        ? this.#call("expire", () => this.#store.expire(keys))
        : this.#call("remove", () => this.#store.remove(keys)));
      if (step === UNAVAILABLE) {
        this.#owe(all.slice(done));
        return UNAVAILABLE;
      }
      removed += step;
      done += keys.length;
    }
    return removed;
  }

  /** Removals owed of these keys are of the invalidation at this position: what was loaded since may stay. */
  owedBefore(keys: readonly string[], position: Position): void {
    for (const key of keys) if (this.#owed.has(key)) this.#owed.set(key, position);
  }

  /** Removes what was loaded before `position`, in a sweep: losing a step only leaves garbage that no read accepts. */
  async sweep(keys: readonly string[], position: Position): Promise<number | Unavailable> {
    return this.#call("remove", () => this.#store.remove(keys, position));
  }

  async renew(key: string, token: string, ms: number): Promise<boolean> {
    return (await this.#call("renew", () => this.#store.renew(key, token, ms))) === true;
  }

  /** True: somebody waits for the lease. */
  async release(key: string, token: string): Promise<boolean> {
    return (await this.#call("release", () => this.#store.release(key, token))) === true;
  }

  /** Resolves when no removal is owed and no write can land late any more. */
  paid(): Promise<void> {
    if (!this.owes() && this.#late === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenPaid.push(resolve);
    });
  }

  async touch(key: string, ttl: number): Promise<boolean> {
    if (this.owes(key)) return false;
    return (await this.#call("touch", () => this.#store.touch(key, ttl))) === true;
  }

  /** Returns whether these were all: the store may stop answering on the way. */
  async *keys(prefix: string, signal?: AbortSignal): AsyncGenerator<readonly string[], boolean> {
    const batches = this.#store.keys(prefix, signal)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#call("keys", () => batches.next());
        if (next === UNAVAILABLE) return false;
        if (next.done === true) return true;
        yield next.value;
      }
    } finally {
      void Promise.resolve(batches.return?.()).catch(() => undefined);
    }
  }

  async clear(keep: string): Promise<void> {
    // Entries of other generations are never served; a failure leaves garbage to expire.
    try {
      await this.#store.clear(keep);
    } catch (error) {
      this.#failed("clear", error);
    }
  }

  /** What it held when last asked; asked again in the background when that is longer ago than a second. */
  stats(): StoreStats | undefined {
    const now = this.#clock.now();
    if (!this.#closed && now >= this.#statsDue) {
      this.#statsDue = now + STATS_EVERY;
      void this.#call("stats", () => this.#store.stats()).then((stats) => {
        if (stats !== UNAVAILABLE) this.#stats = stats;
      });
    }
    return this.#stats;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#circuit.close();
    await this.#store.close();
  }

  /** Looks whether it answers, when nothing else does: what is not used would never be known to be down. */
  check(): void {
    const now = this.#clock.now();
    if (this.#closed || now < this.#checkDue) return;
    this.#checkDue = now + CHECK_EVERY;
    void this.#call("ping", () => this.#store.ping());
  }

  async #call<T>(action: string, fn: () => Promise<T>, reads = 0): Promise<T | Unavailable> {
    if (!this.#circuit.admits()) {
      this.counters.skipped += reads;
      return UNAVAILABLE;
    }
    const start = this.#clock.now();
    try {
      const result = await this.#within(action, fn);
      this.#circuit.succeeded();
      if (reads > 0) this.counters.latency.record(this.#clock.now() - start);
      return result;
    } catch (error) {
      this.#failed(action, error);
      return UNAVAILABLE;
    }
  }

  async #within<T>(action: string, fn: () => Promise<T>): Promise<T> {
    // The store may also throw synchronously: inside an async function that rejects like a failed call.
    const call = fn();
    return new Promise<T>((resolve, reject) => {
      const timer = deadline(this.#clock, this.#timeout, () => {
        this.counters.timeouts++;
        reject(new Error(`${action} did not answer within ${this.#timeout} ms`));
      });
      call.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  #failed(action: string, error: unknown): void {
    if (this.#closed) return;
    this.counters.errors++;
    this.lastError = reason(error);
    // An entry that was refused says nothing against the store.
    if (error instanceof RefusedError) this.#circuit.succeeded();
    else this.#circuit.failed();
    this.#events.error(this.name, action, error);
  }

  #owe(keys: readonly string[]): void {
    for (const key of keys) this.#owed.set(key, undefined);
    if (this.#owed.size > MAX_OWED) {
      this.#owed.clear();
      this.#owedAll = true;
      this.#owedAllTimes++;
    }
    this.#payLater();
  }

  #payLater(): void {
    if (this.#payTimer || this.#closed) return;
    this.#payTimer = true;
    this.#clock.setTimer(PAY_EVERY, () => {
      this.#payTimer = false;
      if (this.#closed || !this.owes()) return;
      void this.#pay();
      this.#payLater();
    });
  }

  /** Makes the owed removals. One payment at a time; those who need it wait for the same one. */
  #pay(): Promise<boolean> {
    this.#paying ??= this.#payNow().finally(() => {
      this.#paying = undefined;
    });
    return this.#paying;
  }

  async #payNow(): Promise<boolean> {
    if (this.#owedAll) {
      // Too many to name: entries of every generation go ("" is none).
      if (!this.#circuit.admits() || this.#clearing !== undefined) return false;
      this.#clearing = this.#empty();
      const done = await within(this.#clock, this.#timeout, this.#clearing).catch(() => false);
      if (!done || this.#owedAll) return false;
    }
    for (const [before, all] of byPosition(this.#owed)) {
      for (const keys of inSteps(all, () => 0)) {
        const done = await this.#call("remove", () => this.#store.remove(keys, before));
        if (done === UNAVAILABLE) return false;
        for (const key of keys) if (this.#owed.get(key) === before) this.#owed.delete(key);
      }
    }
    this.#tellPaid();
    return !this.owes();
  }

  /** Takes everything out, which in a large store lasts longer than any timeout: nobody waits for it. */
  async #empty(): Promise<boolean> {
    const times = this.#owedAllTimes;
    try {
      await within(this.#clock, LONGEST_CLEAR, this.#store.clear(""), false);
      if (times === this.#owedAllTimes) this.#owedAll = false;
      return true;
    } catch (error) {
      this.#failed("clear", error);
      return false;
    } finally {
      this.#clearing = undefined;
      this.#tellPaid();
    }
  }

  #tellPaid(): void {
    if (this.owes() || this.#late > 0) return;
    for (const tell of this.#whenPaid.splice(0)) tell();
  }
}

function byPosition(owed: ReadonlyMap<string, Position | undefined>): Map<Position | undefined, string[]> {
  const groups = new Map<Position | undefined, string[]>();
  for (const [key, position] of owed) {
    const group = groups.get(position);
    if (group === undefined) groups.set(position, [key]);
    else group.push(key);
  }
  return groups;
}

function keyOf([key]: readonly [string, StoredEntry]): string {
  return key;
}

function inSteps<T>(all: readonly T[], sizeOf: (item: T) => number): (readonly T[])[] {
  const steps: T[][] = [];
  let step: T[] = [];
  let bytes = 0;
  for (const item of all) {
    const size = sizeOf(item);
    if (step.length === STEP_KEYS || (step.length > 0 && bytes + size > STEP_BYTES)) {
      steps.push(step);
      step = [];
      bytes = 0;
    }
    step.push(item);
    bytes += size;
  }
  if (step.length > 0) steps.push(step);
  return steps;
}

function noop(): void {}
