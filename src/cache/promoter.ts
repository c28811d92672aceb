import type { StandardSchemaV1 } from "@standard-schema/spec";
import { validate } from "../base/standard-schema.ts";
import type { Verdict } from "../coherence/invalidations.ts";
import type { Position } from "../coherence/log.ts";
import { sizeOf } from "../memory/size-of.ts";
import type { FoundEntry, StoredEntry } from "../stores/store.ts";
import type { Core } from "./core.ts";
import type { Entry } from "./entry.ts";
import type { Flight, Outcome } from "./flight.ts";
import type { LifetimeOptions } from "./resolve.ts";

/** Brings entries from the stores into memory, and from memory's side into the stores: never what is invalid. */
export class Promoter {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * An entry found in a store, as memory would keep it; undefined when it may not serve: of another
   * generation, invalidated by a tag or pattern since, not decodable, or not of its schema.
   */
  accept(
    flight: Flight,
    found: FoundEntry,
    schema: StandardSchemaV1 | undefined,
  ): Entry | undefined | Promise<Entry | undefined> {
    const { entry: stored } = found;
    const known = this.#core.invalidations;
    if (!this.#core.trusts()) return undefined; // P2: it may have been invalidated since the log was last heard
    if (stored.generation !== known.generation) return undefined;
    // Written by a process that knows the value in another shape: old and new ones live side by side.
    if (stored.shape !== 0 && flight.shape !== 0 && stored.shape !== flight.shape) return undefined;
    const verdict = known.verdict(flight.key, stored.tags, stored.asOf);
    if (verdict === "invalid") return undefined;
    // Older than what this process remembers: the log's own table knows.
    const older = stored.asOf < known.floor && stored.tags.length > 0;
    if (!older && schema === undefined) return this.#decoded(flight, found, verdict);
    return this.#proved(flight, found, older, verdict, schema);
  }

  /**
   * What a store answered, handed on as it is: when there is no memory to keep it, and it is fresh, valid and
   * of no kind that asks for more. Undefined: take the long way.
   */
  straight(flight: Flight, found: FoundEntry, layer: string): Outcome | undefined {
    const core = this.#core;
    const { entry: stored, age } = found;
    const known = core.invalidations;
    const plain =
      core.isolate === false && stored.sliding === 0 && age < stored.ttl && flight.leases.size === 0;
    if (!plain || !core.trusts() || stored.generation !== known.generation) return undefined;
    if (stored.shape !== 0 && flight.shape !== 0 && stored.shape !== flight.shape) return undefined;
    if (stored.asOf < known.floor && stored.tags.length > 0) return undefined;
    if (known.verdict(flight.key, stored.tags, stored.asOf) !== "valid") return undefined;
    let value: unknown;
    try {
      value = core.frame.decode(stored.value);
    } catch {
      return undefined;
    }
    const outdatedBy = this.outdatedBy(flight.key, stored.tags, flight.asOf);
    return { value, layer, state: "fresh", age, ttl: stored.ttl - age, outdatedBy };
  }

  /** What has to be asked for before an entry may serve: its tags in the log, its value of its schema. */
  async #proved(
    flight: Flight,
    found: FoundEntry,
    older: boolean,
    known: Verdict,
    schema: StandardSchemaV1 | undefined,
  ): Promise<Entry | undefined> {
    const { entry: stored } = found;
    let verdict = known;
    try {
      for (const last of older ? await this.#core.following.tagPositions(stored.tags) : []) {
        if (last.hard > stored.asOf) return undefined;
        if (last.soft > stored.asOf) verdict = "stale";
      }
      if (schema === undefined) return this.#decoded(flight, found, verdict);
      const value = this.#core.frame.decode(stored.value);
      const checked = value === undefined ? value : await validate(schema, value, flight.key);
      return this.#entry(flight, found, verdict, checked);
    } catch {
      return undefined; // not provable, or a value of another shape
    }
  }

