import type { Position } from "../coherence/log.ts";
import type { LayerCounters } from "../observe/counters.ts";
import type {
  CacheHealth,
  CacheStats,
  Explanation,
  LayerExplanation,
  LayerStats,
  PeekedEntry,
} from "./api.ts";
import { type Core, subject } from "./core.ts";
import type { Entry } from "./entry.ts";
import { UNAVAILABLE } from "./guarded-store.ts";
import { handOut } from "./isolation.ts";

/** The memory entry of a key and its facts: counts nothing, changes nothing. */
export function peek(core: Core, key: string): PeekedEntry | undefined {
  if (core.closed || !core.trusts()) return undefined;
  const now = core.clock.now();
  const entry = core.glance(key, now);
  if (entry === undefined) return undefined;
  const state = entry.kind !== "value" ? entry.kind : now < entry.freshUntil ? "fresh" : "stale";
  return {
    value: entry.kind === "value" ? handOut(entry.value, core.isolate) : undefined,
    state,
    age: now - entry.storedAt,
    ttl: entry.freshUntil - now,
    expiresIn: entry.staleUntil - now,
    tags: entry.tags,
    bytes: entry.bytes,
  };
}

/** Why a read of this key would hit, miss or be stale. Changes nothing. */
export async function explain(core: Core, key: string): Promise<Explanation> {
  core.assertOpen();
  if (core.following.ready !== undefined) await core.following.whenReady();
  const layers: LayerExplanation[] = [];
  const tags = new Set<string>();
  let oldest: Position = core.invalidations.position;
  const memory = explainMemory(core, key);
  if (memory !== undefined) layers.push(memory);
  for (const store of core.stores) layers.push(await explainStore(core, store, key));
  for (const layer of layers) {
    for (const tag of layer.tags ?? []) tags.add(tag);
    oldest = Math.min(oldest, layer.asOf ?? oldest);
  }
  const last = core.invalidations.last(key, [...tags]);
  const serving =
    layers.find((layer) => layer.answer === "hit") ?? layers.find((layer) => layer.answer === "stale");
  return {
    key,
    verdict: serving?.answer === "hit" ? "hit" : serving?.answer === "stale" ? "stale" : "miss",
    layers,
    invalidatedBy:
      last === undefined
        ? undefined
        : { kind: last.record.kind, what: subject(last.record), position: last.position },
    loading: core.flights.load(key) !== undefined,
  };
}

function explainMemory(core: Core, key: string): LayerExplanation | undefined {
  if (core.memory === undefined) return undefined;
  const layer = "memory";
  if (!core.trusts())
    return {
      layer,
      answer: "skipped",
      why: `The log "${core.log.name}" is not followed (${core.following.lastError ?? "it lags"}), so memory is not believed.`,
    };
  const now = core.clock.now();
  const raw = core.memory.peek(key);
  if (raw === undefined)
    return { layer, answer: "miss", why: "There is no entry: never stored, evicted, removed, or expired." };
  const facts = { layer, age: now - raw.storedAt, ttl: raw.freshUntil - now, tags: raw.tags, asOf: raw.asOf };
  const entry = core.glance(key, now);
  if (entry === undefined) {
    if (now >= raw.staleUntil)
      return { ...facts, answer: "miss", why: `Its ttl and grace ended ${ms(now - raw.staleUntil)} ago.` };
    return { ...facts, answer: "invalidated", why: because(core, key, raw.tags, raw.asOf) };
  }
  return { ...facts, ...freshness(entry, now) };
}

