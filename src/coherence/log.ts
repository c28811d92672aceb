import type { Clock } from "../base/clock.ts";

/** A place in the log: whole numbers that only grow within one generation. 0 is before the first record. */
export type Position = number;

/** Keys that were invalidated or written. Stores were dealt with before the record was appended. */
export interface KeysRecord {
  readonly kind: "keys";
  readonly keys: readonly string[];
  readonly soft?: boolean;
  /** The keys were written, not removed: entries whose `asOf` is at least this may be what was written. */
  readonly written?: Position;
  /** A store could not be reached and may still hold older entries: all who read it refuse them until it is swept. */
  readonly pending?: boolean;
}

/** One invalidation, as the log keeps it. `soft` makes stale; otherwise the value is unusable at once. */
export type LogRecord = (
  | KeysRecord
  | { readonly kind: "tags"; readonly tags: readonly string[]; readonly soft?: boolean }
  /** Every key that starts with `prefix`. */
  | { readonly kind: "prefix"; readonly prefix: string; readonly soft?: boolean }
  /** Every key that matches `glob` (`*`, `?`, `[a-z]`, `\` escapes). */
  | { readonly kind: "glob"; readonly glob: string; readonly soft?: boolean }
  /** Everything: a new generation begins. */
  | { readonly kind: "clear"; readonly generation: string }
  /** No invalidation: loads of these keys ended, and whoever waits for them should look. */
  | { readonly kind: "ended"; readonly keys: readonly string[] }
) & {
  /** Followers acknowledge it at once, not at their next heartbeat: somebody waits for all of them (P3). */
  readonly strict?: boolean;
};

/** A record with the place it has in the log. */
export interface Appended {
  readonly position: Position;
  readonly record: LogRecord;
}

/** Whether a record has to be remembered until it is swept: see {@link ActivePattern}. */
export function isPattern(record: LogRecord): record is ActivePattern["record"] {
  return (
    record.kind === "prefix" || record.kind === "glob" || (record.kind === "keys" && record.pending === true)
  );
}

/** Where a log stands. Positions of two generations cannot be compared. */
export interface LogHead {
  readonly generation: string;
  readonly position: Position;
}

/** Who is told what the log says. Called synchronously, in log order, each record exactly once. */
export interface Follower {
  apply(records: readonly Appended[]): void;
  /** Records were lost (another generation, a trimmed log, a restart): nothing known before is proved valid. */
  reset(head: LogHead, reason: string): void;
}

/** Positions of the last invalidations of one tag (0: never). */
export interface TagPositions {
  readonly hard: Position;
  readonly soft: Position;
}

/** An invalidation that may still concern entries in stores: by pattern, or of keys that are `pending` (kept until swept). */
export interface ActivePattern {
  readonly position: Position;
  readonly record: Extract<LogRecord, { kind: "prefix" | "glob" | "keys" }>;
}

/**
 * The one total order of invalidations of a cache (see docs/guarantees.md). Every process of a cache
 * follows the same log.
 */
export interface Log {
  /** "local", "disk", "redis", ... as it appears in `health()`. */
  readonly name: string;
  /** Whether other processes follow it too. */
  readonly shared: boolean;
  /** Starts following. Resolves with where the log stands; records after it go to `follower`. */
  open(follower: Follower): Promise<LogHead> | LogHead;
  /**
   * Appends records and resolves with the position of the last of them: as a rule after this process's own
   * follower has applied everything up to and including it. When it cannot in time, `lag` is Infinity until it has.
   * @throws when the records could not be made durable in the log; then nothing is promised.
   */
  append(records: readonly LogRecord[]): Promise<Position> | Position;
  /** Last invalidations of tags, from the log's own table: for entries older than this process. */
  tagPositions(tags: readonly string[]): Promise<TagPositions[]> | TagPositions[];
  /** Patterns not yet swept, for entries older than this process. */
  patterns(): Promise<ActivePattern[]> | ActivePattern[];
  /** Every entry that the pattern at this position concerned is gone from all stores: it can be forgotten. */
  swept(pattern: ActivePattern): Promise<void> | void;
  /** How long ago (ms) this process last knew that it has seen all records. 0 for a log in this process. */
  lag(): number;
  /** Resolves when no follower can serve any more what a record at or before `position` made unusable (P3). */
  settled(position: Position, signal?: AbortSignal): Promise<void> | void;
  /** Reads what others appended, now, instead of at the next tick. */
  catchUp(): Promise<void> | void;
  close(): Promise<void> | void;
}

/** What a log or a store is opened with. */
export interface LayerContext {
  /** Name of the cache: stores keep the entries of two names apart. */
  readonly cacheName: string;
  /** How long in milliseconds a process that cannot follow the log still trusts its memory. */
  readonly maxLag: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Told of trouble that no caller sees (a background task failed, a file was rebuilt). */
  readonly warn: (message: string) => void;
}

/** Opens a log for one cache. */
export type LogFactory = (context: LayerContext) => Log;
