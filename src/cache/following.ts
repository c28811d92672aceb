import type { Clock, Timer } from "../base/clock.ts";
import { LayerError, reason } from "../base/errors.ts";
import { globMatcher } from "../base/key.ts";
import { Invalidations } from "../coherence/invalidations.ts";
import { newGeneration } from "../coherence/local-log.ts";
import type { Appended, Log, LogHead, LogRecord, Position, TagPositions } from "../coherence/log.ts";
import { within } from "./within.ts";

/** How long the log is left alone after it could not be opened, in milliseconds. */
const REOPEN_AFTER = 1_000;
/** How long a read waits for the log, and a write for its append, in milliseconds. */
const READY_WAIT = 250;
const APPEND_WAIT = 700;
/** Deadlines within this many milliseconds are told by an exact reading of the clock. */
const NEAR = 1_000;
/** How often an owed append is tried again, in milliseconds. */
const APPEND_AGAIN = 1_000;
/** Records owed one by one; beyond it one `clear` is owed. */
const MAX_OWED = 1_000;

/** A record as it is appended again, though the log may have taken it the first time. */
function owed(record: LogRecord): LogRecord {
  if (record.kind === "keys" && record.soft !== true) return { ...record, pending: true };
  // A generation begins once: told twice, it would bring back what was invalidated in between.
  return record.kind === "clear" ? { ...record, generation: newGeneration() } : record;
}

/** What the log's records are applied to. */
export interface Applier {
  /** Takes in records that `invalidations` has taken in just before. */
  apply(records: readonly Appended[]): void;
  /** Nothing known before is proved valid any more (P7). */
  forget(): void;
  /** What records that could not be appended concern is dropped here all the same. */
  forgetThese(records: readonly LogRecord[]): void;
  /** Nothing under way may store, nobody may join it. */
  detachAll(): void;
  /** The log could not be opened or asked. */
  failed(action: string, error: unknown): void;
  warn(message: string): void;
}

/** The cache's side of its log: whether it is followed, what is known by it, what is appended to it. */
export class Following {
  readonly log: Log;
  readonly invalidations = new Invalidations(globMatcher);
  readonly maxLag: number;
  /** Pending until the log is followed; undefined once it is. */
  ready: Promise<void> | undefined;
  /** Why the log was last in trouble. */
  lastError: string | undefined;
  readonly #clock: Clock;
  readonly #to: Applier;
  /** That it cannot be opened was said aloud. */
  #told = false;
  /** A read waited for the log in vain: the next ones do not. */
  #givenUp = false;
  #reopen: Timer | undefined;
  #owed: LogRecord[] = [];
  #owedTimer: Timer | undefined;
  /** As of the last look at the log's lag: later looks only move it on. */
  #trustedUntil = Number.NEGATIVE_INFINITY;
  readonly #recent: () => number;
  #closed = false;
  #wasUp = false;
  #since: number;

  constructor(log: Log, maxLag: number, clock: Clock, to: Applier) {
    this.log = log;
    this.maxLag = maxLag;
    this.#clock = clock;
    this.#to = to;
    this.#since = clock.now();
    this.#recent = clock.recent ?? (() => Number.POSITIVE_INFINITY);
  }

