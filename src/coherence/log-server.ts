import type { ActivePattern, LogHead, LogRecord, Position, TagPositions } from "./log.ts";

/** A record with what tells it from any other: two histories that share a position differ in the id there. */
export interface SignedRecord {
  readonly id: string;
  readonly record: LogRecord;
}

/** A record as the server keeps it. Positions of one history follow one another without a gap. */
export interface ServerRecord extends SignedRecord {
  readonly position: Position;
}

/** How far a follower has come: the last record it applied, or where its generation was founded. */
export interface Applied {
  readonly position: Position;
  /** Id of the record there; of a founding, the generation's name. */
  readonly id: string;
}

/**
 * How the log stands against a follower.
 * - `same`: what it applied is in this history; it goes on from there.
 * - `trimmed`: the records after what it applied are not all there any more.
 * - `other`: what it applied is not in this history (flushed, restarted empty, a replica that lagged).
 * - `new`: it told of nothing applied.
 */
export type Standing = "same" | "trimmed" | "other" | "new";

/** Answer to `join`: where the log stands. */
export interface ServerHead extends LogHead {
  readonly standing: Standing;
  /** Id of the record at `position`; of a founding, the generation's name. */
  readonly id: string;
}

/**
 * What the server that keeps a shared log can do: each call is one atomic step there. `RemoteLog` makes a
 * `Log` of it; drivers pass `logContract` through that. Calls reject when the server does not answer.
 *
 * A log that is not there is founded by `join` or `append`: a random generation, at a position above all that
 * an earlier history reached (such as the server's time in milliseconds), so that its records are seen by
 * followers of the earlier one, as a gap.
 */
export interface LogServer {
  /** "redis", "postgres", ... */
  readonly name: string;
  /**
   * Registers a follower: it applied everything up to `applied`, and trusts what it knows for `lease`
   * milliseconds from the moment it sent this. It counts as having acknowledged `applied.position` when that
   * is of this history (`same`, `trimmed`), else nothing: what it drops, it drops once it has the answer.
   */
  join(node: string, applied: Applied | undefined, lease: number): Promise<ServerHead>;
  /**
   * Appends records one after another without a gap, with all that goes with them (tags, patterns, generation).
   * Answers where the log stands after the last.
   */
  append(records: readonly SignedRecord[]): Promise<LogHead>;
  /** At most `limit` records after a position, in order; waits up to `wait` milliseconds for the first. */
  read(after: Position, limit: number, wait: number): Promise<readonly ServerRecord[]>;
  /**
   * How many milliseconds some follower may still serve what a record at `position` made unusable, by the
   * server's own clock: until the leases of those that have not acknowledged it run out. 0: nobody.
   */
  unacknowledged(position: Position): Promise<number>;
  /**
   * Ends a generation whose history was lost in part, if it is still the current one: a new one begins at a
   * position above `above`, and followers see a `clear` or a gap. Answers where the log stands.
   */
  renounce(generation: string, above: Position): Promise<LogHead>;
  /**
   * Last invalidations of tags. What the server cannot tell counts as invalidated now: tags it has forgotten,
   * and all of them where there is no log, or one that was founded (or cleared) since: entries of before are asked about.
   */
  tagPositions(tags: readonly string[]): Promise<TagPositions[]>;
  patterns(): Promise<ActivePattern[]>;
  swept(pattern: ActivePattern): Promise<void>;
  /** Takes a follower off the list. */
  leave(node: string): Promise<void>;
  /** The connection that `join` and `read` use does not answer: drop it and make another. */
  reconnect(): void;
  close(): Promise<void>;
}
