import type { ReadOptions, StoreRead } from "../stores/store.ts";
import type { Core } from "./core.ts";
import { Entry } from "./entry.ts";
import type { Flight, Outcome } from "./flight.ts";
import { type GuardedStore, UNAVAILABLE } from "./guarded-store.ts";
import type { How, Loads } from "./loads.ts";
import type { BatchLoader, Loader } from "./options.ts";
import type { Promoter } from "./promoter.ts";
import { staleOutcome } from "./waiting.ts";

/** Longest wait for another process's load before this one loads by itself, in milliseconds. */
const MAX_BUSY_WAIT = 60_000;
/** Keys of one read of a store: each step has the layer's timeout for itself. */
const STEP = 5_000;
/** First and longest pause between looks at a key that another process is loading, when no log tells of its end. */
const POLL_PAUSE = { first: 5, longest: 100 };
/** The same when one does: only for holders that died, and for what the log did not bring. */
const EVENT_PAUSE = { first: 250, longest: 1_000 };

const NOTHING: Outcome = { value: undefined, layer: "none", state: "miss", age: 0, ttl: 0, outdatedBy: 0 };
const PLAIN: How = { loads: false, fresh: false, eager: false, schema: undefined };

/** A flight on its way through the stores, and what follows when they do not have it. */
interface Task {
  readonly flight: Flight;
  readonly how: How;
  /** Loads it, or ends it otherwise. */
  readonly finish: () => unknown;
}

/** What is left of a batch after the stores: to be finished, or waited for because another process loads it. */
interface Consulted {
  readonly missing: readonly Task[];
  readonly busy: readonly { readonly task: Task; readonly store: GuardedStore }[];
}

/** Runs flights: through the stores in order, then the loader, then back into memory and the stores. */
export class Runner {
  readonly #core: Core;
  readonly #promoter: Promoter;
  readonly #loads: Loads;
  /** Begun in this turn: those that ask the stores alike ask together. */
  #reads: Task[] = [];
  #loading: Task[] = [];
  #refreshing: Task[] = [];

  constructor(core: Core, promoter: Promoter, loads: Loads) {
    this.#core = core;
    this.#promoter = promoter;
    this.#loads = loads;
  }

  /** Runs a load of one key. Loads of one turn ask the stores together. */
  load(flight: Flight, loader: Loader<unknown>, how: How): void {
    const core = this.#core;
    const finish = (): unknown => this.#loads.one(flight, loader, how);
    if (core.following.ready === undefined && (core.stores.length === 0 || !flight.options.l2)) {
      finish(); // nothing lies between memory and the loader
      return;
    }
    const task = { flight, how, finish };
    const queue = how.fresh || how.eager ? this.#refreshing : this.#loading;
    queue.push(task);
    if (this.#loading.length + this.#refreshing.length === 1) queueMicrotask(() => this.#flush());
  }

  /** Runs loads of many keys: one call of the loader for all that the stores do not have. */
  loadMany<K>(
    batch: readonly { readonly flight: Flight; readonly name: K }[],
    loader: BatchLoader<K, unknown>,
    how: How,
  ): void {
    const names = new Map(batch.map(({ flight, name }) => [flight, name]));
    const many = (missing: readonly Flight[]): Promise<void> =>
      this.#loads.many([...missing], names, loader, how);
    const tasks = batch.map(({ flight }) => ({ flight, how, finish: () => many([flight]) }));
    void this.#run(tasks, how.fresh || how.eager, true, (missing) =>
      many(missing.map(({ flight }) => flight)),
    );
  }

  /** Looks a key up in the stores, without a loader. Look-ups of one turn go together. */
  read(flight: Flight, stale: boolean): void {
    const finish = (): void => {
      const outcome = stale ? staleOutcome(this.#core, flight) : undefined;
      this.#loads.settle(flight, outcome ?? NOTHING);
    };
    this.#reads.push({ flight, how: PLAIN, finish });
    if (this.#reads.length > 1) return;
    queueMicrotask(() => {
      const batch = this.#reads;
      this.#reads = [];
      void this.#run(batch, false, false);
    });
  }

  #flush(): void {
    const [loading, refreshing] = [this.#loading, this.#refreshing];
    this.#loading = [];
    this.#refreshing = [];
    if (loading.length > 0) void this.#run(loading, false, true);
    if (refreshing.length > 0) void this.#run(refreshing, true, true);
  }

  /**
   * @param refresh whether a lease is asked for also where there is a fresh entry.
   * @param leases whether leases are asked for at all.
   * @param together finishes all that is missing in one step [each by itself].
   */
  async #run(
    batch: readonly Task[],
    refresh: boolean,
    leases: boolean,
    together?: (missing: readonly Task[]) => unknown,
  ): Promise<void> {
    const core = this.#core;
    let consulted: Consulted = { missing: batch, busy: [] };
    try {
      if (core.following.ready !== undefined) {
        await core.following.whenReady();
        for (const { flight } of batch) flight.asOf = core.invalidations.position;
      }
      // P2: whether what they hold was invalidated is only known while the log is heard.
      const usable = core.stores.length > 0 && core.trusts();
      if (usable && batch[0]?.flight.options.l2 === true)
        consulted = await this.#consult(batch, refresh, leases);
      else if (!usable) for (const store of core.stores) store.check();
    } catch (error) {
      // A fault of ours must not leave anybody waiting.
      for (const { flight } of batch) flight.reject(error);
      this.#over(batch);
      return;
    }
    // Those that wait for other processes hold nothing up: what is leased here loads at once.
    for (const { task, store } of consulted.busy)
      void this.#ending([task], async () => {
        if (await this.#awaitFill(task, store)) await task.finish();
      });
    const { missing } = consulted;
    if (together !== undefined && missing.length > 0) void this.#ending(missing, () => together(missing));
    else for (const task of missing) void this.#ending([task], task.finish);
  }

