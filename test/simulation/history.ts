import type { KeyName } from "./schedule.ts";

/** One mutation: the source first, then the cache. */
export interface Mutation {
  readonly what: string;
  readonly process: object;
  /** Versions below these are not to be served once it is done. */
  readonly versions: ReadonlyMap<KeyName, number>;
  readonly soft: boolean;
  readonly strict: boolean;
  readonly isSet: boolean;
  /** Removed by key from the store: nothing but the store's own state says so to those who come later. */
  readonly byKey: boolean;
  readonly startedAt: number;
  endedAt: number | undefined;
  /** How it ended; `unknown`: the log did not take it in time, and owes it. */
  ended: "done" | "failed" | "owed" | "none";
  position: number;
  generation: string;
  /** A failover lost its record. */
  lost: boolean;
}

/** A version that a read may not go below, and whose promise that is. */
export interface Bound {
  readonly version: number;
  readonly by: Mutation;
  readonly promise: string;
}

/** A reader, as far as promises depend on it. */
export interface Reader {
  /** Highest log position applied, and where following began. */
  applied: number;
  since: number;
  /** When it was last told anything by the log. */
  toldAt: number;
  /** When the log last told it that it follows the history that holds. */
  joinedAt: number;
  generation: string;
}

/** The source of truth and everything that was done to it: what reads may see follows from it. */
export class History {
  readonly rows = new Map<KeyName, number>();
  readonly mutations: Mutation[] = [];
  /** By the slowest clock, in milliseconds: how long a process that is cut off trusts its memory. */
  readonly longestTrust: number;
  /** The store alone went back to an earlier state at some time. */
  storeWentBack = false;
  /** When the log last fell back to a replica. */
  failedOverAt = Number.NEGATIVE_INFINITY;

  constructor(keys: readonly KeyName[], longestTrust: number) {
    for (const key of keys) this.rows.set(key, 1);
    this.longestTrust = longestTrust;
  }

  row(key: KeyName): number {
    return this.rows.get(key) ?? 0;
  }

  /** Changes rows, as the beginning of a mutation does. */
  begin(
    facts: Pick<Mutation, "what" | "process" | "soft" | "strict" | "isSet" | "byKey">,
    keys: readonly KeyName[],
    now: number,
  ): Mutation {
    const versions = new Map<KeyName, number>();
    for (const key of keys) {
      const version = this.row(key) + 1;
      this.rows.set(key, version);
      versions.set(key, version);
    }
    const mutation: Mutation = {
      ...facts,
      versions,
      startedAt: now,
      endedAt: undefined,
      ended: "none",
      position: Number.POSITIVE_INFINITY,
      generation: "",
      lost: false,
    };
    this.mutations.push(mutation);
    return mutation;
  }

  /** Whether an older set of the key was still under way: then the order of the two is nobody's promise. */
  #raced(mutation: Mutation, key: KeyName, version: number): boolean {
    return this.mutations.some(
      (set) =>
        set.isSet &&
        set !== mutation &&
        (set.versions.get(key) ?? version) < version &&
        (set.endedAt ?? Number.POSITIVE_INFINITY) > mutation.startedAt,
    );
  }

  /** Whether writes of a key ever overlapped. */
  conflicted(key: KeyName): boolean {
    return this.mutations.some((one) => {
      const version = one.versions.get(key);
      return version !== undefined && this.#raced(one, key, version);
    });
  }

  /** All bounds of a read that begins now. */
  bounds(key: KeyName, process: object, reader: Reader, now: number, after: Mutation | undefined): Bound[] {
    const bounds: Bound[] = [];
    for (const by of this.mutations) {
      const version = by.versions.get(key);
      if (version === undefined || by.ended !== "done" || this.#raced(by, key, version)) continue;
      const promise = this.#promise(by, process, reader, now, after);
      if (promise !== undefined) bounds.push({ version, by, promise });
    }
    return bounds;
  }

  /** All bounds once everything is well again: also of what was owed. */
  finalBounds(
    key: KeyName,
    reader: Reader,
    alive: (process: object) => boolean,
    witnessed: (by: Mutation) => boolean,
  ): Bound[] {
    const bounds: Bound[] = [];
    for (const by of this.mutations) {
      const version = by.versions.get(key);
      if (version === undefined || this.#raced(by, key, version)) continue;
      const sure = by.ended === "done" ? !by.lost || witnessed(by) : by.ended === "owed" && alive(by.process);
      if (sure && !this.#unprovable(by, reader)) bounds.push({ version, by, promise: "in the end" });
    }
    return bounds;
  }

  #unprovable(by: Mutation, reader: Reader): boolean {
    // A store that falls back alone may bring back what was removed: those who heard the record know better, but it
    // says too little of what was made stale, or written over what was loaded at the same position.
    return this.storeWentBack && by.byKey && (by.soft || by.isSet || by.position <= reader.since);
  }

  #promise(
    by: Mutation,
    process: object,
    reader: Reader,
    now: number,
    after: Mutation | undefined,
  ): string | undefined {
    if (by.lost) return undefined; // P7: noticed in the end
    if (this.#unprovable(by, reader)) return undefined;
    if (by.strict) return "P3 (strict)";
    // P7: until its process has noticed that the log fell back, a position may be another record's.
    if (by === after && reader.joinedAt > this.failedOverAt) return "P4 (after)";
    if (by.process === process) return "P2 (own)";
    // A position reached before, or in a history that a failover ended, is another record's.
    const same = reader.toldAt >= by.startedAt && reader.joinedAt > this.failedOverAt;
    if (reader.applied >= by.position && same) return "P1 (applied)";
    if (now > (by.endedAt ?? now) + this.longestTrust) return "P2 (cut off)";
    return undefined;
  }
}
