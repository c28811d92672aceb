import type { StoreRead } from "../stores/store.ts";
import type { Core } from "./core.ts";
import { Entry } from "./entry.ts";
import type { Flight } from "./flight.ts";
import { type GuardedStore, UNAVAILABLE } from "./guarded-store.ts";
import type { How, Loads } from "./loads.ts";
import type { BatchLoader, Loader } from "./options.ts";
import type { Promoter } from "./promoter.ts";
import { staleOutcome } from "./waiting.ts";

/** Longest wait for another process's load before this one loads by itself, in milliseconds. */
const MAX_BUSY_WAIT = 60_000;
/** First and longest pause between looks at a key that another process is loading, when no log tells of its end. */
const POLL_PAUSE = { first: 5, longest: 100 };
/** The same when one does: only for holders that died, and for what the log did not bring. */
const EVENT_PAUSE = { first: 250, longest: 1_000 };

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
  readonly #loads: Loads;
  #reads: Flight[] = [];
  #staleReads = new Set<Flight>();

  constructor(core: Core, promoter: Promoter, loads: Loads) {
    this.#core = core;
    this.#promoter = promoter;
    this.#loads = loads;
  }

  /** Runs a load of one key. */
  load(flight: Flight, loader: Loader<unknown>, how: How): void {
    const core = this.#core;
    if (core.following.ready === undefined && (core.stores.length === 0 || !flight.options.l2)) {
      // Nothing lies between memory and the loader.
      void this.#loads.one(flight, loader, how);
      return;
    }
    void this.#run([flight], how, () => this.#loads.one(flight, loader, how));
  }

  /** Runs loads of many keys: one call of the loader for all that the stores do not have. */
  loadMany<K>(
    batch: readonly { readonly flight: Flight; readonly name: K }[],
    loader: BatchLoader<K, unknown>,
    how: How,
  ): void {
    const names = new Map(batch.map(({ flight, name }) => [flight, name]));
    void this.#run([...names.keys()], how, (missing) => this.#loads.many(missing, names, loader, how));
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
          this.#loads.settle(
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
      const usesStores =
        core.stores.length > 0 && core.following.ready === undefined && batch[0]?.options.l2 === true;
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
      const options = lease ? { lease: this.#core.lease, refresh: how.fresh || how.eager } : {};
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
          const again = await store.read([flight.key], { lease: this.#core.lease, refresh: true });
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
      if (outcome !== undefined) this.#loads.settle(flight, outcome);
      return outcome !== undefined;
    }
    // Another process refreshes it already: nothing to do in the background.
    if (read.lease === "busy" && how.eager && flight.stale !== undefined) {
      const outcome = staleOutcome(core, flight);
      if (outcome !== undefined) this.#loads.settle(flight, outcome);
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
    this.#loads.settle(flight, this.#promoter.outcome(flight, entry, layer));
    // Nearer stores lent a lease on their way: they get the entry with the lifetime it has left.
    if (flight.leases.size > 0 && !flight.detached)
      core.background(this.#promoter.fill(flight, remaining(entry, core.clock.now())));
    if (entry.sliding > 0)
      core.background(Promise.all(core.stores.map((store) => store.touch(flight.key, entry.sliding))));
  }

  /** Waits for the process that holds the lease. True: it did not deliver, load here. */
  async #awaitFill(flight: Flight, store: GuardedStore, how: How): Promise<boolean> {
    const core = this.#core;
    const { first, longest } = core.log.shared ? EVENT_PAUSE : POLL_PAUSE;
    const until = core.clock.now() + MAX_BUSY_WAIT;
    let pause = first;
    let since = flight.asOf;
    while (!flight.aborted && core.clock.now() < until) {
      await core.endings.next(flight.key, since, pause * (0.5 + core.random()));
      pause = Math.min(pause * 1.5, longest);
      // Before it is read: what ends from here on is not missed.
      since = core.invalidations.position;
      const reads = await store.read([flight.key], { lease: core.lease });
      const read = reads === UNAVAILABLE ? undefined : reads[0];
      if (read === undefined) return true;
      if (await this.#take(flight, read, store, how)) return false;
      if (read.lease !== "busy") return true;
    }
    return !flight.aborted;
  }
}

/** Whether an entry was stored later than the one it would replace: another process refreshed it already. */
function isNewer(entry: Entry, current: Entry | undefined): boolean {
  return current === undefined || entry.freshUntil > current.freshUntil + 1;
}

/** An entry as a nearer store should get it: with the lifetime it has left. */
function remaining(entry: Entry, now: number): Entry {
  const left = Math.max(0, entry.freshUntil - now);
  const { value, kind, tags, asOf, grace, cost, sliding, bytes } = entry;
  return new Entry({ value, kind, tags, asOf, ttl: left, grace, cost, sliding, bytes, age: 0 }, now);
}
