import { milliseconds } from "../base/duration.ts";
import { CacheError } from "../base/errors.ts";
import type { Flight } from "./flight.ts";
import type { LoadContext, StaleEntry } from "./options.ts";
import { NO_TAGS, uniqueTags } from "./resolve.ts";

/** What a loader said of its value through its context. */
export class Loading implements LoadContext {
  /** Undefined: the options hold. */
  chosenTtl: number | undefined;
  chosenGrace: number | undefined;
  addedTags: readonly string[] = NO_TAGS;
  skipped = false;
  unmodified = false;
  readonly #flight: Flight;
  readonly #now: number;

  constructor(flight: Flight, now: number) {
    this.#flight = flight;
    this.#now = now;
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

  // Getters of functions: loaders take them off the context (`({ ttl, skip }) => ...`), so they must not depend
  // on `this`; and most loaders take none, so none is made before it is wanted.

  get ttl(): LoadContext["ttl"] {
    return (ttl) => {
      this.chosenTtl = milliseconds(ttl, "ttl");
    };
  }

  get grace(): LoadContext["grace"] {
    return (grace) => {
      this.chosenGrace = milliseconds(grace, "grace");
    };
  }

  get tags(): LoadContext["tags"] {
    return (...tags) => {
      this.addedTags = uniqueTags(this.addedTags, tags, "tags");
    };
  }

  get skip(): LoadContext["skip"] {
    return (value) => {
      this.skipped = true;
      return value;
    };
  }

  get notModified(): LoadContext["notModified"] {
    return () => this.#notModified();
  }

  #notModified(): never {
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
