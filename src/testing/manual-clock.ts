import type { Clock, Timer } from "../base/clock.ts";

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves time on, fires the timers that fall due, each at its own time, and lets promise jobs run in between. */
  advance(ms: number): Promise<void>;
  /** Moves time on and fires timers, without letting promise jobs run. */
  tick(ms: number): void;
  /** Steps the wall clock alone, as an administrator or NTP does. */
  step(ms: number): void;
  /** Timers set and not fired. */
  readonly pending: number;
}

/** Promise jobs let run between two timers: enough for chains of as many awaits. */
const JOBS = 100;

/** @param start milliseconds that `now()` begins with [1,000,000]. */
export function manualClock(start = 1_000_000): ManualClock {
  let now = start;
  let stepped = 0;
  let order = 0;
  const timers = new Set<{ at: number; order: number; fn: () => void }>();
  const due = (until: number) => {
    let next: { at: number; order: number; fn: () => void } | undefined;
    for (const timer of timers) {
      if (timer.at > until) continue;
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer;
    }
    return next;
  };
  const drain = async (): Promise<void> => {
    for (let i = 0; i < JOBS; i++) await Promise.resolve();
  };
  return {
    now: () => now,
    wall: () => 1_700_000_000_000 + now + stepped,
    setTimer(ms, fn): Timer {
      const timer = { at: now + Math.max(0, ms), order: order++, fn };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    async advance(ms) {
      const until = now + ms;
      await drain();
      for (let next = due(until); next !== undefined; next = due(until)) {
        timers.delete(next);
        now = Math.max(now, next.at);
        next.fn();
        await drain();
      }
      now = until;
      await drain();
    },
    tick(ms) {
      const until = now + ms;
      for (let next = due(until); next !== undefined; next = due(until)) {
        timers.delete(next);
        now = Math.max(now, next.at);
        next.fn();
      }
      now = until;
    },
    step(ms) {
      stepped += ms;
    },
    get pending() {
      return timers.size;
    },
  };
}
