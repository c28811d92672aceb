import type { Duration } from "../base/duration.ts";
import { milliseconds } from "../base/duration.ts";
import { CacheError } from "../base/errors.ts";
import type { Flight } from "./flight.ts";
import type { LoadContext, StaleEntry } from "./options.ts";
import { checkTag } from "./resolve.ts";

/** What a loader said of its value through its context. */
export class Loading implements LoadContext {
  /** Undefined: the options hold. */
  chosenTtl: number | undefined;
  chosenGrace: number | undefined;
  readonly addedTags: string[] = [];
  skipped = false;
  unmodified = false;
  readonly #flight: Flight;
  readonly #now: number;

  constructor(flight: Flight, now: number) {
    this.#flight = flight;
    this.#now = now;
    // Loaders take these off the context (`({ ttl, skip }) => ...`), so they must not depend on `this`.
    this.ttl = this.ttl.bind(this);
    this.grace = this.grace.bind(this);
    this.tags = this.tags.bind(this);
    this.skip = this.skip.bind(this);
    this.notModified = this.notModified.bind(this);
  }

  get key(): string {
    return this.#flight.key;
  }

  get signal(): AbortSignal {
    return this.#flight.signal;
  }

  get stale(): StaleEntry<unknown> | undefined {
    const { stale } = this.#flight;
    if (stale === undefined || stale.kind === "error") return undefined;
    return { value: stale.value, age: this.#now - stale.storedAt, tags: stale.tags };
  }

  ttl(ttl: Duration): void {
    this.chosenTtl = milliseconds(ttl, "ttl");
  }

  grace(grace: Duration): void {
    this.chosenGrace = milliseconds(grace, "grace");
  }

  tags(...tags: readonly string[]): void {
    for (const tag of tags) {
      checkTag(tag, "tags");
      this.addedTags.push(tag);
    }
  }

  skip<V>(value: V): V {
    this.skipped = true;
    return value;
  }

  notModified(): never {
    const { stale } = this.#flight;
    if (stale === undefined)
      throw new CacheError(
        "ERR_CACHE_LOADER",
        "notModified() needs a stale entry: check context.stale first.",
      );
    this.unmodified = true;
    return stale.value as never; // typed so that it adds nothing to the type of the loader's answers
  }
}
