import { OptionError } from "../base/errors.ts";
import { schemaFingerprint, shapeOf } from "../base/fingerprint.ts";
import type { Position } from "../coherence/log.ts";
import type { Core } from "./core.ts";
import type { Entry } from "./entry.ts";
import { Flight, type Outcome } from "./flight.ts";
import { handOut } from "./isolation.ts";
import { type How, Loads } from "./loads.ts";
import type { BatchLoader, GetOptions, GetOrSetOptions, Loader } from "./options.ts";
import { Promoter } from "./promoter.ts";
import { type Reach, reach } from "./reach.ts";
import type { LifetimeOptions } from "./resolve.ts";
import { Runner } from "./runner.ts";
import { Shadow } from "./shadow.ts";
import { count, countMemory } from "./tally.ts";
import { awaitFlight } from "./waiting.ts";

/** Milliseconds after which a load that does not end no longer keeps its key: the next caller starts another. */
const MAX_EXCLUSIVE = 300_000;
/** Memory hits are timed one in this many: timing costs more than the hit. */
const SAMPLE = 256;

type Waited = "signal" | "report";
type ReadOptions = Pick<GetOrSetOptions, Waited>;

/** The read path: memory, then one flight per key through the stores to the loader. */
export class Reader {
  readonly #core: Core;
  readonly #runner: Runner;
  readonly #shadow: Shadow;

  constructor(core: Core) {
    this.#core = core;
    const promoter = new Promoter(core);
    this.#shadow = new Shadow(core);
    this.#runner = new Runner(core, promoter, new Loads(core, promoter));
  }

  /**
   * The hot path: a fresh memory entry that needs no second thought. Synchronous inside, and nothing is
   * allocated but the promise: one map look-up, one clock read. Undefined: take the long way.
   */
  hit(key: string, options: GetOrSetOptions | undefined): Promise<unknown> | undefined {
    const core = this.#core;
    const { memory, counters } = core;
    if (memory === undefined || (options !== undefined && !isPlain(options))) return undefined;
    const sampled = (counters.hits & (SAMPLE - 1)) === 0;
    const start = sampled ? performance.now() : 0;
    const entry = memory.get(key);
    if (
      entry === undefined ||
      entry.checked !== core.invalidations.version ||
      !core.isBefore(entry.hitUntil) ||
      !core.trusts()
    )
      return undefined;
    counters.hits++;
    core.memoryCounters.hits++;
    if (sampled) core.memoryCounters.latency.record(performance.now() - start);
    if (core.events.wants("hit")) core.events.emit("hit", { key, layer: "memory", stale: false });
    return core.isolate === "clone" ? this.#handOut(entry.value) : Promise.resolve(entry.value);
  }

  getOrSet(key: string, loader: Loader<unknown>, options: GetOrSetOptions | undefined): Promise<unknown> {
    return this.#getOrSet(key, loader, options);
  }

