import type { Timer } from "../base/clock.ts";
import { TimeoutError } from "../base/errors.ts";
import type { Core } from "./core.ts";
import type { Flight, Outcome } from "./flight.ts";
import type { LifetimeOptions } from "./resolve.ts";

/** The outcome of serving a flight's stale copy. Undefined when it has none, or none that may serve any more. */
export function staleOutcome(core: Core, flight: Flight): Outcome | undefined {
  const { stale, key } = flight;
  const now = core.clock.now();
  // P2: a copy that may have been invalidated while the log was not heard is not served, whatever its grace.
  if (stale === undefined || now >= stale.staleUntil || !core.trusts()) return undefined;
  if (core.invalidations.verdict(key, stale.tags, stale.asOf) === "invalid") return undefined;
  return {
    value: stale.value,
    layer: flight.staleLayer,
    state: now < stale.freshUntil ? "fresh" : "stale",
    age: now - stale.storedAt,
    ttl: stale.freshUntil - now,
    outdatedBy: 0,
  };
}

/**
 * One caller's wait for a flight: until it lands, the soft timeout (then the stale copy, and the load goes
 * on), the hard timeout (then the stale copy or `TimeoutError`), or the caller's own abort. Only when the
 * last caller has gone is the load itself aborted.
 * @param takesStale whether this caller may be given a stale copy: not one that only reads and did not say so.
 */
export function awaitFlight(
  core: Core,
  flight: Flight,
  options: LifetimeOptions,
  signal: AbortSignal | undefined,
  deliver: (outcome: Outcome) => unknown,
  takesStale: boolean,
): Promise<unknown> {
  flight.waiters++;
  const { timeout, hardTimeout } = options;
  if (
    signal === undefined &&
    timeout === Number.POSITIVE_INFINITY &&
    hardTimeout === Number.POSITIVE_INFINITY
  )
    return flight.promise.then(deliver);

  return new Promise<unknown>((resolve, reject) => {
    const timers: Timer[] = [];
    let waiting = true;
    const end = (): boolean => {
      if (!waiting) return false;
      waiting = false;
      for (const timer of timers) timer.cancel();
      signal?.removeEventListener("abort", onAbort);
      return true;
    };
    const serve = (outcome: Outcome): void => {
      try {
        resolve(deliver(outcome));
      } catch (error) {
        reject(error);
      }
    };
    const leave = (why: unknown): void => {
      flight.waiters--;
      if (flight.waiters > 0 || flight.background || flight.landed) return;
      flight.abort(why);
      core.flights.detach(flight, true);
    };
    const onAbort = (): void => {
      if (!end()) return;
      reject(signal?.reason);
      leave(signal?.reason);
    };
    const onSoft = (): void => {
      const outcome = staleOutcome(core, flight);
      if (outcome === undefined) {
        // The stores may still have one.
        flight.onStale ??= [];
        if (waiting) flight.onStale.push(onSoft);
        return;
      }
      if (!end()) return;
      flight.background = true;
      serve(outcome);
    };
    const onHard = (): void => {
      if (!end()) return;
      const outcome = takesStale ? staleOutcome(core, flight) : undefined;
      const error = new TimeoutError(`The load of key ${JSON.stringify(flight.key)}`, hardTimeout);
      if (outcome === undefined) reject(error);
      else serve(outcome);
      leave(error);
    };
    if (takesStale && timeout !== Number.POSITIVE_INFINITY)
      timers.push(core.clock.setTimer(timeout, onSoft, true));
    if (hardTimeout !== Number.POSITIVE_INFINITY) timers.push(core.clock.setTimer(hardTimeout, onHard, true));
    signal?.addEventListener("abort", onAbort, { once: true });
    flight.promise.then(
      (outcome) => {
        if (end()) serve(outcome);
      },
      (error: unknown) => {
        if (end()) reject(error);
      },
    );
  });
}
