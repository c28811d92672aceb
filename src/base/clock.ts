/** A pending timer. */
export interface Timer {
  cancel(): void;
}

/**
 * Where all time in the cache comes from, so that tests never sleep.
 * Inject {@link manualClock} from `caching-universal/testing` to control it.
 */
export interface Clock {
  /** Milliseconds that have passed since some fixed moment; never goes back. Deadlines are measured by it. */
  now(): number;
  /**
   * A reading of `now()` from this turn of the event loop, at most a few uses old: for a first look at
   * deadlines that are far away, on paths where a reading of the clock is a good part of the cost.
   */
  recent?(): number;
  /** Milliseconds since the Unix epoch, for facts that outlive the process. May step. */
  wall(): number;
  /**
   * Runs `fn` once after `ms` milliseconds (any length).
   * @param holds whether it keeps the process alive meanwhile: only when a caller waits for it [false].
   */
  setTimer(ms: number, fn: () => void, holds?: boolean): Timer;
}

/** Longest delay a Node timer can take; longer ones fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;
/** How many times one reading serves `recent()`. */
const READING_SERVES = 64;
/** How often, in milliseconds of monotonic time, the clock looks for time slept through. */
const SLEEP_CHECK = 1_000;

/**
 * The machine's own clock: monotonic, and moved forward by the time a suspended machine slept through
 * (which Linux leaves out of its monotonic clock). A wall clock stepped forward counts as such a sleep:
 * entries may expire early, never late.
 */
export function systemClock(): Clock {
  let slept = 0;
  let checkedAt = performance.now();
  let checkedWall = Date.now();
  let reading = 0;
  let uses = READING_SERVES;
  let turnEnds = false;
  const now = (): number => {
    const mono = performance.now();
    if (mono - checkedAt >= SLEEP_CHECK) {
      const wall = Date.now();
      const lost = wall - checkedWall - (mono - checkedAt);
      if (lost > SLEEP_CHECK) slept += lost;
      checkedAt = mono;
      checkedWall = wall;
    }
    return mono + slept;
  };
  const endTurn = (): void => {
    turnEnds = false;
    uses = READING_SERVES;
  };
  return {
    now,
    recent() {
      if (uses++ < READING_SERVES) return reading;
      uses = 1;
      reading = now();
      if (!turnEnds) {
        turnEnds = true;
        setImmediate(endTurn).unref();
      }
      return reading;
    },
    wall: () => Date.now(),
    setTimer(ms, fn, holds = false) {
      let handle: NodeJS.Timeout;
      const arm = (left: number) => {
        const step = Math.min(left, MAX_TIMEOUT);
        handle = setTimeout(() => (left > step ? arm(left - step) : fn()), step);
        if (!holds) handle.unref();
      };
      arm(Math.max(0, ms));
      return { cancel: () => clearTimeout(handle) };
    },
  };
}
