import type { Clock } from "../base/clock.ts";
import { ClosedError, CodecError, OptionError, reason } from "../base/errors.ts";
import type { Frame } from "../base/frame.ts";
import type { Invalidations } from "../coherence/invalidations.ts";
import type { Appended, Log, LogRecord } from "../coherence/log.ts";
import type { MemoryEngine } from "../memory/engine.ts";
import { type CacheCounters, LayerCounters } from "../observe/counters.ts";
import type { Emitter } from "../observe/emitter.ts";
import type { CacheEvents } from "./api.ts";
import { Endings } from "./endings.ts";
import { Entry, type EntryFacts } from "./entry.ts";
import { type Flight, Flights } from "./flight.ts";
import { Following } from "./following.ts";
import type { GuardedStore } from "./guarded-store.ts";
import { type Protection, protect } from "./isolation.ts";
import { isCallOption, type LifetimeOptions, refuseUnknown, resolveOptions } from "./resolve.ts";
import { within } from "./within.ts";

/** How long `close` waits for background work, in milliseconds. */
const CLOSE_WAIT = 5_000;

/** Deadlines within this many milliseconds are told by an exact reading of the clock. */
const NEAR = 1_000;

/** What a core is made of: every option resolved, every layer opened. */
export interface CoreParts {
  readonly name: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly memory: MemoryEngine<Entry> | undefined;
  readonly stores: readonly GuardedStore[];
  readonly log: Log;
  readonly maxLag: number;
  readonly lease: number;
  readonly frame: Frame;
  readonly isolate: Protection;
  readonly defaults: LifetimeOptions;
  readonly policies: ReadonlyMap<string, LifetimeOptions>;
  readonly warn: (message: string) => void;
  readonly events: Emitter<CacheEvents>;
  readonly counters: CacheCounters;
}

/** The state all parts of one cache share: memory, stores, the followed log, what is in flight. */
export class Core {
  readonly name: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly memory: MemoryEngine<Entry> | undefined;
  readonly stores: readonly GuardedStore[];
  readonly log: Log;
  readonly frame: Frame;
  readonly isolate: Protection;
  readonly events: Emitter<CacheEvents>;
  readonly counters: CacheCounters;
  readonly warn: (message: string) => void;
  /** How long a lease lasts, in milliseconds; renewed at every third of it while the load runs. */
  readonly lease: number;
  readonly following: Following;
  readonly invalidations: Invalidations;
  readonly endings: Endings;
  readonly memoryCounters = new LayerCounters();
  readonly flights = new Flights((flight) => this.release(flight));
  readonly defaults: LifetimeOptions;
  closed = false;
  readonly #policies: ReadonlyMap<string, LifetimeOptions>;
  readonly #background = new Set<Promise<unknown>>();
  readonly #warned = new Set<string>();
  /** Keys with a write under way, and how many records about them came in since it began. */
  readonly #writing = new Map<string, { writers: number; records: number }>();
  /** Keys whose loads ended while others waited: told in one record a turn. */
  #ended: string[] = [];
  readonly #recent: () => number;

  constructor(parts: CoreParts) {
    this.#recent = parts.clock.recent ?? (() => Number.POSITIVE_INFINITY);
    this.name = parts.name;
    this.clock = parts.clock;
    this.random = parts.random;
    this.memory = parts.memory;
    this.stores = parts.stores;
    this.log = parts.log;
    this.lease = parts.lease;
    this.endings = new Endings(parts.clock);
    this.frame = parts.frame;
    this.isolate = parts.isolate;
    this.defaults = parts.defaults;
    this.#policies = parts.policies;
    this.warn = parts.warn;
    this.events = parts.events;
    this.counters = parts.counters;
    this.following = new Following(parts.log, parts.maxLag, parts.clock, {
      apply: (records) => this.#apply(records),
      forget: () => this.#forgetAll(),
      forgetThese: (records) => this.#forget(records),
      detachAll: () => this.detachAll(true),
      failed: (action, error) => this.events.emit("layerError", { layer: this.log.name, action, error }),
      warn: this.warn,
    });
    this.invalidations = this.following.invalidations;
    this.following.open();
  }