  /** What is cached; never a loader. */
  get(key: string, options: GetOptions | undefined): Promise<unknown> {
    const core = this.#core;
    try {
      core.assertOpen();
      const resolved = core.resolve(options);
      const call = options ?? {};
      call.signal?.throwIfAborted();
      const past = reach(this.#core, call);
      if (past instanceof Promise) return past.then((to) => this.#get(key, resolved, call, to));
      return this.#get(key, resolved, call, past);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  getMany(keys: readonly string[], options: GetOptions | undefined): Promise<unknown[]> {
    // Flights begun in one call consult the stores together: the runner gathers those of one tick.
    return Promise.all(keys.map((key) => this.get(key, options)));
  }

  /** Answers from memory as far as it goes; the rest is one batch through the stores, then one loader call. */
  async getOrSetMany<K>(
    keys: readonly string[],
    names: readonly K[],
    loader: BatchLoader<K, unknown>,
    options: GetOrSetOptions | undefined,
    again?: Position,
  ): Promise<unknown[]> {
    const core = this.#core;
    core.assertOpen();
    if (typeof loader !== "function")
      throw new OptionError("loader", loader, "a function that gets the missing values as a Map");
    const resolved = core.resolve(options);
    options?.signal?.throwIfAborted();
    const reached = reach(this.#core, options);
    const past = since(reached instanceof Promise ? await reached : reached, again ?? 0);
    const results: unknown[] = new Array(keys.length);
    const waits: Promise<void>[] = [];
    const started = new Map<string, { flight: Flight; name: K }>();
    const background = new Map<string, { flight: Flight; name: K }>();
    const quick = options === undefined || isPlain(options) ? this.#quickHits() : undefined;
    keys.forEach((key, i) => {
      const entry = quick?.(key);
      if (entry !== undefined) {
        results[i] = handOut(entry.value, core.isolate);
        return;
      }
      const name = names[i] as K; // names has one for each key
      const seen = this.#fromMemory(key, resolved, options ?? {}, past, (entry) => {
        if (core.flights.load(key) === undefined)
          background.set(key, { flight: this.#newLoad(key, resolved, entry, true, options), name });
      });
      if (seen.kind === "hit") {
        results[i] = handOut(seen.value, core.isolate);
        return;
      }
      if (seen.kind === "error") {
        waits.push(Promise.reject(seen.error));
        return;
      }
      let flight = this.#joinable(key, options, past.position);
      const joined = flight !== undefined;
      if (flight === undefined) {
        flight = this.#newLoad(key, resolved, seen.stale, false, options);
        started.set(key, { flight, name });
      }
      const retry = (): Promise<unknown> =>
        this.getOrSetMany([key], [name], loader, options, core.invalidations.position).then(
          ([value]) => value,
        );
      waits.push(
        this.#wait(
          flight,
          joined,
          resolved,
          options ?? {},
          undefined,
          again === undefined ? retry : undefined,
        ).then((value) => {
          results[i] = value;
        }),
      );
    });
    if (started.size > 0)
      this.#runner.loadMany([...started.values()], loader, this.#how(options, false, past));
    if (background.size > 0)
      this.#runner.loadMany([...background.values()], loader, this.#how(options, true));
    if (waits.length > 0) {
      // Every wait is settled before the first error is told, so that none becomes an unhandled rejection.
      for (const ended of await Promise.allSettled(waits))
        if (ended.status === "rejected") throw ended.reason;
    }
    return results;
  }

  /** Looks for fresh memory entries that need no second thought, by one reading of the clock for all. */
  #quickHits(): ((key: string) => Entry | undefined) | undefined {
    const { memory, counters, memoryCounters, events, invalidations, clock } = this.#core;
    if (memory === undefined || !this.#core.trusts()) return undefined;
    const now = clock.now();
    const tells = events.wants("hit");
    return (key) => {
      const entry = memory.get(key);
      if (entry === undefined || entry.checked !== invalidations.version || now >= entry.hitUntil)
        return undefined;
      counters.hits++;
      memoryCounters.hits++;
      if (tells) events.emit("hit", { key, layer: "memory", stale: false });
      return entry;
    };
  }

  #getOrSet(key: string, loader: Loader<unknown>, options: GetOrSetOptions | undefined): Promise<unknown> {
    const core = this.#core;
    try {
      core.assertOpen();
      if (typeof loader !== "function")
        throw new OptionError("loader", loader, "a function that gets the value on a miss");
      const resolved = core.resolve(options);
      const call = options ?? {};
      if (call.signal?.aborted === true) return Promise.reject(call.signal.reason);
      if (call.onlyCached === true) return this.get(key, { ...pickGet(call) });
      const past = reach(this.#core, call);
      if (past instanceof Promise)
        return past.then((to) => {
          call.signal?.throwIfAborted();
          return this.#load(key, loader, resolved, call, to);
        });
      return this.#load(key, loader, resolved, call, past);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #load(
    key: string,
    loader: Loader<unknown>,
    resolved: LifetimeOptions,
    options: GetOrSetOptions,
    past: Reach,
    again = false,
  ): Promise<unknown> {
    const seen =
      this.#core.memory === undefined
        ? MISSED
        : this.#fromMemory(key, resolved, options, past, (entry) => {
            if (this.#core.flights.load(key) === undefined)
              this.#runner.load(
                this.#newLoad(key, resolved, entry, true, options),
                loader,
                this.#how(options, true),
              );
          });
    if (seen.kind === "hit") {
      if (seen.fresh) this.#shadow.sample(key, seen.value, seen.tags, loader, resolved, options);
      return this.#handOut(seen.value);
    }
    if (seen.kind === "error") return Promise.reject(seen.error);
    let flight = this.#joinable(key, options, past.position);
    const joined = flight !== undefined;
    flight ??= this.#newLoad(key, resolved, seen.stale, false, options);
    // Before the run: a loader that answers at once settles the flight within it.
    const landed =
      resolved.shadow === 0
        ? undefined
        : (value: unknown) => this.#shadow.sample(key, value, resolved.tags, loader, resolved, options);
    const retry = (): Promise<unknown> =>
      this.#load(key, loader, resolved, options, since(past, this.#core.invalidations.position), true);
    const wait = this.#wait(flight, joined, resolved, options, landed, again ? undefined : retry);
    if (!joined) this.#runner.load(flight, loader, this.#how(options, false, past));
    return wait;
  }

  #get(
    key: string,
    resolved: LifetimeOptions,
    options: GetOptions,
    past: Reach,
    again = false,
  ): Promise<unknown> {
    const core = this.#core;
    const now = core.clock.now();
    const entry = this.#memoryEntry(key, resolved, past, now);
    const usable = entry !== undefined && entry.kind !== "error" ? entry : undefined;
    const stale = options.stale === true ? usable : undefined;
    if (usable !== undefined && (now < usable.freshUntil || stale !== undefined)) {
      if (now < usable.freshUntil) this.#slide(key, usable, now, resolved);
      countMemory(core, key, usable, now, options.report);
      return this.#handOut(usable.value);
    }
    core.memoryCounters.misses++;
    if (core.stores.length === 0 || !resolved.l2 || past.beyondMemory) {
      count(core, NOTHING, key, options.report);
      return Promise.resolve(undefined);
    }
    const running = core.flights.read(key);
    const joined = running !== undefined && running.asOf >= past.position && options.stale !== true;
    const flight = joined
      ? running
      : new Flight(key, resolved, core.invalidations.position, now, undefined, shapeOfCall(options));
    const retry = (): Promise<unknown> =>
      this.#get(key, resolved, options, since(past, core.invalidations.position), true);
    const told = again ? undefined : retry;
    const wait = this.#wait(flight, joined, resolved, options, undefined, told, options.stale === true);
    if (!joined) {
      core.flights.addRead(flight);
      this.#runner.read(flight, options.stale === true);
    }
    return wait;
  }

  #memoryEntry(key: string, resolved: LifetimeOptions, past: Reach, now: number): Entry | undefined {
    const core = this.#core;
    return resolved.l1 && !past.beyondMemory && core.trusts() ? core.lookup(key, now) : undefined;
  }

