import type { StandardSchemaV1 } from "@standard-schema/spec";
import { CacheError, show } from "../base/errors.ts";
import { validate } from "../base/standard-schema.ts";
import type { Core } from "./core.ts";
import { Entry } from "./entry.ts";
import type { Flight, Outcome } from "./flight.ts";
import { Loading } from "./load-context.ts";
import type { BatchLoader, Loader } from "./options.ts";
import { jittered, type Promoter, sizeOfEntry } from "./promoter.ts";
import { staleOutcome } from "./waiting.ts";

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

/** Calls loaders, takes what they answer into memory and the stores, and answers all who wait. */
export class Loads {
  readonly #core: Core;
  readonly #promoter: Promoter;

  constructor(core: Core, promoter: Promoter) {
    this.#core = core;
    this.#promoter = promoter;
  }

  /** Calls the loader and takes what it answers; undefined when that was done at once. Never rejects. */
  one(flight: Flight, loader: Loader<unknown>, how: How): Promise<void> | undefined {
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

  async many<K>(
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
    const outdatedBy = this.#promoter.outdatedBy(key, tags, flight.asOf);
    const refused = flight.detached || outdatedBy !== 0;
    const kept = !loading.skipped && ttl > 0 && !(missing && options.negativeTtl === 0);
    let entry: Entry | undefined;
    if (refused) core.counters.refused++;
    else if (kept) entry = this.#keepLoaded(flight, { value, missing, tags, ttl, grace, cost });
    else if (missing && (flight.stale !== undefined || how.fresh)) this.#forget(flight);
    this.settle(flight, {
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
      this.settle(flight, outcome);
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

  settle(flight: Flight, outcome: Outcome): void {
    this.#core.flights.end(flight);
    flight.resolve(outcome);
  }

  /** Keeps leases alive while their load runs. */
  #renew(flights: readonly Flight[]): { cancel(): void } {
    const core = this.#core;
    if (!flights.some((flight) => flight.leases.size > 0)) return IDLE;
    const { lease } = core;
    let timer = core.clock.setTimer(lease / 3, function renew() {
      for (const flight of flights) {
        for (const [store, token] of flight.leases) core.background(store.renew(flight.key, token, lease));
      }
      timer = core.clock.setTimer(lease / 3, renew);
    });
    return { cancel: () => timer.cancel() };
  }
}

const IDLE = { cancel: (): void => undefined };

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function union(...lists: readonly (readonly string[])[]): readonly string[] {
  const filled = lists.filter((list) => list.length > 0);
  return filled.length < 2 ? (filled[0] ?? []) : [...new Set(filled.flat())];
}
