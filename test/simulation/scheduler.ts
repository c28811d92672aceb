import type { Clock, Timer } from "../../src/base/clock.ts";

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
  /** Whose code runs: it waits while that process is stopped, and is dropped with it. */
  readonly owner: Host | undefined;
  cancelled: boolean;
}

/** A process as the scheduler knows it: stopped (SIGSTOP) or gone. */
export interface Host {
  paused: boolean;
  dead: boolean;
  /** What fell due while it was stopped. */
  readonly deferred: (() => void)[];
}

/**
 * All that happens, in one order: events by time, ties by the order they were asked for. Between two of them
 * every promise job runs, so that a schedule always gives the same history.
 */
export class Scheduler {
  now = 1_000_000;
  /** Events run so far. */
  ran = 0;
  #order = 0;
  readonly #heap: Event[] = [];

  /** @param owner none: the world itself (a server, the network), which is quiet: no promise job follows. */
  after(ms: number, fn: () => void, owner?: Host): Timer {
    const event: Event = {
      at: this.now + Math.max(0, ms),
      order: this.#order++,
      fn,
      owner,
      cancelled: false,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  async run(ms: number): Promise<void> {
    const until = this.now + ms;
    await settle();
    for (let next = this.#heap[0]; next !== undefined && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      if (next.cancelled || next.owner?.dead === true) continue;
      this.now = next.at;
      if (next.owner?.paused === true) {
        const { cancelled, fn } = next;
        const held = next;
        if (!cancelled) next.owner.deferred.push(() => (held.cancelled ? undefined : fn()));
        continue;
      }
      this.ran++;
      next.fn();
      if (next.owner !== undefined) await settle();
    }
    this.now = until;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !before(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      let child = heap[down];
      if (child === undefined) break;
      const right = heap[down + 1];
      if (right !== undefined && before(right, child)) {
        down++;
        child = right;
      }
      if (!before(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets every promise job run: an immediate comes only when none is left. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Clock of one process, which is a little fast or slow against the world's. */
export interface HostClock extends Clock {
  /** Timers set that keep the process alive. */
  readonly holding: number;
}

export function hostClock(world: Scheduler, host: Host, rate: number): HostClock {
  const born = world.now;
  const offset = 5_000 + Math.round(rate * 1_000);
  let holding = 0;
  return {
    now: () => offset + (world.now - born) * rate,
    recent: () => offset + (world.now - born) * rate,
    wall: () => 1_700_000_000_000 + world.now,
    setTimer(ms, fn, holds = false) {
      if (!Number.isFinite(ms)) return { cancel: () => undefined };
      let live = true;
      if (holds) holding++;
      const end = (): boolean => {
        if (!live) return false;
        live = false;
        if (holds) holding--;
        return true;
      };
      const timer = world.after(ms / rate, () => (end() ? fn() : undefined), host);
      return {
        cancel() {
          if (end()) timer.cancel();
        },
      };
    },
    get holding() {
      return holding;
    },
  };
}
