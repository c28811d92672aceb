import type { Clock } from "../base/clock.ts";

/** Failures in a row after which a layer is left alone. */
const OPEN_AFTER = 5;
/** First pause in milliseconds; doubled with every failed probe, up to `LONGEST`. */
const SHORTEST = 500;
const LONGEST = 1_500;

/** State of a layer: used, left alone, or being tried. */
export type CircuitState = "up" | "down" | "probing";

/**
 * Leaves a failing layer alone, and probes it in the background until it answers again (circuit breaker):
 * no caller ever waits for a layer that is known to be down.
 */
export class Circuit {
  #state: CircuitState = "up";
  #failures = 0;
  #pause = 0;
  #since: number;
  #closed = false;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #probe: () => Promise<void>;
  readonly #onChange: (state: CircuitState) => void;

  /** @param probe resolves when the layer answers; must settle in bounded time. */
  constructor(
    clock: Clock,
    random: () => number,
    probe: () => Promise<void>,
    onChange: (state: CircuitState) => void,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#probe = probe;
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

  /** Whether a call may be tried now. */
  admits(): boolean {
    return this.#state === "up";
  }

  succeeded(): void {
    // A call that began before the circuit opened says nothing new.
    if (this.#state === "up") this.#failures = 0;
  }

  failed(): void {
    if (this.#state !== "up" || ++this.#failures < OPEN_AFTER) return;
    this.#pause = 0;
    this.#leaveAlone();
  }

  close(): void {
    this.#closed = true;
  }

  #leaveAlone(): void {
    this.#become("down");
    this.#pause = Math.min(LONGEST, this.#pause === 0 ? SHORTEST : this.#pause * 2);
    // Jitter of a quarter, so that many processes do not probe at the same moment.
    this.#clock.setTimer(this.#pause * (0.75 + this.#random() / 4), () => void this.#try());
  }

  async #try(): Promise<void> {
    if (this.#closed) return;
    this.#become("probing");
    try {
      await this.#probe();
    } catch {
      if (!this.#closed) this.#leaveAlone();
      return;
    }
    this.#failures = 0;
    this.#become("up");
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#since = this.#clock.now();
    this.#onChange(state);
  }
}
