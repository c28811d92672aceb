import type { ActivePattern, Appended, LogHead, Position, TagPositions } from "./log.ts";

/** How an entry stands against the invalidations known here. */
export type Verdict = "valid" | "stale" | "invalid";

/** Compiles a glob to a matcher. Handed in, so that this room does not depend on how globs are written. */
export type GlobCompiler = (glob: string) => (key: string) => boolean;

/** Distinct tags remembered; beyond it the oldest quarter is forgotten and `floor` rises. */
const MAX_TAGS = 100_000;
/** Patterns remembered; beyond it the oldest is forgotten, and no older entry is valid any more. */
const MAX_PATTERNS = 1_000;

/** Keys remembered. Who removed a key removed it from the stores first: this is a second guard, so it may forget. */
const MAX_KEYS = 10_000;

/** Generations ended by a clear that are remembered. */
const MAX_PAST = 100;

interface Pattern {
  readonly record: ActivePattern["record"];
  readonly position: Position;
  readonly matches: (key: string) => boolean;
}

/**
 * What the follower knows of invalidations: last positions by tag, prefix and glob. Asked on every read
 * of an entry that has not been checked since the last record, so an invalidation costs O(1) however
 * many entries it concerns.
 */
export class Invalidations {
  generation = "";
  position: Position = 0;
  /** Grows with every record that an entry must be checked against: an entry stamped with it is valid. */
  version = 1;
  /** Below this position the index is not complete: entries loaded earlier need the log's own tables. */
  floor: Position = 0;
  /** Below this position a pattern was forgotten: whether it concerned an entry loaded earlier cannot be told. */
  #patternFloor: Position = 0;
  readonly #tags = new Map<string, TagPositions>();
  #patterns: Pattern[] = [];
  /** Key -> lowest `asOf` of an entry that reflects its last removal or write. */
  readonly #keys = new Map<string, Position>();
  /** Generations that ended with a clear of this log: its positions go on. */
  readonly #past = new Set<string>();
  readonly #compile: GlobCompiler;

  constructor(compile: GlobCompiler) {
    this.#compile = compile;
  }

  /** Forgets everything and starts at `head`; the patterns are those the log still holds. */
  reset(head: LogHead, patterns: readonly ActivePattern[]): void {
    this.generation = head.generation;
    this.position = head.position;
    this.floor = head.position;
    this.#tags.clear();
    this.#patterns = [];
    this.#patternFloor = 0;
    this.#keys.clear();
    this.#past.clear();
    this.version++;
    this.load(patterns);
  }

  /** Takes in patterns that the log still holds. */
  load(patterns: readonly ActivePattern[]): void {
    for (const { record, position } of patterns) this.#addPattern(record, position);
    this.version++;
  }

  /** Whether positions of a generation can be compared with `position`. */
  knows(generation: string): boolean {
    return generation === this.generation || this.#past.has(generation);
  }

