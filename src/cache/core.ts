import type { Clock, Timer } from "../base/clock.ts";
import { ClosedError, CodecError, LayerError, OptionError, reason } from "../base/errors.ts";
import type { Frame } from "../base/frame.ts";
import { globMatcher } from "../base/key.ts";
import { Invalidations } from "../coherence/invalidations.ts";
import type { Appended, Log, LogHead, LogRecord, Position, TagPositions } from "../coherence/log.ts";
import type { MemoryEngine } from "../memory/engine.ts";
import { type CacheCounters, LayerCounters } from "../observe/counters.ts";
import type { Emitter } from "../observe/emitter.ts";
import type { CacheEvents } from "./api.ts";
import { Entry, type EntryFacts } from "./entry.ts";
import { type Flight, Flights } from "./flight.ts";
import type { GuardedStore } from "./guarded-store.ts";
import { type Protection, protect } from "./isolation.ts";
import { isCallOption, type LifetimeOptions, refuseUnknown, resolveOptions } from "./resolve.ts";

/** How long the log is left alone after it could not be opened, in milliseconds. */
const REOPEN_AFTER = 1_000;

/** How long a read waits for the log, and a write for its append, in milliseconds. */
const READY_WAIT = 250;
const APPEND_WAIT = 5_000;
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
  readonly maxLag: number;
  readonly memoryCounters = new LayerCounters();
  readonly invalidations = new Invalidations(globMatcher);
  readonly flights = new Flights((flight) => this.release(flight));
  readonly defaults: LifetimeOptions;
  closed = false;
  /** Pending until the log is followed; undefined once it is. */
  ready: Promise<void> | undefined;
  logError: string | undefined;
  readonly #policies: ReadonlyMap<string, LifetimeOptions>;
  readonly #background = new Set<Promise<unknown>>();
  readonly #warned = new Set<string>();
  /** Keys with a write under way, and how many records about them came in since it began. */
  readonly #writing = new Map<string, { writers: number; records: number }>();
  #reopen: Timer | undefined;
  readonly #recent: () => number;

  constructor(parts: CoreParts) {
    this.#recent = parts.clock.recent ?? (() => Number.POSITIVE_INFINITY);
    this.name = parts.name;
    this.clock = parts.clock;
    this.random = parts.random;
    this.memory = parts.memory;
    this.stores = parts.stores;
    this.log = parts.log;
    this.maxLag = parts.maxLag;
    this.frame = parts.frame;
    this.isolate = parts.isolate;
    this.defaults = parts.defaults;
    this.#policies = parts.policies;
    this.warn = parts.warn;
    this.events = parts.events;
    this.counters = parts.counters;
    this.#open();
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

  /** Whether memory may be believed: the log is followed, or was heard of less than `maxLag` ago (P2). */
  trusts(): boolean {
    return this.ready === undefined && (!this.log.shared || this.log.lag() <= this.maxLag);
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
    if (this.ready !== undefined) return;
    const verdict = this.invalidations.verdict(key, entry.tags, entry.asOf);
    if (verdict === "invalid") return;
    if (verdict === "stale") entry.expire(this.clock.now());
    entry.checked = this.invalidations.version;
    this.memory?.set(key, entry);
  }

  /** Makes an entry whose value is protected as `isolate` says. @throws {CodecError} when it cannot be. */
  entry(facts: EntryFacts, options: LifetimeOptions): Entry {
    return new Entry(
      { ...facts, value: facts.kind === "value" ? protect(facts.value, this.isolate) : facts.value },
      this.clock.now(),
    ).arm(options);
  }

  /** Waits until the log is followed, but not for ever: a read then goes on without what is cached (P8). */
  async whenReady(): Promise<void> {
    const { ready } = this;
    if (ready !== undefined) await this.within(READY_WAIT, ready).catch(() => undefined);
  }

  /** Waits until the log is followed. @throws {LayerError} when it is not: nothing could be promised of a write. */
  async writable(): Promise<void> {
    await this.whenReady();
    if (this.ready !== undefined)
      throw new LayerError(this.log.name, "follow its log", this.logError ?? "it does not answer");
  }

  /** What `work` resolves to. Rejects when that takes longer than `ms`; then it is no longer waited for. */
  within<T>(ms: number, work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const late = (): void => reject(new Error(`it did not answer within ${ms} ms`));
      const timer = this.clock.setTimer(ms, late, true);
      work.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /** Last invalidations of tags by the log's own table; rejects when it does not answer in time. */
  async tagPositions(tags: readonly string[]): Promise<readonly TagPositions[]> {
    const answer = this.log.tagPositions(tags);
    return answer instanceof Promise ? this.within(READY_WAIT, answer) : answer;
  }

  /** Appends to the log. @throws {LayerError} when the log did not take it: then nothing is promised. */
  async append(records: readonly LogRecord[]): Promise<Position> {
    try {
      const answer = this.log.append(records);
      return answer instanceof Promise ? await this.within(APPEND_WAIT, answer) : answer;
    } catch (error) {
      this.logError = reason(error);
      throw new LayerError(this.log.name, "append the invalidation to its log", error);
    }
  }

  /** Positions as users see them: they only mean something within one generation. */
  show(position: Position): string {
    return `${this.invalidations.generation}:${position}`;
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
    for (const [store, token] of flight.takeLeases()) this.background(store.release(flight.key, token));
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
    this.#reopen?.cancel();
    for (const flight of this.flights.all()) {
      flight.abort(new ClosedError(this.name));
      this.flights.detach(flight, false);
      flight.reject(new ClosedError(this.name));
    }
    // A layer that hangs must not keep the process from closing.
    await this.within(CLOSE_WAIT, this.drained()).catch(() => undefined);
    this.memory?.close();
    await this.log.close();
    for (const store of this.stores) await store.close();
  }

  #open(): void {
    try {
      const head = this.log.open({
        apply: (records) => this.#apply(records),
        reset: (to, why) => this.#reset(to, why),
      });
      const patterns = this.log.patterns();
      if (!(head instanceof Promise) && !(patterns instanceof Promise)) {
        this.invalidations.reset(head, patterns);
        if (!this.log.shared) this.invalidations.floor = 0; // nothing is older than a log that began here
        this.ready = undefined;
        return;
      }
      const opened = Promise.all([head, patterns]).then(([at, active]) => {
        this.invalidations.reset(at, active);
        this.ready = undefined;
      });
      this.ready = opened.catch((error: unknown) => this.#notOpened(error));
    } catch (error) {
      this.ready = Promise.resolve();
      this.#notOpened(error);
    }
  }

  /** Without a log nothing cached can be trusted: reads go to the source until it opens. */
  #notOpened(error: unknown): void {
    this.logError = reason(error);
    this.events.emit("layerError", { layer: this.log.name, action: "open its log", error });
    if (!this.closed) this.#reopen = this.clock.setTimer(REOPEN_AFTER, () => this.#open());
  }

  /** P7: nothing known before can be proved valid. */
  #reset(head: LogHead, why: string): void {
    this.memory?.clear();
    this.flights.detachWhere(false, () => true);
    this.invalidations.reset(head, []);
    const patterns = this.log.patterns();
    if (patterns instanceof Promise) {
      this.ready = patterns.then(
        (active) => {
          this.invalidations.load(active);
          this.ready = undefined;
        },
        (error: unknown) => this.#notOpened(error),
      );
    } else this.invalidations.load(patterns);
    this.warn(`The log "${this.log.name}" lost records (${why}): memory was dropped.`);
  }

  #apply(records: readonly Appended[]): void {
    for (const appended of records) {
      this.invalidations.apply(appended);
      this.#concern(appended);
      if (this.events.wants("invalidate"))
        this.events.emit("invalidate", { kind: appended.record.kind, what: subject(appended.record) });
    }
  }

  /** Applies a record to memory and to what is in flight (P1). */
  #concern({ position, record }: Appended): void {
    const soft = record.kind !== "clear" && record.soft === true;
    switch (record.kind) {
      case "keys":
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
        const concerns =
          record.kind === "prefix"
            ? (key: string) => key.startsWith(record.prefix)
            : globMatcher(record.glob);
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