  /** What memory has to say about a read with a loader. `refresh` starts a background load. */
  #fromMemory(
    key: string,
    resolved: LifetimeOptions,
    options: GetOrSetOptions,
    past: Reach,
    refresh: (stale: Entry) => void,
  ): Seen {
    const core = this.#core;
    if (options.fresh === true) return { kind: "miss", stale: undefined };
    const now = core.clock.now();
    const entry = this.#memoryEntry(key, resolved, past, now);
    if (entry === undefined) {
      core.memoryCounters.misses++;
      return { kind: "miss", stale: undefined };
    }
    const fresh = now < entry.freshUntil;
    if (entry.kind === "error") {
      if (!fresh) return { kind: "miss", stale: undefined };
      core.counters.hits++;
      core.memoryCounters.hits++;
      return { kind: "error", error: entry.value };
    }
    if (fresh) {
      this.#slide(key, entry, now, resolved);
      if (now >= entry.eagerAt || this.#expiresEarly(entry, now)) refresh(entry);
    } else if (now >= entry.retryAt) {
      if (now >= entry.freshUntil + resolved.swr) {
        core.memoryCounters.misses++;
        return { kind: "miss", stale: entry };
      }
      refresh(entry);
    }
    countMemory(core, key, entry, now, options.report);
    return { kind: "hit", value: entry.value, tags: entry.tags, fresh };
  }

  /** XFetch: expires early with a probability that grows towards the expiry and with the cost of a load. */
  #expiresEarly(entry: Entry, now: number): boolean {
    if (entry.beta === 0) return false;
    return (
      now - entry.cost * entry.beta * Math.log(Math.max(this.#core.random(), Number.MIN_VALUE)) >=
      entry.freshUntil
    );
  }

  /** Sliding lifetime: a hit starts it anew, here and (seldom, in the background) in the stores. */
  #slide(key: string, entry: Entry, now: number, resolved: LifetimeOptions): void {
    if (entry.sliding === 0) return;
    const core = this.#core;
    entry.renew(now, entry.sliding);
    if (core.stores.length === 0 || !resolved.l2 || now - entry.touchedAt < entry.sliding / 4) return;
    entry.touchedAt = now;
    core.background(Promise.all(core.stores.map((store) => store.touch(key, entry.sliding))));
  }

  #newLoad(
    key: string,
    resolved: LifetimeOptions,
    stale: Entry | undefined,
    background: boolean,
    options: GetOrSetOptions | undefined,
  ): Flight {
    const core = this.#core;
    const { position } = core.invalidations;
    const flight = new Flight(key, resolved, position, core.clock.now(), stale, shapeOfCall(options));
    flight.background = background;
    core.flights.addLoad(flight);
    return flight;
  }

  /** The load under way that this caller may share. */
  #joinable(key: string, options: GetOrSetOptions | undefined, after: Position): Flight | undefined {
    const flight = this.#core.flights.load(key);
    if (flight === undefined || flight.aborted || flight.asOf < after) return undefined;
    // A load that never ends must not keep its key busy for ever; its value is then not stored any more.
    const age = this.#core.clock.now() - flight.startedAt;
    if (age > MAX_EXCLUSIVE) return undefined;
    // P2: without the log nobody tells that what it reads is outdated.
    if (age > this.#core.following.maxLag && !this.#core.trusts()) return undefined;
    // "Load now" is met by a load whose loader has not been called yet.
    return options?.fresh === true && flight.loading ? undefined : flight;
  }

  #wait(
    flight: Flight,
    joined: boolean,
    resolved: LifetimeOptions,
    options: ReadOptions,
    hit: ((value: unknown) => void) | undefined,
    retry: (() => Promise<unknown>) | undefined,
    takesStale = true,
  ): Promise<unknown> {
    const core = this.#core;
    if (joined) {
      flight.join(resolved);
      core.counters.joined++;
    }
    const joinedAt = core.invalidations.position;
    const deliver = (outcome: Outcome): unknown => {
      // P1: something invalidated it while it was under way, perhaps before this caller came, who then must not see
      // the old value (what is only known is the last such invalidation). It asks once more, and joins nothing that
      // began before now. Who began the flight came before all of them.
      const outdated = outcome.outdatedBy !== 0 || (flight.detached && outcome.layer === "loader");
      if (outdated && joinedAt > flight.asOf && retry !== undefined) return retry();
      count(core, outcome, flight.key, options.report);
      if (outcome.state === "fresh") hit?.(outcome.value);
      return handOut(outcome.value, core.isolate);
    };
    return awaitFlight(core, flight, resolved, options.signal, deliver, takesStale);
  }

  #how(options: GetOrSetOptions | undefined, eager: boolean, past?: Reach): How {
    const fresh = options?.fresh === true || past?.beyondMemory === true;
    if (!fresh && options?.schema === undefined) return eager ? EAGER : PLAIN;
    return { loads: true, fresh, eager, schema: options?.schema };
  }

  #handOut(value: unknown): Promise<unknown> {
    return Promise.resolve(handOut(value, this.#core.isolate));
  }
}

