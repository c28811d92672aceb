import { isDeepStrictEqual } from "node:util";
import { validate } from "../base/standard-schema.ts";
import type { Core } from "./core.ts";
import { Flight } from "./flight.ts";
import { Loading } from "./load-context.ts";
import type { GetOrSetOptions, Loader } from "./options.ts";
import type { LifetimeOptions } from "./resolve.ts";

/** Comparisons under way at most; a hit beyond that is not sampled. */
const MAX_AT_ONCE = 4;

/** Measures staleness: compares a sampled share of hits with what their loaders get now. Changes nothing. */
export class Shadow {
  readonly #core: Core;
  #running = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** @param value what the hit answered, with the tags it is known by. */
  sample(
    key: string,
    value: unknown,
    tags: readonly string[],
    loader: Loader<unknown>,
    options: LifetimeOptions,
    call: GetOrSetOptions,
  ): void {
    const core = this.#core;
    if (options.shadow === 0 || core.random() >= options.shadow || this.#running >= MAX_AT_ONCE) return;
    this.#running++;
    const compared = this.#compare(key, value, tags, loader, options, call).finally(() => {
      this.#running--;
    });
    core.background(compared);
  }

  async #compare(
    key: string,
    value: unknown,
    tags: readonly string[],
    loader: Loader<unknown>,
    options: LifetimeOptions,
    call: GetOrSetOptions,
  ): Promise<void> {
    const core = this.#core;
    const { clock, counters, events, invalidations } = core;
    const asOf = invalidations.position;
    // A flight that nobody joins and that stores nothing: what the loader's context is made of.
    const flight = new Flight(key, options, asOf, clock.now(), undefined);
    const loading = new Loading(flight, clock.now());
    let truth: unknown;
    core.writing([key]);
    try {
      // A turn later: what the loader does at once must not hold up the hit.
      await Promise.resolve();
      truth = await loader(loading);
      if (call.schema !== undefined && truth !== undefined) truth = await validate(call.schema, truth, key);
      // It changed meanwhile, and the cache was told: the two were never meant to be equal.
      if (loading.skipped || core.mentioned(key) || invalidations.verdict(key, tags, asOf) !== "valid")
        return;
    } catch {
      counters.shadowErrors++;
      return;
    } finally {
      core.written([key]);
    }
    const stale = !isDeepStrictEqual(truth, value);
    counters.shadowChecks++;
    if (stale) counters.shadowStale++;
    if (events.wants("shadow")) events.emit("shadow", { key, stale });
  }
}