async function explainStore(
  core: Core,
  store: Core["stores"][number],
  key: string,
): Promise<LayerExplanation> {
  const layer = store.name;
  const reads = await store.read([key], {});
  if (reads === UNAVAILABLE)
    return {
      layer,
      answer: "skipped",
      why: `It does not answer (${store.state}): ${store.lastError ?? "a removal is owed"}.`,
    };
  const found = reads[0]?.found;
  if (found === undefined)
    return { layer, answer: "miss", why: "There is no entry: never stored, evicted, removed, or expired." };
  const { entry, age } = found;
  const facts = { layer, age, ttl: entry.ttl - age, tags: entry.tags, asOf: entry.asOf };
  if (entry.generation !== core.invalidations.generation)
    return {
      ...facts,
      answer: "invalidated",
      why: "It is of an earlier generation: the cache was cleared, or its log was lost.",
    };
  const verdict = core.invalidations.verdict(key, entry.tags, entry.asOf);
  if (verdict === "invalid")
    return { ...facts, answer: "invalidated", why: because(core, key, entry.tags, entry.asOf) };
  if (verdict === "stale")
    return { ...facts, answer: "stale", why: because(core, key, entry.tags, entry.asOf) };
  if (age < entry.ttl)
    return { ...facts, answer: "hit", why: `It is fresh for another ${ms(entry.ttl - age)}.` };
  return {
    ...facts,
    answer: "stale",
    why: `Its ttl ended ${ms(age - entry.ttl)} ago; grace serves it for another ${ms(entry.ttl + entry.grace - age)}.`,
  };
}

function freshness(entry: Entry, now: number): Pick<LayerExplanation, "answer" | "why"> {
  if (entry.kind === "error")
    return { answer: "hit", why: `A failed load is cached for another ${ms(entry.freshUntil - now)}.` };
  if (now < entry.freshUntil)
    return { answer: "hit", why: `It is fresh for another ${ms(entry.freshUntil - now)}.` };
  return {
    answer: "stale",
    why: `Its ttl ended ${ms(now - entry.freshUntil)} ago; grace serves it for another ${ms(entry.staleUntil - now)}.`,
  };
}

function because(core: Core, key: string, tags: readonly string[], asOf: Position): string {
  const last = core.invalidations.last(key, tags);
  if (last === undefined)
    return "It was loaded before what this process remembers of invalidations, so it is not believed.";
  return `The invalidation of ${last.record.kind} "${subject(last.record)}" at position ${last.position} came after its load at ${asOf}.`;
}

function ms(duration: number): string {
  return duration === Number.POSITIVE_INFINITY ? "ever" : `${Math.round(duration)} ms`;
}

/** Counters of the whole cache and of each layer. */
export function stats(core: Core): CacheStats {
  const { counters } = core;
  const reads = counters.hits + counters.staleHits + counters.misses;
  const layers: Record<string, LayerStats> = {};
  if (core.memory !== undefined)
    layers.memory = layerStats(core.memoryCounters, core.memory.size, core.memory.bytes);
  for (const store of core.stores) {
    const held = store.stats();
    layers[store.name] = layerStats(store.counters, held?.entries, held?.bytes);
  }
  return {
    reads,
    hits: counters.hits,
    staleHits: counters.staleHits,
    misses: counters.misses,
    hitRate: share(counters.hits + counters.staleHits, reads),
    loads: counters.loads,
    loadErrors: counters.loadErrors,
    joined: counters.joined,
    sets: counters.sets,
    invalidations: counters.invalidations,
    evictions: counters.evictions,
    refused: counters.refused,
    inFlight: core.flights.size,
    shadow: {
      checks: counters.shadowChecks,
      stale: counters.shadowStale,
      rate: share(counters.shadowStale, counters.shadowChecks),
      errors: counters.shadowErrors,
    },
    load: counters.load.stats(),
    layers,
  };
}

function layerStats(
  counters: LayerCounters,
  entries: number | undefined,
  bytes: number | undefined,
): LayerStats {
  const { hits, staleHits, misses, errors, timeouts, skipped } = counters;
  const hitRate = share(hits + staleHits, hits + staleHits + misses);
  return {
    hits,
    staleHits,
    misses,
    hitRate,
    errors,
    timeouts,
    skipped,
    latency: counters.latency.stats(),
    entries,
    bytes,
  };
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** Which layers work, how far the log is followed, and what the advisor said. */
export function health(core: Core, advice: readonly string[]): CacheHealth {
  const logUp = core.following.ready === undefined && core.trusts();
  const layers = core.stores.map((store) => ({
    name: store.name,
    state: store.state,
    since: store.since,
    lastError: store.lastError,
  }));
  return {
    ok: !core.closed && logUp && layers.every((layer) => layer.state === "up"),
    layers,
    log: {
      name: core.log.name,
      state: logUp ? "up" : "down",
      since: core.following.since(),
      lastError: core.following.lastError,
      generation: core.invalidations.generation,
      position: core.invalidations.position,
      lag: core.log.lag(),
    },
    advice,
  };
}
