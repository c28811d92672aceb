import type { ActivePattern, LogHead, LogRecord, Position, TagPositions } from "../../src/coherence/log.ts";
import { isPattern } from "../../src/coherence/log.ts";
import type { Applied, ServerHead, ServerRecord, SignedRecord } from "../../src/coherence/log-server.ts";
import type { FillResult, FoundEntry, ReadOptions, StoredEntry, StoreRead } from "../../src/stores/store.ts";

interface Slot {
  entry: StoredEntry | undefined;
  storedAt: number;
  lease: { token: string; until: number; awaited: boolean } | undefined;
}

/** What a server holds: a store and a log. Every method is one atomic step at the server's time `now`. */
export class ServerState {
  readonly slots = new Map<string, Slot>();
  generation = "";
  founded = 0;
  foundedAs = "";
  records: ServerRecord[] = [];
  patterns: ActivePattern[] = [];
  readonly tags = new Map<string, TagPositions>();
  /** What was invalidated before this position cannot be told any more. */
  tagFloor: Position = 0;
  readonly followers = new Map<string, { acked: Position; until: number }>();
  /** Since when it can tell who follows: before, followers of an earlier history may have been there. */
  knowsSince = Number.NEGATIVE_INFINITY;
  /** Longest lease a follower asked for. */
  lease = 0;

  // The store.

  #live(key: string, now: number): Slot | undefined {
    const slot = this.slots.get(key);
    if (slot === undefined) return undefined;
    if (slot.entry !== undefined && now >= slot.storedAt + slot.entry.ttl + slot.entry.grace)
      slot.entry = undefined;
    if (slot.lease !== undefined && now >= slot.lease.until) slot.lease = undefined;
    if (slot.entry !== undefined || slot.lease !== undefined) return slot;
    this.slots.delete(key);
    return undefined;
  }

  #held(key: string, token: string, now: number): Slot | undefined {
    const slot = this.#live(key, now);
    return slot?.lease?.token === token ? slot : undefined;
  }

  readEntries(keys: readonly string[], options: ReadOptions, token: string, now: number): StoreRead[] {
    return keys.map((key, i): StoreRead => {
      const slot = this.#live(key, now);
      const found: FoundEntry | undefined =
        slot?.entry === undefined ? undefined : { entry: slot.entry, age: now - slot.storedAt };
      const fresh = found !== undefined && found.age < found.entry.ttl;
      if (options.lease === undefined || (fresh && options.refresh !== true))
        return { found, lease: undefined };
      if (slot?.lease !== undefined) {
        slot.lease.awaited = true;
        return { found, lease: "busy" };
      }
      const lease = { token: `${token}.${i}`, until: now + options.lease, awaited: false };
      this.slots.set(key, { entry: slot?.entry, storedAt: slot?.storedAt ?? 0, lease });
      return { found, lease: lease.token };
    });
  }

  fill(key: string, entry: StoredEntry, token: string, now: number): FillResult {
    const lease = this.#held(key, token, now)?.lease;
    if (lease === undefined) return "refused";
    this.slots.set(key, { entry, storedAt: now, lease: undefined });
    return lease.awaited ? "awaited" : "stored";
  }

  renew(key: string, token: string, ms: number, now: number): boolean {
    const slot = this.#held(key, token, now);
    if (slot?.lease !== undefined) slot.lease.until = now + ms;
    return slot !== undefined;
  }

  release(key: string, token: string, now: number): boolean {
    const slot = this.#held(key, token, now);
    const awaited = slot?.lease?.awaited === true;
    if (slot !== undefined) slot.lease = undefined;
    return awaited;
  }

  write(entries: readonly (readonly [string, StoredEntry])[], now: number): void {
    for (const [key, entry] of entries) this.slots.set(key, { entry, storedAt: now, lease: undefined });
  }

  remove(keys: readonly string[], before: Position | undefined, now: number): number {
    let removed = 0;
    for (const key of keys) {
      const slot = this.#live(key, now);
      if (slot === undefined) continue;
      const old = slot.entry !== undefined && (before === undefined || slot.entry.asOf < before);
      if (old) removed++;
      if (before === undefined) this.slots.delete(key);
      else if (old) slot.entry = undefined;
    }
    return removed;
  }

  expire(keys: readonly string[], now: number): number {
    let expired = 0;
    for (const key of keys) {
      const slot = this.#live(key, now);
      if (slot === undefined) continue;
      slot.lease = undefined;
      if (slot.entry === undefined) continue;
      expired++;
      const age = now - slot.storedAt;
      if (age < slot.entry.ttl) slot.entry = { ...slot.entry, ttl: age };
    }
    return expired;
  }

  touch(key: string, ttl: number, now: number): boolean {
    const slot = this.#live(key, now);
    if (slot?.entry === undefined || now - slot.storedAt >= slot.entry.ttl) return false;
    slot.entry = { ...slot.entry, ttl };
    slot.storedAt = now;
    return true;
  }

  keys(prefix: string, now: number): string[] {
    return [...this.slots.keys()].filter(
      (key) => key.startsWith(prefix) && this.#live(key, now)?.entry !== undefined,
    );
  }

  clearEntries(keep: string): void {
    for (const [key, slot] of this.slots)
      if (slot.entry !== undefined && slot.entry.generation !== keep) this.slots.delete(key);
  }

  // The log.

  get position(): Position {
    return this.records.at(-1)?.position ?? this.founded;
  }

  #head(): LogHead {
    return { generation: this.generation, position: this.position };
  }

  /** Founds the log when it is not there, above all that an earlier one reached. */
  #found(name: string, now: number): void {
    if (this.generation !== "") return;
    this.generation = name;
    this.foundedAs = name;
    this.founded = 1_700_000_000_000 + Math.floor(now);
    this.tagFloor = this.founded;
  }

  #standing(applied: Applied | undefined): ServerHead["standing"] {
    if (applied === undefined) return "new";
    if (applied.position === this.founded) return applied.id === this.foundedAs ? "same" : "other";
    const there = this.records.find((one) => one.position === applied.position);
    if (there !== undefined) return there.id === applied.id ? "same" : "other";
    const first = this.records[0]?.position ?? this.position + 1;
    return applied.position > this.founded && applied.position < first ? "trimmed" : "other";
  }

  join(node: string, applied: Applied | undefined, lease: number, name: string, now: number): ServerHead {
    this.#found(name, now);
    const standing = this.#standing(applied);
    this.lease = Math.max(this.lease, lease);
    const acked = standing === "same" || standing === "trimmed" ? (applied?.position ?? 0) : 0;
    this.followers.set(node, { acked, until: now + lease });
    return { ...this.#head(), standing, id: this.records.at(-1)?.id ?? this.foundedAs };
  }

  append(signed: readonly SignedRecord[], name: string, now: number): LogHead {
    this.#found(name, now);
    for (const { id, record } of signed) this.#add(this.position + 1, id, record);
    return this.#head();
  }

  #add(position: Position, id: string, record: LogRecord): void {
    this.records.push({ position, id, record });
    if (record.kind === "clear") {
      this.generation = record.generation;
      this.patterns = [];
      this.tags.clear();
      this.tagFloor = position;
    }
    if (isPattern(record)) this.patterns.push({ position, record });
    if (record.kind !== "tags") return;
    for (const tag of record.tags) {
      const last = this.tags.get(tag) ?? { hard: 0, soft: 0 };
      this.tags.set(tag, record.soft === true ? { ...last, soft: position } : { ...last, hard: position });
    }
  }

  readRecords(after: Position, limit: number): ServerRecord[] {
    return this.records.filter((one) => one.position > after).slice(0, limit);
  }

  unacknowledged(position: Position, now: number): number {
    // Followers that an earlier history knew of may trust what they know for as long as a lease.
    let left = Math.max(0, this.knowsSince + Math.max(this.lease, 5_060) - now);
    for (const [node, { acked, until }] of this.followers) {
      if (until <= now) this.followers.delete(node);
      else if (acked < position) left = Math.max(left, until - now);
    }
    return left;
  }

  renounce(old: string, above: Position, name: string): LogHead {
    if (old === this.generation)
      this.#add(Math.max(above, this.position) + 1, name, { kind: "clear", generation: name });
    return this.#head();
  }

  tagPositions(tags: readonly string[]): TagPositions[] {
    // Of a log that is not there nothing can be told.
    if (this.generation === "") return tags.map(() => ({ hard: Number.MAX_SAFE_INTEGER, soft: 0 }));
    return tags.map((tag) => {
      const { hard, soft } = this.tags.get(tag) ?? { hard: 0, soft: 0 };
      return { hard: Math.max(hard, this.tagFloor), soft };
    });
  }

  swept(position: Position): void {
    this.patterns = this.patterns.filter((one) => one.position !== position);
  }

  trim(kept: number): void {
    this.records = this.records.slice(Math.max(0, this.records.length - kept));
  }
}

