import type { Clock, Timer } from "../base/clock.ts";

/** A timer later than so many milliseconds says that this process stood still: answers may lie there, unread. */
const STOOD = 50;
/** How long they are waited for then, once. */
const MORE = 50;

/**
 * Calls `late` after `ms`, and a moment later when this process itself stood still meanwhile.
 * @param holds whether it keeps the process alive.
 */
export function deadline(clock: Clock, ms: number, late: () => void, holds = true): Timer {
  const due = clock.now() + ms;
  let timer = clock.setTimer(
    ms,
    () => {
      if (clock.now() - due < STOOD) late();
      else timer = clock.setTimer(MORE, late, holds);
    },
    holds,
  );
  return { cancel: () => timer.cancel() };
}

/**
 * What `work` resolves to. Rejects when that takes longer than `ms`; then it is no longer waited for.
 * @param holds whether the wait keeps the process alive.
 */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, holds = true): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const late = (): void => reject(new Error(`it did not answer within ${ms} ms`));
    const timer = deadline(clock, ms, late, holds);
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
