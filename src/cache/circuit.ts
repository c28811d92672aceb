import type { Clock } from "../base/clock.ts";

/** Failures in a row after which a layer is left alone. */
const OPEN_AFTER = 5;
/** First pause in milliseconds; doubled with every failed probe, up to `LONGEST`. */
const SHORTEST = 1_000;
const LONGEST = 30_000;

/** State of a layer: used, left alone, or tried by one call. */
export type CircuitState = "up" | "down" | "probing";

/** Leaves a failing layer alone for a while, then lets one call through to probe it (circuit breaker). */
export class Circuit {
  #state: CircuitState = "up";
  #failures = 0;
  #pause = 0;
  #probeAt = 0;
  #since: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #onChange: (state: CircuitState) => void;

  constructor(clock: Clock, random: () => number, onChange: (state: CircuitState) => void) {
    this.#clock = clock;
    this.#random = random;
    this.#onChange = onChange;
    this.#since = clock.now();
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** Milliseconds in this state. */
  get since(): number {
    return this.#clock.now() - this.#since;
  }

  /** Whether a call may be tried now. A `true` while down makes the caller the probe: it must report back. */
  admits(): boolean {
    if (this.#state === "up") return true;
    if (this.#state === "down" && this.#clock.now() >= this.#probeAt) {
      this.#become("probing");
      return true;
    }
    return false;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#pause = 0;
    if (this.#state !== "up") this.#become("up");
  }

  failed(): void {
    // A call that began before the circuit opened says nothing new.
    if (this.#state === "down") return;
    this.#failures++;
    if (this.#state !== "probing" && this.#failures < OPEN_AFTER) return;
    this.#pause = Math.min(LONGEST, this.#pause === 0 ? SHORTEST : this.#pause * 2);
    // Jitter of a quarter, so that many processes do not probe at the same moment.
    this.#probeAt = this.#clock.now() + this.#pause * (0.75 + this.#random() / 4);
    this.#become("down");
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#since = this.#clock.now();
    this.#onChange(state);
  }
}