type Step = { readonly at: number; readonly work: (state: ServerState, now: number) => unknown };

/** A replica is never further behind, in milliseconds. */
const LONGEST_LAG = 800;

/** One server: its state, and all that changed it, of which a replica may have seen only the beginning. */
export class ServerNode {
  state = new ServerState();
  frozen = false;
  /** Requests that came in while it was frozen. */
  readonly queue: (() => void)[] = [];
  /** Records that a failover lost, by their ids. */
  readonly lost = new Set<string>();
  /** Told after every step that may have appended. */
  readonly readers = new Set<() => void>();
  #steps: Step[] = [];

  /** Does one atomic step, and passes it on to the replica some time later. */
  step<T>(now: number, work: (state: ServerState, now: number) => T): T {
    this.#steps.push({ at: now, work });
    const { position } = this.state;
    const result = work(this.state, now);
    if (this.state.position !== position) for (const wake of [...this.readers]) wake();
    return result;
  }

  /** FLUSHALL, or a restart without its data. */
  empty(now: number): void {
    for (const { id } of this.state.records) this.lost.add(id);
    this.state = new ServerState();
    this.state.knowsSince = now;
    this.#steps = [];
  }

  /** The replica takes over as it is: without the last `lag` steps. */
  failOver(lag: number, now: number): void {
    const before = this.state.records;
    const recent = this.#steps.findIndex(({ at }) => at >= now - LONGEST_LAG);
    const first = recent === -1 ? this.#steps.length : recent;
    const steps = this.#steps.slice(0, Math.max(first, this.#steps.length - lag));
    this.state = new ServerState();
    for (const { at, work } of steps) work(this.state, at);
    this.state.knowsSince = now;
    this.#steps = steps;
    const kept = new Set(this.state.records.map(({ id }) => id));
    for (const { id } of before) if (!kept.has(id)) this.lost.add(id);
  }
}
