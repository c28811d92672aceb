import { Latency } from "./latency.ts";

/** Counters of one layer. Plain fields: incremented on the hot path. */
export class LayerCounters {
  hits = 0;
  staleHits = 0;
  misses = 0;
  errors = 0;
  timeouts = 0;
  skipped = 0;
  readonly latency = new Latency();
}

/** Counters of one cache. */
export class CacheCounters {
  hits = 0;
  staleHits = 0;
  misses = 0;
  loads = 0;
  loadErrors = 0;
  joined = 0;
  sets = 0;
  invalidations = 0;
  evictions = 0;
  refused = 0;
  listenerErrors = 0;
  shadowChecks = 0;
  shadowStale = 0;
  shadowErrors = 0;
  readonly load = new Latency();
}