  /** Does what is left of flights, and lets go of them whatever becomes of it. */
  async #ending(tasks: readonly Task[], work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      for (const { flight } of tasks) flight.reject(error);
    } finally {
      this.#over(tasks);
    }
  }

  #over(tasks: readonly Task[]): void {
    for (const { flight } of tasks) {
      this.#core.flights.end(flight);
      this.#core.release(flight);
    }
  }

  /** Asks the stores, from near to far, for what is not found yet. */
  async #consult(batch: readonly Task[], refresh: boolean, leases: boolean): Promise<Consulted> {
    const { stores, lease } = this.#core;
    let rest = batch;
    const busy: { task: Task; store: GuardedStore }[] = [];
    for (const store of stores) {
      if (rest.length === 0) break;
      const reads = await this.#readInSteps(store, rest, leases ? { lease, refresh } : {});
      if (reads === UNAVAILABLE) continue;
      const next: Task[] = [];
      for (const [i, task] of rest.entries()) {
        const read = reads[i];
        const taken = read === undefined ? false : this.#take(task, read, store);
        if (read === undefined || !(taken instanceof Promise ? await taken : taken)) {
          if (read?.lease === "busy" && !task.how.fresh) busy.push({ task, store });
          else if (leases && read !== undefined && read.lease === undefined) {
            const again = await this.#insist(task, store);
            if (again === "busy") busy.push({ task, store });
            else if (again === "missing") next.push(task);
          } else next.push(task);
        }
      }
      rest = next;
    }
    return { missing: rest, busy };
  }

  /** The keys of these tasks. Where the store stops answering on the way, what it said before holds. */
  async #readInSteps(
    store: GuardedStore,
    tasks: readonly Task[],
    options: ReadOptions,
  ): Promise<readonly StoreRead[] | typeof UNAVAILABLE> {
    const keys = tasks.map(({ flight }) => flight.key);
    if (keys.length <= STEP) return store.read(keys, options);
    const all: StoreRead[] = [];
    for (let from = 0; from < keys.length; from += STEP) {
      const reads = await store.read(keys.slice(from, from + STEP), options);
      if (reads === UNAVAILABLE) return all;
      for (const read of reads) all.push(read);
    }
    return all;
  }

  /** There is an entry that looks fresh to the store but may not serve: asks for the lease all the same. */
  async #insist(task: Task, store: GuardedStore): Promise<"landed" | "busy" | "missing"> {
    const reads = await store.read([task.flight.key], { lease: this.#core.lease, refresh: true });
    const read = reads === UNAVAILABLE ? undefined : reads[0];
    if (read !== undefined && (await this.#take(task, read, store))) return "landed";
    return read?.lease === "busy" ? "busy" : "missing";
  }

  /** Takes what a store answered. True: the flight has landed. At once, unless something has to be asked for. */
  #take(task: Task, read: StoreRead, store: GuardedStore): boolean | Promise<boolean> {
    const core = this.#core;
    const { flight, how } = task;
    if (read.lease !== undefined && read.lease !== "busy") {
      flight.lend(store, read.lease);
      if (flight.detached) core.release(flight);
    }
    if (read.found === undefined || how.fresh) return this.#decide(task, undefined, read, store);
    if (core.memory === undefined && how.schema === undefined && !how.eager) {
      const outcome = this.#promoter.straight(flight, read.found, store.name);
      if (outcome !== undefined) {
        store.counters.hits++;
        this.#loads.settle(flight, outcome);
        return true;
      }
    }
    const entry = this.#promoter.accept(flight, read.found, how.schema);
    if (entry instanceof Promise) return entry.then((accepted) => this.#decide(task, accepted, read, store));
    return this.#decide(task, entry, read, store);
  }

  #decide(task: Task, entry: Entry | undefined, read: StoreRead, store: GuardedStore): boolean {
    const core = this.#core;
    const { flight, how } = task;
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
      // The process that holds the lease loads: what it fills is found by the next read.
      return busy && flight.early && this.#settleStale(flight);
    }
    // Another process refreshes it already: nothing to do in the background.
    return read.lease === "busy" && how.eager && flight.stale !== undefined && this.#settleStale(flight);
  }

  #settleStale(flight: Flight): boolean {
    const outcome = staleOutcome(this.#core, flight);
    if (outcome !== undefined) this.#loads.settle(flight, outcome);
    return outcome !== undefined;
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
    else core.release(flight);
    if (entry.sliding > 0)
      core.background(Promise.all(core.stores.map((store) => store.touch(flight.key, entry.sliding))));
  }

  /** Waits for the process that holds the lease. True: it did not deliver, load here. */
  async #awaitFill(task: Task, store: GuardedStore): Promise<boolean> {
    const core = this.#core;
    const { flight } = task;
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
      let read = reads === UNAVAILABLE ? undefined : reads[0];
      if (read === undefined) return true;
      if (await this.#take(task, read, store)) return false;
      if (read.lease === undefined) {
        // P6: what was filled may not serve any more. Who loads in its place does so with a lease.
        const again = await store.read([flight.key], { lease: core.lease, refresh: true });
        read = again === UNAVAILABLE ? undefined : again[0];
        if (read === undefined) return true;
        if (await this.#take(task, read, store)) return false;
      }
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
