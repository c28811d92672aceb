import type { Position } from "../coherence/log.ts";
import type { Entry } from "./entry.ts";
import type { GuardedStore } from "./guarded-store.ts";
import type { LifetimeOptions } from "./resolve.ts";
import { TurnoverMap } from "./turnover-map.ts";

/** How a flight ended well. */
export interface Outcome {
  readonly value: unknown;
  /** "memory", a store's name, "loader" or "none". */
  readonly layer: string;
  readonly state: "fresh" | "stale" | "miss";
  readonly age: number;
  readonly ttl: number;
  /** Position of an invalidation that the value is older than (0: none): callers who joined after it load again. */
  readonly outdatedBy: Position;
}

/** Shared by all flights without a lease, and never written. */
const NO_LEASES = new Map<GuardedStore, string>();

/** A read below L1 that is under way, for one key, and the callers who wait for it. */
export class Flight {
  readonly key: string;
  readonly options: LifetimeOptions;
  readonly startedAt: number;
  /** Log position known when it began (P1): what it brings is no newer than that. */
  asOf: Position;
  /** An invalidation of its key came in: it may not store, and nobody joins it any more. */
  detached = false;
  /** It answered with its stale copy and still loads: callers who come later wait for what it loads. */
  early = false;
  /** It is over. */
  landed = false;
  /** Told when a stale copy is found. */
  onStale: (() => void)[] | undefined;
  /** Shape that the values are of; 0: not told. */
  readonly shape: number;
  /** Tags of all who joined. */
  tags: readonly string[];
  /** Shortest ttl of those who joined later. */
  ttlCap = Number.POSITIVE_INFINITY;
  /** A usable stale copy. */
  stale: Entry | undefined;
  /** Layer the stale copy is from. */
  staleLayer = "memory";
  /** Leases held, from near to far. */
  leases: Map<GuardedStore, string> = NO_LEASES;
  /** Callers who wait for it. */
  waiters = 0;
  /** It goes on although nobody waits: a background refresh, or a load whose callers took a stale value. */
  background = false;
  /** The loader was called. */
  loading = false;
  /** Its place among those that are not over. */
  aloft = false;
  previous: Flight | undefined;
  next: Flight | undefined;
  /** Told when it is aborted. */
  onAbort: (() => void) | undefined;
  #answer = Promise.withResolvers<Outcome>();
  #controller: AbortController | undefined;
  #abortedWith: { readonly reason: unknown } | undefined;

  constructor(
    key: string,
    options: LifetimeOptions,
    asOf: Position,
    startedAt: number,
    stale: Entry | undefined,
    shape = 0,
  ) {
    this.shape = shape;
    this.key = key;
    this.options = options;
    this.tags = options.tags;
    this.asOf = asOf;
    this.startedAt = startedAt;
    this.stale = stale;
  }

  /** Notes a lease that a store gave. */
  lend(store: GuardedStore, token: string): void {
    if (this.leases === NO_LEASES) this.leases = new Map();
    this.leases.set(store, token);
  }

  /** Takes the leases off the flight, to be used or given back. */
  takeLeases(): [store: GuardedStore, token: string][] {
    if (this.leases.size === 0) return [];
    const leases = [...this.leases];
    this.leases = NO_LEASES;
    return leases;
  }

  /** Made on first use: most loaders never look at it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortedWith !== undefined) this.#controller.abort(this.#abortedWith.reason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#abortedWith !== undefined;
  }

  abort(reason: unknown): void {
    if (this.#abortedWith !== undefined) return;
    this.#abortedWith = { reason };
    this.#controller?.abort(reason);
    this.onAbort?.();
  }

  /** What those who wait from now on get. */
  get promise(): Promise<Outcome> {
    return this.#answer.promise;
  }

  /** Answers those who wait now with a stale copy; the load goes on for those who come later. */
  answerEarly(outcome: Outcome): void {
    this.#answer.resolve(outcome);
    this.#answer = Promise.withResolvers();
    this.#answer.promise.catch(() => undefined);
    this.early = true;
    this.background = true;
  }

  resolve(outcome: Outcome): void {
    this.landed = true;
    this.#answer.resolve(outcome);
  }

