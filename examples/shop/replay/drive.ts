import type { Recording } from "./recording.ts";

/** Asks for one product; tells which layer answered. */
export type Ask = (id: number) => Promise<{ layer: string; state: "fresh" | "stale" | "miss" }>;

/** How requests are made. */
export interface Pace {
  /** Requests under way at a time. */
  readonly concurrency: number;
  /** Requests a second; Infinity: as fast as answers come. */
  readonly rate: number;
  readonly signal: AbortSignal;
}

/**
 * Makes the requests in the order of `ids`, and records each. With a `rate`, request number n is made n / rate
 * seconds after the start, or as soon after that as one of `concurrency` is free.
 */
export async function drive(ids: Uint32Array, ask: Ask, pace: Pace, recording: Recording): Promise<void> {
  const began = performance.now();
  let next = 0;
  let breath = began;
  const worker = async () => {
    while (next < ids.length && !pace.signal.aborted) {
      const at = next++;
      const early = began + (at * 1_000) / pace.rate - performance.now();
      if (early > 1) await new Promise((done) => setTimeout(done, early));
      const id = ids[at] ?? 0; // at is below the length
      const start = performance.now();
      try {
        const { layer, state } = await ask(id);
        recording.add(layer, state, performance.now() - start);
      } catch {
        recording.fail();
      }
      // Hits in memory never leave the microtask queue: timers and signals need a turn of the loop.
      if (performance.now() - breath > 20) {
        await new Promise((done) => setImmediate(done));
        breath = performance.now();
      }
    }
  };
  await Promise.all(Array.from({ length: pace.concurrency }, worker));
}