  /** Options of a call over its policy over the cache's. */
  resolve(options: object | undefined): LifetimeOptions {
    if (options === undefined) return this.defaults;
    let base = this.defaults;
    let plain = true;
    for (const name in options) {
      if (!isCallOption(name)) refuseUnknown(options, "", isCallOption);
      plain = false;
    }
    if (plain) return base;
    const policy = (options as { policy?: unknown }).policy;
    if (policy !== undefined) {
      const found = typeof policy === "string" ? this.#policies.get(policy) : undefined;
      const known = [...this.#policies.keys()].join(", ") || "none";
      if (found === undefined)
        throw new OptionError("policy", policy, `the name of a policy of this cache (it has: ${known})`);
      base = found;
    }
    return resolveOptions(base, options, "", this.suspect);
  }

  /** Warns once of a lifetime that was probably meant in seconds. */
  readonly suspect = (path: string, ms: number): void => {
    this.warnOnce(
      `${path}: ${ms} is ${ms} milliseconds. If seconds were meant, write "${ms}s"; if not, write "${ms}ms".`,
    );
  };

  warnOnce(message: string): void {
    if (this.#warned.has(message) || this.#warned.size > 1_000) return;
    this.#warned.add(message);
    this.warn(message);
  }

  assertOpen(): void {
    if (this.closed) throw new ClosedError(this.name);
  }

  /** Whether a deadline lies ahead; the clock is read only for one that is near (or when it has no cheaper reading). */
  isBefore(deadline: number): boolean {
    return this.#recent() < deadline - NEAR || this.clock.now() < deadline;
  }

  /** Whether memory may be believed (P2). */
  trusts(): boolean {
    return this.following.trusts();
  }

  /** The valid memory entry of a key, fresh or stale in its grace. What is not valid any more is dropped. */
  lookup(key: string, now: number): Entry | undefined {
    const entry = this.memory?.get(key);
    return entry === undefined ? undefined : this.#examine(key, entry, now, true);
  }

  /** `lookup` that counts as no use and drops nothing. */
  glance(key: string, now: number): Entry | undefined {
    const entry = this.memory?.peek(key);
    return entry === undefined ? undefined : this.#examine(key, entry, now, false);
  }

  #examine(key: string, entry: Entry, now: number, drop: boolean): Entry | undefined {
    const known = this.invalidations;
    let usable = now < entry.staleUntil;
    if (usable && entry.checked !== known.version) {
      // Below the floor the index has gaps: what was invalidated by tag there cannot be told, so it is not believed.
      const verdict =
        entry.asOf < known.floor && entry.tags.length > 0
          ? "invalid"
          : known.verdict(key, entry.tags, entry.asOf);
      if (verdict === "stale") entry.expire(now);
      usable = verdict !== "invalid" && now < entry.staleUntil;
      if (usable) entry.checked = known.version;
    }
    if (usable) return entry;
    if (drop) this.memory?.delete(key);
    return undefined;
  }

  /** Keeps an entry in memory; not while the log is not followed, since nothing would take it out again. */
  keep(key: string, entry: Entry): void {
    // What began before the log was followed may have been invalidated before: nothing here would tell.
    if (this.following.ready !== undefined || entry.asOf < this.invalidations.floor) return;
    const verdict = this.invalidations.verdict(key, entry.tags, entry.asOf);
    if (verdict === "invalid") return;
    if (verdict === "stale") entry.expire(this.clock.now());
    entry.checked = this.invalidations.version;
    this.memory?.set(key, entry);
  }

  /** Makes an entry whose value is protected as `isolate` says. @throws {CodecError} when it cannot be. */
  entry(facts: EntryFacts, options: LifetimeOptions): Entry {
    const isProtected = this.isolate !== false && facts.kind === "value";
    const made = isProtected ? { ...facts, value: protect(facts.value, this.isolate) } : facts;
    return new Entry(made, this.clock.now()).arm(options);
  }

  /** Marks keys as being written, so that `overtaken` is known for them until `written`. */
  writing(keys: readonly string[]): void {
    for (const key of keys) {
      const state = this.#writing.get(key);
      if (state === undefined) this.#writing.set(key, { writers: 1, records: 0 });
      else state.writers++;
    }
  }

  /**
   * Whether another record about a key came in while it was being written, besides the write's own: then
   * the order in which the stores took the two writes is not known, and only they can tell.
   */
  overtaken(key: string): boolean {
    const state = this.#writing.get(key);
    return state !== undefined && state.records > 1;
  }

  /** Whether any record about a key came in since `writing`. */
  mentioned(key: string): boolean {
    return (this.#writing.get(key)?.records ?? 0) > 0;
  }

  written(keys: readonly string[]): void {
    for (const key of keys) {
      const state = this.#writing.get(key);
      if (state !== undefined && --state.writers === 0) this.#writing.delete(key);
    }
  }

  /** Work that nobody waits for: `close` does. It must not reject; if it does, it is told. */
  background(work: Promise<unknown>): void {
    const tracked = work
      .catch((error: unknown) => this.warnOnce(`Background work failed: ${reason(error)}`))
      .finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }

  /** Work that a caller waits for, which `close` lets end before it closes the layers. */
  tracked<T>(work: Promise<T>): Promise<T> {
    this.background(work.catch(() => undefined));
    return work;
  }

  async drained(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Gives back leases that will not be used, so that the next load of the key need not wait for them. */
  release(flight: Flight): void {
    for (const [store, token] of flight.takeLeases()) {
      const released = store.release(flight.key, token).then((awaited) => {
        if (awaited) this.tellEnded(flight.key);
      });
      this.background(released);
    }
  }

  /** Wakes those in other processes who wait for a load that ended here. */
  tellEnded(key: string): void {
    this.#ended.push(key);
    if (this.#ended.length > 1) return;
    queueMicrotask(() => {
      const keys = this.#ended;
      this.#ended = [];
      if (!this.closed && this.log.shared) this.background(this.following.tellEnded(keys));
    });
  }

  detachAll(soft: boolean): void {
    this.flights.detachWhere(soft, () => true);
  }

  /** Resolves after `ms` of the cache's clock. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.setTimer(ms, resolve, true);
    });
  }

  /** The bytes of a value. @throws {CodecError} naming the path of what cannot be carried. */
  encode(value: unknown): Uint8Array {
    return this.frame.encode(value);
  }

  /** Tells of a value that only memory can keep, once per message. */
  notEncodable(key: string, error: unknown): void {
    const what = error instanceof CodecError ? error.message : reason(error);
    this.warnOnce(`The value of key ${JSON.stringify(key)} is kept in memory only: ${what}`);
  }

  async close(): Promise<void> {
    for (const flight of this.flights.all()) {
      flight.abort(new ClosedError(this.name));
      this.flights.detach(flight, false);
      flight.reject(new ClosedError(this.name));
    }
    // A layer that hangs must not keep the process from closing.
    await within(this.clock, CLOSE_WAIT, this.drained()).catch(() => undefined);
    this.memory?.close();
    await this.following.close();
    for (const store of this.stores) await store.close();
  }

  #forgetAll(): void {
    this.memory?.clear();
    this.detachAll(false);
    this.endings.tellAll();
  }

  /** Keys are told; what tags and patterns concern has no position to be told by, so all of it goes. */
  #forget(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (record.kind === "ended") continue;
      if (record.kind !== "keys") {
        this.#forgetAll();
        return;
      }
      for (const key of record.keys) {
        this.memory?.delete(key);
        this.flights.detachKey(key, Number.POSITIVE_INFINITY, false);
      }
    }
  }

  #apply(records: readonly Appended[]): void {
    for (const appended of records) {
      this.#concern(appended);
      const { record } = appended;
      if (record.kind !== "ended" && this.events.wants("invalidate"))
        this.events.emit("invalidate", { kind: record.kind, what: subject(record) });
    }
  }

