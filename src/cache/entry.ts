import type { Position } from "../coherence/log.ts";
import type { LifetimeOptions } from "./resolve.ts";

/** What an entry holds: a value, "nothing there", or a failed load. */
export type EntryKind = "value" | "negative" | "error";

/** An entry as memory keeps it. Deadlines are by the cache clock's `now()`. */
export class Entry {
  readonly value: unknown;
  readonly kind: EntryKind;
  readonly tags: readonly string[];
  /** Log position that what it holds is known to be as new as. */
  asOf: Position;
  /** When it was loaded or written (or last found unmodified). */
  readonly storedAt: number;
  readonly ttl: number;
  readonly grace: number;
  readonly cost: number;
  readonly sliding: number;
  readonly bytes: number;
  freshUntil: number;
  staleUntil: number;
  /** Until then a read needs no second thought: a plain value, fresh, not due for an eager refresh. */
  hitUntil = 0;
  /** Deadline of eager refresh by threshold; Infinity: none. */
  eagerAt = Number.POSITIVE_INFINITY;
  /** Beta of probabilistic eager refresh; 0: off. */
  beta = 0;
  /** Its hits are compared with the source at times. */
  sampled = false;
  /** Stale entries are served without a new load until then: back-off after a failed refresh. */
  retryAt = 0;
  /** When the stores last heard that its sliding lifetime began anew. */
  touchedAt: number;
  /** `Invalidations.version` it was last found valid at. */
  checked = 0;

  constructor(facts: EntryFacts, now: number) {
    this.value = facts.value;
    this.kind = facts.kind;
    this.tags = facts.tags;
    this.asOf = facts.asOf;
    this.ttl = facts.ttl;
    this.grace = facts.grace;
    this.cost = facts.cost;
    this.sliding = facts.sliding;
    this.bytes = facts.bytes;
    this.storedAt = now - facts.age;
    this.touchedAt = this.storedAt;
    this.freshUntil = this.storedAt + facts.ttl;
    this.staleUntil = this.freshUntil + facts.grace;
  }

  /** Arms eager refresh and the fast path, by the options of the read that stores it. */
  arm(options: LifetimeOptions): this {
    if (options.eagerAt > 0 && Number.isFinite(this.ttl))
      this.eagerAt = this.storedAt + this.ttl * options.eagerAt;
    this.sampled = options.shadow > 0;
    this.beta = Number.isFinite(this.ttl) ? options.eagerBeta : 0;
    this.rearm();
    return this;
  }

  /** Recomputes `hitUntil` after a deadline moved. */
  rearm(): void {
    const plain = this.kind === "value" && this.sliding === 0 && this.beta === 0 && !this.sampled;
    this.hitUntil = plain ? Math.min(this.freshUntil, this.eagerAt) : 0;
  }

  /** Makes a fresh entry stale. */
  expire(now: number): void {
    if (this.freshUntil <= now) return;
    this.freshUntil = now;
    this.staleUntil = now + this.grace;
    this.rearm();
  }

  /** Starts the lifetime anew. */
  renew(now: number, ttl: number): void {
    this.freshUntil = now + ttl;
    this.staleUntil = this.freshUntil + this.grace;
    this.rearm();
  }
}

/** What an entry is made of. */
export interface EntryFacts {
  readonly value: unknown;
  readonly kind: EntryKind;
  readonly tags: readonly string[];
  readonly asOf: Position;
  readonly ttl: number;
  readonly grace: number;
  readonly cost: number;
  readonly sliding: number;
  readonly bytes: number;
  /** Milliseconds since it was stored: 0 for a new one. */
  readonly age: number;
}