  #decoded(flight: Flight, found: FoundEntry, verdict: Verdict): Entry | undefined {
    let value: unknown;
    try {
      value = this.#core.frame.decode(found.entry.value);
    } catch {
      return undefined; // of another format: a miss
    }
    return this.#entry(flight, found, verdict, value);
  }

  #entry(flight: Flight, found: FoundEntry, verdict: Verdict, value: unknown): Entry {
    const core = this.#core;
    const { entry: stored } = found;
    const entry = core.entry(
      {
        value,
        kind: value === undefined ? "negative" : "value",
        tags: stored.tags,
        // Removal comes before the append: what could be read after this position was not invalidated up to it.
        asOf: flight.asOf,
        ttl: stored.ttl,
        grace: stored.grace,
        cost: stored.cost,
        sliding: stored.sliding,
        // Memory alone needs to know.
        bytes: core.memory === undefined ? 0 : sizeOfEntry(flight.key, value, stored.tags),
        age: found.age,
      },
      flight.options,
    );
    if (verdict === "stale") entry.expire(core.clock.now());
    return entry;
  }

  /** Keeps an accepted entry in memory, unless it was invalidated while it was read (P1). */
  keep(flight: Flight, entry: Entry): void {
    const core = this.#core;
    if (flight.detached) return;
    // P5: what memory holds all the same must not be older than this when a later read answers from it.
    if (!flight.options.l1 && core.memory?.peek(flight.key) === undefined) return;
    if (core.invalidations.verdict(flight.key, entry.tags, entry.asOf) !== "valid") return;
    core.keep(flight.key, entry);
  }

  /** How an accepted entry answers. */
  outcome(flight: Flight, entry: Entry, layer: string): Outcome {
    const now = this.#core.clock.now();
    return {
      value: entry.value,
      layer,
      state: now < entry.freshUntil ? "fresh" : "stale",
      age: now - entry.storedAt,
      ttl: entry.freshUntil - now,
      outdatedBy: this.outdatedBy(flight.key, entry.tags, flight.asOf),
    };
  }

  /** Position of a tag or pattern invalidation that what began at `asOf` does not reflect; 0: none. */
  outdatedBy(key: string, tags: readonly string[], asOf: Position): Position {
    const position = this.#core.invalidations.last(key, tags)?.position ?? 0;
    return position > asOf ? position : 0;
  }

  /** The form of an entry in a store. Undefined, with one warning, when its value cannot be encoded. */
  stored(key: string, entry: Entry, shape: number): StoredEntry | undefined {
    try {
      const value = entry.kind === "negative" ? undefined : entry.value;
      return this.toStored(entry, this.#core.encode(value), shape);
    } catch (error) {
      this.#core.notEncodable(key, error);
      return undefined;
    }
  }

  toStored(entry: Entry, value: Uint8Array, shape: number): StoredEntry {
    const { ttl, grace, asOf, tags, cost, sliding } = entry;
    const { generation } = this.#core.invalidations;
    return { value, ttl, grace, asOf, generation, tags, cost, sliding, shape };
  }

  /** Fills the stores that gave this flight a lease, from far to near; a lease lost meanwhile refuses the fill. */
  async fill(flight: Flight, entry: Entry): Promise<void> {
    const core = this.#core;
    const leases = flight.takeLeases().reverse();
    // P1: who does not hear the log cannot know that what it loaded may still be stored.
    const stored = core.trusts() ? this.stored(flight.key, entry, flight.shape) : undefined;
    for (const [store, token] of leases) {
      const filled = stored === undefined ? "refused" : await store.fill(flight.key, stored, token);
      if (stored !== undefined && filled === "refused") core.counters.refused++;
      // A refused fill may have left the lease with us: the store did not take the entry.
      const awaited =
        filled === "awaited" || (filled === "refused" && (await store.release(flight.key, token)));
      if (awaited) core.tellEnded(flight.key);
    }
  }
}

/** Estimated bytes of an entry in memory. */
export function sizeOfEntry(key: string, value: unknown, tags: readonly string[]): number {
  let bytes = ENTRY_BYTES + key.length + sizeOf(value);
  for (const tag of tags) bytes += 8 + tag.length;
  return bytes;
}

/** What an entry takes besides its key, value and tags: the entry object and its place in the engine. */
const ENTRY_BYTES = 200;

/** The lifetime left after jitter. */
export function jittered(ttl: number, options: LifetimeOptions, random: () => number): number {
  return options.jitter === 0 || !Number.isFinite(ttl) ? ttl : ttl * (1 - options.jitter * random());
}