  /** Applies a record to memory and to what is in flight (P1). */
  #concern({ position, record }: Appended): void {
    const soft = "soft" in record && record.soft === true;
    switch (record.kind) {
      case "ended":
        this.endings.tell(record.keys, position);
        return;
      case "keys":
        this.endings.tell(record.keys, position);
        for (const key of record.keys) {
          this.flights.detachKey(key, position, soft);
          const state = this.#writing.get(key);
          if (state !== undefined) state.records++;
          const entry = this.memory?.peek(key);
          if (entry === undefined || entry.asOf >= position) continue;
          if (soft) entry.expire(this.clock.now());
          else this.memory?.delete(key);
        }
        return;
      case "tags":
        this.flights.detachWhere(
          soft,
          (flight) => flight.asOf < position && flight.tags.some((tag) => record.tags.includes(tag)),
        );
        return;
      case "prefix":
      case "glob": {
        const concerns = this.invalidations.matcher(record);
        this.flights.detachWhere(soft, (flight) => flight.asOf < position && concerns(flight.key));
        return;
      }
      case "clear":
        for (const state of this.#writing.values()) state.records++;
        this.memory?.clear();
        this.flights.detachWhere(false, (flight) => flight.asOf < position);
    }
  }
}

/** What an invalidation was about, in words. */
export function subject(record: LogRecord): string {
  switch (record.kind) {
    case "keys":
    case "ended":
      return record.keys.join(", ");
    case "tags":
      return record.tags.join(", ");
    case "prefix":
      return `${record.prefix}*`;
    case "glob":
      return record.glob;
    case "clear":
      return "everything";
  }
}
