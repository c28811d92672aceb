import type { Clock } from "../../base/clock.ts";

/** Wakes the one reader that waits for records. */
export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #wake: ((error?: Error) => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** There may be something new. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** What rings this bell is gone: whoever waits learns it. */
  fail(error: Error): void {
    this.#wake?.(error);
  }

  /** From here on a ring counts, even one that comes before `wait`. */
  arm(): void {
    this.#rung = false;
  }

  /** Until it has rung since it was armed, at most `ms` milliseconds. */
  wait(ms: number): Promise<void> {
    if (this.#rung) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const wake = (error?: Error): void => {
        timer.cancel();
        this.#wake = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      const timer = this.#clock.setTimer(ms, wake);
      this.#wake = wake;
    });
  }
}
