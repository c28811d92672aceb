import { randomBytes } from "node:crypto";
import { reason, StoreError } from "../base/errors.ts";
import type {
  ActivePattern,
  Appended,
  Follower,
  LayerContext,
  Log,
  LogHead,
  LogRecord,
  Position,
  TagPositions,
} from "./log.ts";
import type { Applied, LogServer, ServerHead, ServerRecord } from "./log-server.ts";

/** Longest time in milliseconds between two acknowledgements; a quarter of `maxLag` when that is shorter. */
const HEARTBEAT = 500;
/** How long one step of the server may take before its connection is given up, in milliseconds. */
const STEP_TIMEOUT = 1_000;
/** Records taken in one read. */
const BATCH = 1_000;
/** First and longest pause after a failure, in milliseconds. */
const BACK_OFF = { first: 20, longest: 500 };
/** How long an append waits for this process's own follower, in milliseconds. */
const OWN_WAIT = 200;
/** Generations remembered, to know one that comes back. */
const MAX_GENERATIONS = 100;
/** First and longest pause between looks at what followers acknowledged, in milliseconds. */
const SETTLE_PAUSE = { first: 2, longest: 100 };

interface Waiter {
  readonly generation: string;
  readonly position: Position;
  readonly done: () => void;
}

/**
 * The follower's side of a shared log, whatever server keeps it: reads records in order, acknowledges them,
 * and proves at every heartbeat that what it applied is still part of the server's history (P7).
 */
export class RemoteLog implements Log {
  readonly name: string;
  readonly shared = true;
  readonly #server: LogServer;
  readonly #context: LayerContext;
  readonly #node = randomBytes(9).toString("base64url");
  readonly #heartbeat: number;
  /** What a follower may trust itself for, a little longer by the server's clock than by its own: clocks drift. */
  readonly #lease: number;
  #serial = 0;
  #follower: Follower | undefined;
  /** The last record that was applied, or where the log stood when it was joined. */
  #applied: Applied = { position: 0, id: "" };
  #generation = "";
  /** Generations it has been in, the last ones. */
  readonly #generations = new Set<string>();
  #heardAt = Number.NEGATIVE_INFINITY;
  /** The last heartbeat that the server answered: when it was sent, and where the log stood. */
  #confirmed = { sentAt: Number.NEGATIVE_INFINITY, position: 0 };
  /** Records taken in one read: fewer after a read that took too long. */
  #batch = BATCH;
  #joinNow = true;
  /** A record of its own that the server had taken is not in the history. */
  #ownLost = false;
  /** Records are missing after what was applied. */
  #gap = false;
  /** Own records up to here were appended and not applied in time: until they are, nothing here is proved. */
  #behind: Position = 0;
  /** The last records of own appends that the server took and the follower has not come to. */
  readonly #own = new Map<Position, { readonly id: string; readonly at: number }>();
  /** Ids of the last records of own appends that are under way and were not applied yet. */
  readonly #sent = new Set<string>();
  #waiters = new Set<Waiter>();
  #closed = false;
  #leaving = false;
  #running: Promise<void> | undefined;
  /** What waits for the server: told when the log is closed. */
  readonly #endings = new Set<() => void>();

  constructor(server: LogServer, context: LayerContext) {
    this.name = server.name;
    this.#server = server;
    this.#context = context;
    this.#heartbeat = Math.min(HEARTBEAT, context.maxLag / 4);
    this.#lease = Math.ceil(context.maxLag * 1.01) + 10;
  }

