import type { Clock } from "../base/clock.ts";

/** What `work` resolves to. Rejects when that takes longer than `ms`; then it is no longer waited for. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const late = (): void => reject(new Error(`it did not answer within ${ms} ms`));
    const timer = clock.setTimer(ms, late, true);
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
