import type { Timer } from "../base/clock.ts";
import { reason } from "../base/errors.ts";
import type { ActivePattern, Position } from "../coherence/log.ts";
import type { Core } from "./core.ts";
import { UNAVAILABLE } from "./guarded-store.ts";
import type { SweepProgress } from "./options.ts";

/** How often patterns are looked at that others appended, in milliseconds: what is still there the next time is swept. */
const ADOPT_EVERY = 60_000;

/** How a sweep is watched and ended. */
export interface SweepOptions {
  readonly progress?: ((progress: SweepProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reclaims what patterns made unusable, in the background and in bounded steps; reads refuse it already. Once
 * all stores are swept, the log forgets the pattern.
 */
export class Sweeper {
  readonly #core: Core;
  #seen = new Set<Position>();
  #timer: Timer | undefined;
  readonly #ending = new AbortController();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Sweeps what the log holds for long: whoever appended it may have died. */
  watch(): void {
    const pause = ADOPT_EVERY * (0.75 + this.#core.random() / 2);
    this.#timer = this.#core.clock.setTimer(pause, () => this.#core.background(this.#adopt()));
  }

  stop(): void {
    this.#ending.abort();
    this.#timer?.cancel();
  }

  async sweep(pattern: ActivePattern, options: SweepOptions = {}): Promise<void> {
    const core = this.#core;
    const signals = [this.#ending.signal, ...(options.signal === undefined ? [] : [options.signal])];
    const signal = AbortSignal.any(signals);
    if (!(await this.#walk(pattern, options, signal))) return;
    // A process that lags may still store an older entry for as long as it trusts itself; twice that is safe. What
    // it stored goes in a second walk; only then may the log forget.
    core.clock.setTimer(2 * core.following.maxLag, () => {
      if (!core.closed) core.background(this.#finish(pattern));
    });
  }

  async #finish(pattern: ActivePattern): Promise<void> {
    if (await this.#walk(pattern, {}, this.#ending.signal)) await this.#core.log.swept(pattern);
  }

  /** Takes what a pattern concerned out of all stores. False: perhaps not all of it. */
  async #walk(pattern: ActivePattern, options: SweepOptions, signal: AbortSignal): Promise<boolean> {
    const core = this.#core;
    const { record, position } = pattern;
    if (record.kind === "keys") {
      await until(signal, Promise.all(core.stores.map((store) => store.paid())));
      if (signal.aborted) return false;
      for (const store of core.stores)
        if ((await store.sweep(record.keys, position)) === UNAVAILABLE) return false;
    } else if (record.soft !== true) {
      const prefix = record.kind === "prefix" ? record.prefix : literalHead(record.glob);
      const concerns = core.invalidations.matcher(record);
      for (const [i, store] of core.stores.entries()) {
        let seen = 0;
        let removed = 0;
        const tell = (done: boolean): void =>
          report(core, options, { layer: store.name, seen, removed, done });
        const batches = store.keys(prefix, signal);
        let next = await batches.next();
        for (; next.done !== true; next = await batches.next()) {
          const batch = next.value;
          const concerned = batch.filter(concerns);
          const gone = concerned.length === 0 ? 0 : await store.sweep(concerned, position);
          if (gone === UNAVAILABLE || signal.aborted) {
            await batches.return(false);
            return false;
          }
          seen += batch.length;
          removed += gone;
          tell(false);
        }
        if (!next.value || signal.aborted) return false; // not all was seen: the log keeps the pattern
        if (i === core.stores.length - 1) tell(true);
      }
    } else return false; // what is stale may still serve in its grace: the log keeps the pattern until one replaces it
    return true;
  }

  async #adopt(): Promise<void> {
    const core = this.#core;
    try {
      const patterns = await core.log.patterns();
      const old = patterns.filter(({ position }) => this.#seen.has(position));
      this.#seen = new Set(patterns.map(({ position }) => position));
      for (const pattern of old) await this.sweep(pattern);
    } catch (error) {
      core.following.lastError = reason(error);
    }
    if (!this.#ending.signal.aborted) this.watch();
  }
}

/** What a glob's keys start with: up to its first metacharacter. */
export function literalHead(glob: string): string {
  return /^[^*?[\]\\]*/.exec(glob)?.[0] ?? "";
}

/** Waits for `work`, or for the signal. */
function until(signal: AbortSignal, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      signal.removeEventListener("abort", end);
      resolve();
    };
    if (signal.aborted) return end();
    signal.addEventListener("abort", end);
    void work.then(end);
  });
}

function report(core: Core, { progress }: SweepOptions, told: SweepProgress): void {
  try {
    progress?.(told);
  } catch {
    core.counters.listenerErrors++; // as with listeners of events: what they throw harms nobody
  }
}