  apply({ position, record }: Appended): void {
    this.position = position;
    switch (record.kind) {
      case "ended":
        return;
      case "keys":
        // Memory and flights are dealt with by the caller, stores were before the append. What comes back there
        // all the same (a late write, a replica that lagged, a store that could not be reached) is told by its age.
        if (record.soft !== true)
          for (const key of record.keys) this.#addKey(key, record.written ?? position);
        if (record.pending !== true) return;
        this.#addPattern(record, position);
        break;
      case "tags":
        for (const tag of record.tags) this.#addTag(tag, position, record.soft === true);
        break;
      case "prefix":
      case "glob":
        this.#addPattern(record, position);
        break;
      case "clear":
        // Told twice (it was appended again, since nobody knew whether it had been taken): what was invalidated in
        // this generation since is not forgotten.
        if (record.generation === this.generation) break;
        this.#past.add(this.generation);
        if (this.#past.size > MAX_PAST) this.#past.delete([...this.#past][0] ?? "");
        this.generation = record.generation;
        this.#tags.clear();
        this.#keys.clear();
        this.#patterns = [];
        break;
    }
    this.version++;
  }

  /** Whether an entry loaded at `asOf` may serve. Complete for `asOf >= floor`, and for untagged entries. */
  verdict(key: string, tags: readonly string[], asOf: Position): Verdict {
    if (asOf < this.#patternFloor) return "invalid";
    const needed = this.#keys.size === 0 ? undefined : this.#keys.get(key);
    if (needed !== undefined && asOf < needed) return "invalid";
    let verdict: Verdict = "valid";
    for (const tag of tags) {
      const last = this.#tags.get(tag);
      if (last === undefined) continue;
      if (last.hard > asOf) return "invalid";
      if (last.soft > asOf) verdict = "stale";
    }
    for (const pattern of this.#patterns) {
      if (pattern.position > asOf && pattern.matches(key)) {
        if (pattern.record.soft !== true) return "invalid";
        verdict = "stale";
      }
    }
    return verdict;
  }

  /** The newest remembered tag or pattern invalidation of an entry with this key and tags. */
  last(key: string, tags: readonly string[]): Appended | undefined {
    let found: Appended | undefined;
    for (const tag of tags) {
      const last = this.#tags.get(tag);
      const position = last === undefined ? 0 : Math.max(last.hard, last.soft);
      if (position > (found?.position ?? 0)) found = { position, record: { kind: "tags", tags: [tag] } };
    }
    for (const pattern of this.#patterns) {
      if (pattern.position > (found?.position ?? 0) && pattern.matches(key)) found = pattern;
    }
    return found;
  }

  #addKey(key: string, needed: Position): void {
    this.#keys.delete(key); // set again, so that the map's order is the order of last mention
    this.#keys.set(key, needed);
    if (this.#keys.size <= MAX_KEYS) return;
    for (const oldest of this.#keys.keys()) {
      this.#keys.delete(oldest);
      break;
    }
  }

  #addTag(tag: string, position: Position, soft: boolean): void {
    const last = this.#tags.get(tag);
    // Deleted and set again, so that the map's order is the order of last invalidation.
    if (last !== undefined) this.#tags.delete(tag);
    this.#tags.set(
      tag,
      soft ? { hard: last?.hard ?? 0, soft: position } : { hard: position, soft: last?.soft ?? 0 },
    );
    if (this.#tags.size > MAX_TAGS) this.#forgetTags(MAX_TAGS / 4);
  }

  #forgetTags(count: number): void {
    for (const [tag, { hard, soft }] of this.#tags) {
      if (count-- <= 0) return;
      this.#tags.delete(tag);
      this.floor = Math.max(this.floor, hard, soft);
    }
  }

  /** Whether a record concerns a key. */
  matcher(record: ActivePattern["record"]): (key: string) => boolean {
    if (record.kind === "prefix") return (key) => key.startsWith(record.prefix);
    if (record.kind === "glob") return this.#compile(record.glob);
    const keys = new Set(record.keys);
    return (key) => keys.has(key);
  }

  #addPattern(record: ActivePattern["record"], position: Position): void {
    // A list of patterns may be older than the records heard since it was asked for.
    const isCovered = this.#patterns.some(
      (old) =>
        old.position >= position &&
        same(old.record, record) &&
        (old.record.soft !== true || record.soft === true),
    );
    if (isCovered) return;
    // A repeated invalidation of the same pattern replaces the older one when it covers it.
    this.#patterns = this.#patterns.filter(
      (old) =>
        old.position !== position &&
        !(same(old.record, record) && (record.soft !== true || old.record.soft === true)),
    );
    this.#patterns.push({ record, position, matches: this.matcher(record) });
    while (this.#patterns.length > MAX_PATTERNS) {
      const oldest = this.#patterns.shift();
      if (oldest !== undefined) this.#patternFloor = Math.max(this.#patternFloor, oldest.position);
    }
  }
}

function same(a: ActivePattern["record"], b: ActivePattern["record"]): boolean {
  if (a.kind === "prefix") return b.kind === "prefix" && a.prefix === b.prefix;
  return a.kind === "glob" && b.kind === "glob" && a.glob === b.glob;
}