  /** Whether memory may be believed: the log is followed, or was heard of less than `maxLag` ago (P2). */
  trusts(): boolean {
    if (this.ready !== undefined) return false;
    if (!this.log.shared || this.#recent() < this.#trustedUntil - NEAR) return true;
    const now = this.#clock.now();
    this.#trustedUntil = now - this.log.lag() + this.maxLag;
    return now <= this.#trustedUntil;
  }

  /** Milliseconds since it was last noticed that the log came up or went down. */
  since(): number {
    const up = this.trusts();
    if (up !== this.#wasUp) {
      this.#wasUp = up;
      this.#since = this.#clock.now();
    }
    return this.#clock.now() - this.#since;
  }

  open(): void {
    try {
      // What the log tells before it is known where that began waits until it is.
      let early: Appended[] | undefined = [];
      const begin = (head: LogHead): void => {
        this.invalidations.reset(head, []);
        const records = early ?? [];
        early = undefined;
        this.#apply(records);
      };
      const head = this.log.open({
        apply: (records) => {
          if (early === undefined) this.#apply(records);
          else early.push(...records);
        },
        reset: (to, why) => {
          early = undefined;
          this.#reset(to, why);
        },
      });
      if (head instanceof Promise) {
        const opened = head.then(async (at) => {
          begin(at);
          // After the records from there on are heard: a pattern is either among them or in this list.
          this.invalidations.load(await this.log.patterns());
          this.#follow();
        });
        this.ready = opened.catch((error: unknown) => this.#notOpened(error));
        return;
      }
      begin(head);
      const patterns = this.log.patterns();
      if (patterns instanceof Promise) this.#await(patterns);
      else this.invalidations.load(patterns);
      if (!this.log.shared) this.invalidations.floor = 0; // nothing is older than a log that began here
      if (!(patterns instanceof Promise)) this.#follow();
    } catch (error) {
      this.ready = Promise.resolve();
      this.#notOpened(error);
    }
  }

  /** Waits until the log is followed, but not for ever: a read then goes on without what is cached (P8). */
  async whenReady(): Promise<void> {
    if (this.ready === undefined || this.#givenUp) return;
    await within(this.#clock, READY_WAIT, this.ready).catch(() => {
      this.#givenUp = true;
    });
  }

  /** Waits until the log is followed. @throws {LayerError} when it is not: nothing could be promised of a write. */
  async writable(): Promise<void> {
    this.#givenUp = false;
    await this.whenReady();
    if (this.ready !== undefined)
      throw new LayerError(this.log.name, "follow its log", this.lastError ?? "it does not answer");
  }

  /** Last invalidations of tags by the log's own table; rejects when it does not answer in time. */
  async tagPositions(tags: readonly string[]): Promise<readonly TagPositions[]> {
    const answer = this.log.tagPositions(tags);
    return answer instanceof Promise ? within(this.#clock, READY_WAIT, answer) : answer;
  }

  /**
   * Appends to the log. When the log did not take it, this process acts on it all the same, and it is
   * appended in the background once that is possible.
   * @throws {LayerError} then: other processes may not know of it yet.
   */
  async append(records: readonly LogRecord[]): Promise<Position> {
    try {
      const answer = this.log.append(records);
      const position =
        answer instanceof Promise ? await within(this.#clock, appendWait(records), answer) : answer;
      // The log took it and its follower did not hear of it yet: nobody may join what began before.
      if (this.log.lag() === Number.POSITIVE_INFINITY) {
        this.#trustedUntil = Number.NEGATIVE_INFINITY;
        this.#to.detachAll();
      }
      return position;
    } catch (error) {
      this.lastError = reason(error);
      this.#to.forgetThese(records);
      this.#owe(records);
      throw new LayerError(this.log.name, "append the invalidation to its log", error);
    }
  }

  /** Tells others that loads of keys ended. Nobody's correctness depends on it. */
  async tellEnded(keys: readonly string[]): Promise<void> {
    try {
      await this.log.append([{ kind: "ended", keys }]);
    } catch (error) {
      this.lastError = reason(error);
    }
  }

  /** Waits until no process can serve what was invalidated at or before a position (P3). */
  async settled(position: Position, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.log.settled(position, signal);
    } catch (error) {
      signal?.throwIfAborted();
      this.lastError = reason(error);
      throw new LayerError(this.log.name, "hear from all followers of its log", error);
    }
  }

  /** Positions as users see them: they only mean something within one generation. */
  show(position: Position): string {
    return `${this.invalidations.generation}:${position}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#reopen?.cancel();
    this.#owedTimer?.cancel();
    await this.log.close();
  }

  #apply(records: readonly Appended[]): void {
    for (const appended of records) this.invalidations.apply(appended);
    this.#to.apply(records);
  }

  #follow(): void {
    this.ready = undefined;
    this.#givenUp = false;
    this.#told = false;
    this.since();
  }

  /** Without a log nothing cached can be trusted: reads go to the source until it opens. */
  #notOpened(error: unknown): void {
    this.lastError = reason(error);
    this.#to.failed("open its log", error);
    if (!this.#told) this.#to.warn(`The log "${this.log.name}" cannot be opened: ${this.lastError}`);
    this.#told = true;
    if (!this.#closed) this.#reopen = this.#clock.setTimer(REOPEN_AFTER, () => this.open());
  }

  #reset(head: { generation: string; position: Position }, why: string): void {
    this.#trustedUntil = Number.NEGATIVE_INFINITY;
    this.invalidations.reset(head, []);
    this.#to.forget();
    const patterns = this.log.patterns();
    if (patterns instanceof Promise) this.#await(patterns);
    else this.invalidations.load(patterns);
    this.lastError = why;
    this.#to.warn(`The log "${this.log.name}" lost records (${why}): memory was dropped.`);
  }

  /** Until the log's patterns are known, no entry of a store can be proved valid. */
  #await(patterns: Promise<readonly Parameters<Invalidations["load"]>[0][number][]>): void {
    this.ready = patterns.then(
      (active) => {
        this.invalidations.load(active);
        this.#follow();
      },
      (error: unknown) => {
        this.lastError = reason(error);
        this.#to.failed("ask its log for patterns", error);
        if (!this.#closed)
          this.#reopen = this.#clock.setTimer(REOPEN_AFTER, () =>
            this.#await(Promise.resolve().then(() => this.log.patterns())),
          );
      },
    );
  }

  #owe(records: readonly LogRecord[]): void {
    if (this.#closed || !this.log.shared) return;
    // What was taken out of the stores may have come back by the time it is appended (a replica that lagged took
    // over): `pending` has everybody refuse older entries until they are swept.
    for (const record of records) this.#owed.push(owed(record));
    if (this.#owed.length > MAX_OWED) this.#owed = [{ kind: "clear", generation: newGeneration() }];
    this.#owedTimer ??= this.#clock.setTimer(APPEND_AGAIN, () => void this.#pay());
  }

  async #pay(): Promise<void> {
    const owed = this.#owed;
    this.#owed = [];
    this.#owedTimer = undefined;
    try {
      await within(this.#clock, APPEND_WAIT, Promise.resolve(this.log.append(owed)));
    } catch {
      this.#owe(owed);
    }
  }
}

/** Large records take longer to travel. */
function appendWait(records: readonly LogRecord[]): number {
  let items = 0;
  for (const record of records)
    items += "keys" in record ? record.keys.length : "tags" in record ? record.tags.length : 1;
  return APPEND_WAIT + items / 20;
}
