import type { StandardSchemaV1 } from "@standard-schema/spec";
import { CacheError, show } from "../base/errors.ts";
import { validate } from "../base/standard-schema.ts";
import type { StoreRead } from "../stores/store.ts";
import type { Core } from "./core.ts";
import { Entry } from "./entry.ts";
import type { Flight, Outcome } from "./flight.ts";
import { type GuardedStore, UNAVAILABLE } from "./guarded-store.ts";
import { Loading } from "./load-context.ts";
import type { BatchLoader, Loader } from "./options.ts";
import { jittered, type Promoter, sizeOfEntry } from "./promoter.ts";
import { staleOutcome } from "./waiting.ts";

/** Lifetime of a lease in milliseconds; renewed at every third of it while the load runs. */
const LEASE = 10_000;
/** Longest wait for another process's load before this one loads by itself, in milliseconds. */
const MAX_BUSY_WAIT = 60_000;
/** First and longest pause between looks at a key that another process is loading. */
const BUSY_PAUSE = { first: 5, longest: 100 };

/** How a flight is run. */
export interface How {
  /** A loader follows: a stale copy may answer at once while it runs. */
  readonly loads: boolean;
  /** Whatever is cached is bypassed. */
  readonly fresh: boolean;
  /** A refresh in the background of an entry that is still served. */
  readonly eager: boolean;
  readonly schema: StandardSchemaV1 | undefined;
}

const PLAIN: How = { loads: false, fresh: false, eager: false, schema: undefined };

/** What is left of a batch after the stores: to be loaded, or waited for because another process loads it. */
interface Consulted {
  readonly load: Flight[];
  readonly busy: { readonly flight: Flight; readonly store: GuardedStore }[];
}

/** Runs flights: through the stores in order, then the loader, then back into memory and the stores. */
export class Runner {
  readonly #core: Core;
  readonly #promoter: Promoter;
  #reads: Flight[] = [];
  #staleReads = new Set<Flight>();

  constructor(core: Core, promoter: Promoter) {
    this.#core = core;
    this.#promoter = promoter;
  }

  /** Runs a load of one key. */
  load(flight: Flight, loader: Loader<unknown>, how: How): void {
    const core = this.#core;
    if (core.following.ready === undefined && (core.stores.length === 0 || !flight.options.l2)) {
      // Nothing lies between memory and the loader.
      void this.#callLoader(flight, loader, how);
      return;
    }
    void this.#run([flight], how, () => this.#callLoader(flight, loader, how));
  }

  /** Runs loads of many keys: one call of the loader for all that the stores do not have. */
  loadMany<K>(
    batch: readonly { readonly flight: Flight; readonly name: K }[],
    loader: BatchLoader<K, unknown>,
    how: How,
  ): void {
    const names = new Map(batch.map(({ flight, name }) => [flight, name]));
    void this.#run([...names.keys()], how, (missing) => this.#callBatchLoader(missing, names, loader, how));
  }