const MISSED: Seen = { kind: "miss", stale: undefined };

/** How most loads are done. */
const PLAIN: How = { loads: true, fresh: false, eager: false, schema: undefined };
const EAGER: How = { loads: true, fresh: false, eager: true, schema: undefined };

/** A reach that also leaves aside what began before a position. */
function since(past: Reach, position: Position): Reach {
  return position <= past.position ? past : { position, beyondMemory: past.beyondMemory };
}

type Seen =
  | {
      readonly kind: "hit";
      readonly value: unknown;
      readonly tags: readonly string[];
      readonly fresh: boolean;
    }
  | { readonly kind: "error"; readonly error: unknown }
  | { readonly kind: "miss"; readonly stale: Entry | undefined };

const NOTHING: Outcome = { value: undefined, layer: "none", state: "miss", age: 0, ttl: 0, outdatedBy: 0 };

/** Whether nothing in the options changes what a fresh memory entry answers. */
function isPlain(options: GetOrSetOptions): boolean {
  return (
    options.fresh === undefined &&
    options.l1 === undefined &&
    options.policy === undefined &&
    options.after === undefined &&
    options.report === undefined &&
    options.signal === undefined
  );
}

function pickGet({ policy, l1, l2, after, report, signal, version }: GetOrSetOptions): GetOptions {
  return { policy, l1, l2, after, report, signal, version };
}

/** The shape that a call says its values are of; 0: none. */
export function shapeOfCall(
  options:
    | { readonly version?: string | number | undefined; readonly schema?: GetOrSetOptions["schema"] }
    | undefined,
): number {
  if (options?.version !== undefined) return shapeOf(String(options.version));
  return options?.schema === undefined ? 0 : shapeOf(schemaFingerprint(options.schema));
}