  reject(error: unknown): void {
    this.landed = true;
    // Callers attach their own handlers; a flight that nobody waits for must not become an unhandled rejection.
    if (this.waiters === 0) this.#answer.promise.catch(() => undefined);
    this.#answer.reject(error);
  }

  /** Takes a stale copy, unless it has a newer one. */
  offerStale(entry: Entry, layer: string): void {
    if (this.stale !== undefined && this.stale.storedAt >= entry.storedAt) return;
    this.stale = entry;
    this.staleLayer = layer;
    const told = this.onStale ?? [];
    this.onStale = undefined;
    for (const tell of told) tell();
  }

  /** Takes in another caller: tags unite, the shortest ttl wins. */
  join(options: LifetimeOptions): void {
    if (options.tags !== this.tags && options.tags.length > 0)
      this.tags = [...new Set([...this.tags, ...options.tags])];
    if (options.ttl < this.options.ttl) this.ttlCap = Math.min(this.ttlCap, options.ttl);
  }
}

/** The flights under way: loads that callers may join, and reads of caches alone. */
export class Flights {
  readonly #loads = new TurnoverMap<string, Flight>();
  readonly #reads = new TurnoverMap<string, Flight>();
  /** First of all that are not over, also those that nobody joins any more: a list through the flights themselves. */
  #first: Flight | undefined;
  readonly #onDetach: (flight: Flight) => void;

  /** @param onDetach told of flights that may not store any more: their leases are of no use. */
  constructor(onDetach: (flight: Flight) => void) {
    this.#onDetach = onDetach;
  }

  get size(): number {
    return this.#loads.size;
  }

  load(key: string): Flight | undefined {
    return this.#loads.get(key);
  }

  read(key: string): Flight | undefined {
    return this.#reads.get(key);
  }

  /** Registers a load; one that was there is detached: the newer one alone may store. */
  addLoad(flight: Flight): void {
    const older = this.#loads.get(flight.key);
    if (older !== undefined) this.detach(older, true);
    this.#loads.set(flight.key, flight);
    this.#take(flight);
  }

  addRead(flight: Flight): void {
    const older = this.#reads.get(flight.key);
    if (older !== undefined) this.detach(older, true);
    this.#reads.set(flight.key, flight);
    this.#take(flight);
  }

  /** Forgets a flight that is over. */
  end(flight: Flight): void {
    this.#drop(flight);
    this.remove(flight);
  }

  /** Lets nobody join a flight any more. */
  remove(flight: Flight): void {
    if (this.#loads.get(flight.key) === flight) this.#loads.delete(flight.key);
    if (this.#reads.get(flight.key) === flight) this.#reads.delete(flight.key);
  }

  /** P1: what an invalidation concerns may not be stored, and later callers must not join it. */
  detach(flight: Flight, soft: boolean): void {
    flight.detached = true;
    // A hard invalidation takes the stale copy as well: a failing load must not bring it back.
    if (!soft) flight.stale = undefined;
    this.remove(flight);
    this.#onDetach(flight);
  }

  /** Detaches what is under way for a key since before a position. */
  detachKey(key: string, before: Position, soft: boolean): void {
    const load = this.#loads.get(key);
    if (load !== undefined && load.asOf < before) this.detach(load, soft);
    const read = this.#reads.get(key);
    if (read !== undefined && read.asOf < before) this.detach(read, soft);
  }

  /** Detaches the flights that `concerns` holds true for. */
  detachWhere(soft: boolean, concerns: (flight: Flight) => boolean): void {
    for (const flight of this.all()) if (concerns(flight)) this.detach(flight, soft);
  }

  all(): Flight[] {
    const all: Flight[] = [];
    for (let flight = this.#first; flight !== undefined; flight = flight.next) all.push(flight);
    return all;
  }

  #take(flight: Flight): void {
    flight.aloft = true;
    flight.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = flight;
    this.#first = flight;
  }

  #drop(flight: Flight): void {
    if (!flight.aloft) return;
    flight.aloft = false;
    const { previous, next } = flight;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    flight.previous = undefined;
    flight.next = undefined;
  }
}
