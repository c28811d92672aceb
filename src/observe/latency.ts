import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

/** Percentiles in milliseconds. */
export interface LatencyStats {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Durations recorded into a high dynamic range histogram (Node's own), made on first use. */
export class Latency {
  #histogram: RecordableHistogram | undefined;

  /** @param ms a duration in milliseconds; resolved to a nanosecond. */
  record(ms: number): void {
    this.#histogram ??= createHistogram();
    this.#histogram.record(Math.max(1, Math.round(ms * 1e6)));
  }

  stats(): LatencyStats {
    const h = this.#histogram;
    if (h === undefined) return { count: 0, p50: 0, p95: 0, p99: 0, max: 0 };
    return {
      count: h.count,
      p50: h.percentile(50) / 1e6,
      p95: h.percentile(95) / 1e6,
      p99: h.percentile(99) / 1e6,
      max: h.max / 1e6,
    };
  }
}
