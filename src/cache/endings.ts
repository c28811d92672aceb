import type { Clock } from "../base/clock.ts";
import type { Position } from "../coherence/log.ts";

/** Endings remembered for those who begin to wait just after. */
const REMEMBERED = 1_000;

/** Wakes those who wait for another process's load of a key, when the log tells that it ended. */
export class Endings {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #last = new Map<string, Position>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A load of these keys ended, or what was stored of them changed. */
  tell(keys: readonly string[], position: Position): void {
    for (const key of keys) {
      this.#last.delete(key);
      this.#last.set(key, position);
      for (const wake of this.#waiting.get(key) ?? []) wake();
    }
    for (const key of this.#last.keys()) {
      if (this.#last.size <= REMEMBERED) break;
      this.#last.delete(key);
    }
  }

  /** Wakes everybody. */
  tellAll(): void {
    for (const wakes of this.#waiting.values()) for (const wake of wakes) wake();
  }

  /** Resolves at the next ending of a key after position `since`, or after `ms`. */
  next(key: string, since: Position, ms: number): Promise<void> {
    if ((this.#last.get(key) ?? 0) > since) return Promise.resolve();
    return new Promise((resolve) => {
      const wakes = this.#waiting.get(key) ?? new Set();
      const wake = (): void => {
        timer.cancel();
        wakes.delete(wake);
        if (wakes.size === 0) this.#waiting.delete(key);
        resolve();
      };
      const timer = this.#clock.setTimer(ms, wake, true);
      this.#waiting.set(key, wakes.add(wake));
    });
  }
}