  async open(follower: Follower): Promise<LogHead> {
    const sentAt = this.#context.clock.now();
    let head: ServerHead;
    try {
      head = await this.#within(STEP_TIMEOUT, this.#server.join(this.#node, undefined, this.#lease));
    } catch (error) {
      if (!this.#closed) this.#server.reconnect();
      throw error;
    }
    this.#follower = follower;
    this.#start(head, sentAt);
    this.#running ??= this.#follow();
    return { generation: head.generation, position: head.position };
  }

  async append(records: readonly LogRecord[]): Promise<Position> {
    const signed = records.map((record) => ({ id: this.#nextId(), record }));
    const id = signed.at(-1)?.id ?? "";
    this.#sent.add(id);
    let head: LogHead;
    let applied: boolean;
    try {
      head = await this.#server.append(signed);
    } finally {
      applied = !this.#sent.delete(id);
    }
    if (!this.#reached(head.generation, head.position))
      this.#own.set(head.position, { id, at: this.#context.clock.now() });
    // P7: another record was applied at its place: the server took it into another history.
    else if (!applied) this.#loseOwn();
    await this.#applyOwn(head);
    return head.position;
  }

  async tagPositions(tags: readonly string[]): Promise<TagPositions[]> {
    return this.#server.tagPositions(tags);
  }

  async patterns(): Promise<ActivePattern[]> {
    return this.#server.patterns();
  }

  async swept(pattern: ActivePattern): Promise<void> {
    await this.#server.swept(pattern);
  }

  lag(): number {
    return this.#applied.position < this.#behind
      ? Number.POSITIVE_INFINITY
      : this.#context.clock.now() - this.#heardAt;
  }

  async settled(position: Position, signal?: AbortSignal): Promise<void> {
    let pause = SETTLE_PAUSE.first;
    // P8: whoever lives acknowledges within this, whoever does not runs out. Else the record is not in what they follow.
    const until = this.#context.clock.now() + 2 * this.#lease;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#context.clock.now() >= until)
        throw new StoreError(`The followers of the log "${this.name}" do not come to what was appended.`);
      const left = await this.#within(STEP_TIMEOUT, this.#server.unacknowledged(position));
      if (left <= 0) return;
      await this.#within(Number.POSITIVE_INFINITY, this.#sleep(Math.min(left, pause)), signal);
      pause = Math.min(pause * 1.5, SETTLE_PAUSE.longest);
    }
  }

  /** The follower is told by the server: there is nothing to hurry but the next acknowledgement. */
  catchUp(): void {
    this.#joinNow = true;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#follower = undefined;
    for (const end of [...this.#endings]) end();
    for (const waiter of [...this.#waiters]) waiter.done();
    await this.#running;
    this.#leaving = true;
    await this.#within(STEP_TIMEOUT, this.#server.leave(this.#node)).catch(() => undefined);
    await this.#server.close();
  }

  async #follow(): Promise<void> {
    let failures = 0;
    while (!this.#closed) {
      try {
        await this.#step();
        failures = 0;
      } catch (error) {
        if (this.#closed) return;
        if (failures === 0) this.#context.warn(`The log "${this.name}" is not heard: ${reason(error)}`);
        failures++;
        this.#joinNow = true;
        this.#server.reconnect();
        const pause = Math.min(BACK_OFF.first * 2 ** failures, BACK_OFF.longest);
        // Jitter, so that many processes do not come back at the same moment.
        await this.#within(
          Number.POSITIVE_INFINITY,
          this.#sleep(pause * (0.5 + this.#context.random() / 2)),
        ).catch(() => undefined);
      }
    }
  }

  /** One acknowledgement when it is due, then one read. */
  async #step(): Promise<void> {
    const { clock } = this.#context;
    if (this.#joinNow || clock.now() - this.#confirmed.sentAt >= this.#heartbeat) await this.#join();
    const from = this.#applied.position;
    const wait = Math.max(1, this.#heartbeat - (clock.now() - this.#confirmed.sentAt));
    const reading = this.#server.read(from, this.#batch, wait);
    try {
      this.#apply(await this.#within(wait + STEP_TIMEOUT, reading));
    } catch (error) {
      this.#batch = Math.max(1, Math.floor(this.#batch / 4));
      throw error;
    }
    this.#batch = Math.min(BATCH, this.#batch * 2);
  }

  async #join(): Promise<void> {
    this.#joinNow = false;
    // Before it is sent: what the server knows of this follower is never newer than what the follower believes.
    const sentAt = this.#context.clock.now();
    const head = await this.#within(STEP_TIMEOUT, this.#server.join(this.#node, this.#applied, this.#lease));
    // P7: the server took records of this process that are not in its history any more.
    const lost = this.#ownLost || [...this.#own].some(([at, own]) => at > head.position && own.at < sentAt);
    if (head.standing === "same" && !this.#gap && !lost) {
      this.#confirmed = { sentAt, position: head.position };
      this.#confirm();
      return;
    }
    if (head.standing === "other" || lost) {
      // P7: entries of a generation that was there before may reflect records that no longer exist, or lack what a
      // clear said that was lost. None of them is believed any more. One founded or begun since is above it all.
      const above = Math.max(this.#applied.position, head.position);
      if (this.#generations.has(head.generation) || head.position < this.#applied.position)
        await this.#within(STEP_TIMEOUT, this.#server.renounce(head.generation, above));
      const again = await this.#within(STEP_TIMEOUT, this.#server.join(this.#node, undefined, this.#lease));
      this.#restart(again, sentAt, "the server lost a part of its history");
    } else if (head.standing === "same") {
      // What it applied is in this history, what followed is not: others found a part lost, and went on above it.
      this.#restart(head, sentAt, "the log went on above a part that was lost");
    } else this.#restart(head, sentAt, "this process was away longer than the log remembers");
  }

  #restart(head: ServerHead, sentAt: number, why: string): void {
    this.#start(head, sentAt);
    this.#follower?.reset({ generation: head.generation, position: head.position }, why);
    this.#wake();
  }

  /** P2: what the server had when the heartbeat was sent has to be applied before it counts as heard. */
  #confirm(): void {
    const { sentAt, position } = this.#confirmed;
    if (this.#applied.position >= position && sentAt > this.#heardAt) this.#heardAt = sentAt;
  }

  #start(head: ServerHead, sentAt: number): void {
    this.#enter(head.generation);
    this.#applied = { position: head.position, id: head.id };
    this.#behind = Math.min(this.#behind, head.position);
    this.#heardAt = sentAt;
    this.#confirmed = { sentAt, position: head.position };
    this.#joinNow = true; // to acknowledge what it starts with, now that the follower has it
    this.#gap = false;
    this.#own.clear();
    this.#sent.clear();
    this.#ownLost = false;
  }

  /** What this process appended is not in what it follows: nothing is proved until it has started again. */
  #loseOwn(): void {
    this.#ownLost = true;
    this.#joinNow = true;
    this.#behind = Number.POSITIVE_INFINITY;
  }

  #enter(generation: string): void {
    this.#generation = generation;
    this.#generations.delete(generation);
    this.#generations.add(generation);
    for (const oldest of this.#generations) {
      if (this.#generations.size <= MAX_GENERATIONS) break;
      this.#generations.delete(oldest);
    }
  }

  #apply(records: readonly ServerRecord[]): void {
    const fresh: Appended[] = [];
    let last = this.#applied;
    for (const { position, id, record } of records) {
      if (position !== last.position + 1) {
        // A gap: records are missing, or this is another history. The next join tells which.
        this.#joinNow = true;
        this.#gap = true;
        break;
      }
      const own = this.#own.get(position);
      this.#own.delete(position);
      this.#sent.delete(id);
      if (own !== undefined && own.id !== id) this.#loseOwn();
      last = { position, id };
      fresh.push({ position, record });
      if (record.kind === "clear") this.#enter(record.generation);
      if (record.strict === true) this.#joinNow = true;
    }
    if (fresh.length === 0 || this.#closed) return;
    this.#applied = last;
    this.#confirm();
    this.#follower?.apply(fresh);
    this.#wake();
  }

  /** Waits until the own follower has applied what was appended; when it cannot, it is behind. */
  async #applyOwn({ generation, position }: LogHead): Promise<void> {
    if (this.#closed || this.#follower === undefined || this.#reached(generation, position)) return;
    await new Promise<void>((resolve) => {
      const waiter: Waiter = {
        generation,
        position,
        done: () => {
          timer.cancel();
          this.#waiters.delete(waiter);
          resolve();
        },
      };
      const timer = this.#context.clock.setTimer(
        OWN_WAIT,
        () => {
          this.#behind = Math.max(this.#behind, position);
          waiter.done();
        },
        true,
      );
      this.#waiters.add(waiter);
    });
  }

  #reached(generation: string, position: Position): boolean {
    return this.#generation === generation && this.#applied.position >= position;
  }

  #wake(): void {
    for (const waiter of this.#waiters) if (this.#reached(waiter.generation, waiter.position)) waiter.done();
  }

  #nextId(): string {
    return `${this.#node}.${(++this.#serial).toString(36)}`;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#context.clock.setTimer(ms, resolve);
    });
  }

  /** What `work` answers, but no longer than `ms`, and not once closed. */
  #within<T>(ms: number, work: Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = (settle: () => void): void => {
        timer?.cancel();
        signal?.removeEventListener("abort", abort);
        this.#endings.delete(close);
        settle();
      };
      const late = (): void =>
        end(() =>
          reject(new StoreError(`The log "${this.name}" did not answer within ${Math.round(ms)} ms.`)),
        );
      const close = (): void => end(() => reject(new StoreError(`The log "${this.name}" is closed.`)));
      const abort = (): void => end(() => reject(signal?.reason));
      const timer = Number.isFinite(ms) ? this.#context.clock.setTimer(ms, late) : undefined;
      signal?.addEventListener("abort", abort, { once: true });
      this.#endings.add(close);
      if (this.#closed && !this.#leaving) close();
      work.then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error)),
      );
    });
  }
}