  /** Looks a key up in the stores, without a loader. Look-ups of one tick go together. */
  read(flight: Flight, stale: boolean): void {
    if (stale) this.#staleReads.add(flight);
    this.#reads.push(flight);
    if (this.#reads.length === 1) queueMicrotask(() => void this.#runReads());
  }

  async #runReads(): Promise<void> {
    const batch = this.#reads;
    const wantStale = this.#staleReads;
    this.#reads = [];
    this.#staleReads = new Set();
    await this.#run(
      batch,
      PLAIN,
      (rest) => {
        for (const flight of rest) {
          const outcome = wantStale.has(flight) ? staleOutcome(this.#core, flight) : undefined;
          this.#settle(
            flight,
            outcome ?? { value: undefined, layer: "none", state: "miss", age: 0, ttl: 0, outdatedBy: 0 },
          );
        }
      },
      false,
    );
  }

  async #run(batch: Flight[], how: How, load: (missing: Flight[]) => unknown, lease = true): Promise<void> {
    const core = this.#core;
    try {
      if (core.following.ready !== undefined) {
        await core.following.whenReady();
        for (const flight of batch) flight.asOf = core.invalidations.position;
      }
      const usesStores = core.stores.length > 0 && core.following.ready === undefined && batch[0]?.options.l2 === true;
      if (!usesStores) {
        await load(batch);
        return;
      }
      const { load: missing, busy } = await this.#consult(batch, how, lease);
      // Those that wait for other processes hold nothing up: what is leased here loads at once.
      const waits = busy.map(async ({ flight, store }) => {
        if (await this.#awaitFill(flight, store, how)) await load([flight]);
      });
      if (missing.length > 0) waits.push(Promise.resolve(load(missing)).then(() => undefined));
      await Promise.all(waits);
    } catch (error) {
      for (const flight of batch) flight.reject(error);
    } finally {
      for (const flight of batch) {
        core.flights.end(flight);
        core.release(flight);
      }
    }
  }

  /** Asks the stores, from near to far, for what is not found yet. */
  async #consult(batch: Flight[], how: How, lease: boolean): Promise<Consulted> {
    let rest = batch;
    const busy: Consulted["busy"][number][] = [];
    for (const store of this.#core.stores) {
      if (rest.length === 0) break;
      const options = lease ? { lease: LEASE, refresh: how.fresh || how.eager } : {};
      const reads = await store.read(
        rest.map((flight) => flight.key),
        options,
      );
      if (reads === UNAVAILABLE) continue;
      const next: Flight[] = [];
      for (const [i, flight] of rest.entries()) {
        const read = reads[i];
        if (read === undefined) next.push(flight);
        else if (await this.#take(flight, read, store, how)) continue;
        else if (read.lease === "busy" && !how.fresh) busy.push({ flight, store });
        else if (lease && read.lease === undefined) {
          // There is an entry that looks fresh to the store but may not serve: ask for the lease all the same.
          const again = await store.read([flight.key], { lease: LEASE, refresh: true });
          const second = again === UNAVAILABLE ? undefined : again[0];
          if (second !== undefined && (await this.#take(flight, second, store, how))) continue;
          if (second?.lease === "busy") busy.push({ flight, store });
          else next.push(flight);
        } else next.push(flight);
      }
      rest = next;
    }
    return { load: rest, busy };
  }

  /** Takes what a store answered. True: the flight has landed. */
  async #take(flight: Flight, read: StoreRead, store: GuardedStore, how: How): Promise<boolean> {
    const core = this.#core;
    if (read.lease !== undefined && read.lease !== "busy") {
      flight.lend(store, read.lease);
      if (flight.detached) core.release(flight);
    }
    const entry =
      read.found === undefined || how.fresh
        ? undefined
        : await this.#promoter.accept(flight, read.found, how.schema);
    const now = core.clock.now();
    const fresh = entry !== undefined && now < entry.freshUntil;
    if (entry === undefined) store.counters.misses++;
    else if (fresh && !(how.eager && !isNewer(entry, flight.stale))) {
      store.counters.hits++;
      this.#land(flight, entry, store.name);
      return true;
    } else {
      flight.offerStale(entry, store.name);
      const { stale } = flight;
      const busy = read.lease === "busy";
      const serves =
        how.loads && stale !== undefined && (busy || now < stale.freshUntil + flight.options.swr);
      if (serves && !flight.early) this.#serveStaleEarly(flight, store);
      else store.counters.misses++;
      if (!busy || !flight.early) return false;
      // The process that holds the lease loads: what it fills is found by the next read.
      const outcome = staleOutcome(this.#core, flight);
      if (outcome !== undefined) this.#settle(flight, outcome);
      return outcome !== undefined;
    }
    // Another process refreshes it already: nothing to do in the background.
    if (read.lease === "busy" && how.eager && flight.stale !== undefined) {
      const outcome = staleOutcome(core, flight);
      if (outcome !== undefined) this.#settle(flight, outcome);
      return outcome !== undefined;
    }
    return false;
  }

  /** A stale copy answers at once where it may: inside `swr`, or while another process loads. */
  #serveStaleEarly(flight: Flight, store: GuardedStore): void {
    const outcome = staleOutcome(this.#core, flight);
    if (flight.stale === undefined || outcome === undefined) return;
    store.counters.staleHits++;
    this.#promoter.keep(flight, flight.stale);
    flight.answerEarly(outcome);
  }

  #land(flight: Flight, entry: Entry, layer: string): void {
    const core = this.#core;
    this.#promoter.keep(flight, entry);
    this.#settle(flight, this.#promoter.outcome(flight, entry, layer));
    // Nearer stores lent a lease on their way: they get the entry with the lifetime it has left.
    if (flight.leases.size > 0 && !flight.detached)
      core.background(this.#promoter.fill(flight, remaining(entry, core.clock.now())));
    if (entry.sliding > 0)
      core.background(Promise.all(core.stores.map((store) => store.touch(flight.key, entry.sliding))));
  }

  /** Waits for the process that holds the lease. True: it did not deliver, load here. */
  async #awaitFill(flight: Flight, store: GuardedStore, how: How): Promise<boolean> {
    const core = this.#core;
    const until = core.clock.now() + MAX_BUSY_WAIT;
    let pause = BUSY_PAUSE.first;
    while (!flight.aborted && core.clock.now() < until) {
      await core.sleep(pause * (0.5 + core.random()));
      pause = Math.min(pause * 1.5, BUSY_PAUSE.longest);
      const reads = await store.read([flight.key], { lease: LEASE });
      const read = reads === UNAVAILABLE ? undefined : reads[0];
      if (read === undefined) return true;
      if (await this.#take(flight, read, store, how)) return false;
      if (read.lease !== "busy") return true;
    }
    return !flight.aborted;
  }

  /** Calls the loader and takes what it answers; undefined when that was done at once. Never rejects. */
  #callLoader(flight: Flight, loader: Loader<unknown>, how: How): Promise<void> | undefined {
    const core = this.#core;
    const start = core.clock.now();
    const loading = new Loading(flight, start);
    flight.loading = true;
    core.counters.loads++;
    let answer: unknown;
    try {
      answer = loader(loading);
      if (!isThenable(answer) && how.schema === undefined) {
        this.#loaded(flight, answer, loading, start, how);
        return undefined;
      }
    } catch (error) {
      this.#failed(flight, error, how);
      return undefined;
    }
    return this.#awaitLoader(flight, answer, loading, start, how);
  }

  async #awaitLoader(
    flight: Flight,
    answer: unknown,
    loading: Loading,
    start: number,
    how: How,
  ): Promise<void> {
    const renewal = this.#renew([flight]);
    try {
      const value = await answer;
      const checked =
        how.schema === undefined || value === undefined
          ? value
          : await validate(how.schema, value, flight.key);
      this.#loaded(flight, checked, loading, start, how);
    } catch (error) {
      this.#failed(flight, error, how);
    } finally {
      renewal.cancel();
    }
  }

  async #callBatchLoader<K>(
    missing: Flight[],
    names: ReadonlyMap<Flight, K>,
    loader: BatchLoader<K, unknown>,
    how: How,
  ): Promise<void> {
    const core = this.#core;
    const start = core.clock.now();
    const controller = new AbortController();
    const keys: K[] = [];
    for (const flight of missing) {
      flight.loading = true;
      keys.push(names.get(flight) as K); // every flight of the batch was given a name
    }
    core.counters.loads++;
    const renewal = this.#renew(missing);
    // The one load ends when no key of it is wanted any more.
    const watch = (): void => {
      if (missing.every((flight) => flight.aborted)) controller.abort(missing[0]?.signal.reason);
    };
    for (const flight of missing) flight.onAbort = watch;
    try {
      const answer = await loader(keys, { signal: controller.signal });
      if (!(answer instanceof Map))
        throw new CacheError(
          "ERR_CACHE_LOADER",
          `A batch loader must answer with a Map of key to value, not ${show(answer)}.`,
        );
      for (const flight of missing) {
        try {
          const value: unknown = answer.get(names.get(flight) as K); // as above
          const checked =
            how.schema === undefined || value === undefined
              ? value
              : await validate(how.schema, value, flight.key);
          this.#loaded(flight, checked, new Loading(flight, start), start, how);
        } catch (error) {
          this.#failed(flight, error, how);
        }
      }
    } catch (error) {
      for (const flight of missing) this.#failed(flight, error, how);
    } finally {
      renewal.cancel();
    }
  }

  /** Takes a loaded value: keeps it where it may be kept, and answers all who wait. */
  #loaded(flight: Flight, value: unknown, loading: Loading, start: number, how: How): void {
    const core = this.#core;
    const { options, key } = flight;
    const now = core.clock.now();
    const cost = now - start;
    core.counters.load.record(cost);
    if (core.events.wants("load")) core.events.emit("load", { key, ms: cost, background: flight.background });

    const missing = value === undefined;
    const grace = loading.chosenGrace ?? options.grace;
    const chosen = loading.chosenTtl ?? (missing ? options.negativeTtl : options.ttl);
    const ttl = jittered(Math.min(chosen, flight.ttlCap), options, core.random);
    const tags = union(flight.tags, loading.addedTags, loading.unmodified ? (flight.stale?.tags ?? []) : []);
    const outdatedBy = flight.detached ? 0 : this.#promoter.outdatedBy(key, tags, flight.asOf);
    const refused = flight.detached || outdatedBy !== 0;
    const kept = !loading.skipped && ttl > 0 && !(missing && options.negativeTtl === 0);
    let entry: Entry | undefined;
    if (refused) core.counters.refused++;
    else if (kept) entry = this.#keepLoaded(flight, { value, missing, tags, ttl, grace, cost });
    else if (missing && (flight.stale !== undefined || how.fresh)) this.#forget(flight);
    this.#settle(flight, {
      value: entry?.kind === "value" ? entry.value : value,
      layer: "loader",
      state: "miss",
      age: 0,
      ttl,
      outdatedBy,
    });
  }

  #keepLoaded(
    flight: Flight,
    {
      value,
      missing,
      tags,
      ttl,
      grace,
      cost,
    }: {
      value: unknown;
      missing: boolean;
      tags: readonly string[];
      ttl: number;
      grace: number;
      cost: number;
    },
  ): Entry | undefined {
    const core = this.#core;
    const { options, key } = flight;
    const bytes = sizeOfEntry(key, value, tags);
    const sliding = options.sliding && Number.isFinite(ttl) ? ttl : 0;
    let entry: Entry;
    try {
      entry = core.entry(
        {
          value,
          kind: missing ? "negative" : "value",
          tags,
          asOf: flight.asOf,
          ttl,
          grace,
          cost,
          sliding,
          bytes,
          age: 0,
        },
        options,
      );
    } catch (error) {
      core.notEncodable(key, error);
      return undefined;
    }
    if (options.l1) core.keep(key, entry);
    if (flight.leases.size > 0) core.background(this.#promoter.fill(flight, entry));
    return entry;
  }

  /** The source says that it is gone: old copies must not outlive it. */
  #forget(flight: Flight): void {
    const core = this.#core;
    core.memory?.delete(flight.key);
    core.background(this.#forgetElsewhere(flight.key));
  }

  async #forgetElsewhere(key: string): Promise<void> {
    const core = this.#core;
    for (const store of core.stores.toReversed()) await store.remove([key]);
    if (core.log.shared) await core.following.append([{ kind: "keys", keys: [key] }]);
  }

  #failed(flight: Flight, error: unknown, how: How): void {
    const core = this.#core;
    const { options, key } = flight;
    const now = core.clock.now();
    const outcome = how.fresh ? undefined : staleOutcome(core, flight);
    const { stale } = flight;
    const usable = outcome !== undefined && stale !== undefined;
    if (!flight.aborted) {
      core.counters.loadErrors++;
      if (core.events.wants("loadError")) core.events.emit("loadError", { key, error, servedStale: usable });
    }
    if (usable) {
      stale.retryAt = now + options.retryAfter;
      // An eager refresh that failed is not tried again at every hit.
      if (stale.eagerAt <= now) stale.eagerAt = stale.retryAt;
      stale.rearm();
      if (!flight.detached && options.l1) core.keep(key, stale);
      this.#settle(flight, outcome);
      return;
    }
    if (options.errorTtl > 0 && !flight.aborted && !flight.detached && options.l1) {
      const facts = {
        value: error,
        kind: "error",
        tags: flight.tags,
        asOf: flight.asOf,
        ttl: options.errorTtl,
      } as const;
      core.keep(
        key,
        new Entry(
          { ...facts, grace: 0, cost: 0, sliding: 0, bytes: sizeOfEntry(key, error, flight.tags), age: 0 },
          now,
        ),
      );
    }
    // Unregistered first: a caller who tries again at once starts a new load.
    core.flights.end(flight);
    flight.reject(error);
  }

  #settle(flight: Flight, outcome: Outcome): void {
    this.#core.flights.end(flight);
    flight.resolve(outcome);
  }

  /** Keeps leases alive while their load runs. */
  #renew(flights: readonly Flight[]): { cancel(): void } {
    const core = this.#core;
    if (!flights.some((flight) => flight.leases.size > 0)) return IDLE;
    let timer = core.clock.setTimer(LEASE / 3, function renew() {
      for (const flight of flights) {
        for (const [store, token] of flight.leases) core.background(store.renew(flight.key, token, LEASE));
      }
      timer = core.clock.setTimer(LEASE / 3, renew);
    });
    return { cancel: () => timer.cancel() };
  }
}

const IDLE = { cancel: (): void => undefined };

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** Whether an entry was stored later than the one it would replace: another process refreshed it already. */
function isNewer(entry: Entry, current: Entry | undefined): boolean {
  return current === undefined || entry.freshUntil > current.freshUntil + 1;
}

function union(...lists: readonly (readonly string[])[]): readonly string[] {
  const filled = lists.filter((list) => list.length > 0);
  return filled.length < 2 ? (filled[0] ?? []) : [...new Set(filled.flat())];
}

/** An entry as a nearer store should get it: with the lifetime it has left. */
function remaining(entry: Entry, now: number): Entry {
  const left = Math.max(0, entry.freshUntil - now);
  const { value, kind, tags, asOf, grace, cost, sliding, bytes } = entry;
  return new Entry({ value, kind, tags, asOf, ttl: left, grace, cost, sliding, bytes, age: 0 }, now);
}
