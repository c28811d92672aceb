import type { Core } from "./core.ts";
import type { Entry } from "./entry.ts";
import type { Outcome } from "./flight.ts";
import type { Answer } from "./options.ts";

/** Counts and tells that memory answered. */
export function countMemory(
  core: Core,
  key: string,
  entry: Entry,
  now: number,
  report: ((answer: Answer) => void) | undefined,
): void {
  const state = now < entry.freshUntil ? "fresh" : "stale";
  count(
    core,
    {
      value: undefined,
      layer: "memory",
      state,
      age: now - entry.storedAt,
      ttl: entry.freshUntil - now,
      outdatedBy: 0,
    },
    key,
    report,
  );
}

/** Counts and tells how a read was answered. */
export function count(
  core: Core,
  outcome: Outcome,
  key: string,
  report: ((answer: Answer) => void) | undefined,
): void {
  const { counters, events, memoryCounters } = core;
  const { layer, state } = outcome;
  if (state === "miss") {
    counters.misses++;
    if (events.wants("miss")) events.emit("miss", { key });
  } else {
    if (state === "stale") counters.staleHits++;
    else counters.hits++;
    if (layer === "memory") {
      if (state === "stale") memoryCounters.staleHits++;
      else memoryCounters.hits++;
    }
    if (events.wants("hit")) events.emit("hit", { key, layer, stale: state === "stale" });
  }
  if (report === undefined) return;
  try {
    report({ layer, state, age: outcome.age, ttl: outcome.ttl });
  } catch {
    counters.listenerErrors++; // as with listeners of events: what they throw harms nobody
  }
}
