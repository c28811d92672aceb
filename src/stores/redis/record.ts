import type { FoundEntry, StoredEntry } from "../store.ts";
import { afterLease, decodeBinary, ENTRY, encodeBinary, INFINITE, LEASE } from "./record-binary.ts";
import { BRACE, decodeJson, encodeJson } from "./record-json.ts";

/** How entries stand in Redis: see docs/redis.md. */
export type Layout = "binary" | "json";

/** An entry as a script takes it. */
export type EncodedRecord = Buffer;

/** In whole milliseconds, or Infinity. */
export interface Lifetime {
  readonly ttl: number;
  readonly grace: number;
}

/** An entry and how long the server keeps it. */
export interface Encoded {
  readonly record: EncodedRecord;
  /** Milliseconds, or "inf". */
  readonly keep: string;
}

export function encodeRecord(entry: StoredEntry, layout: Layout): Encoded {
  const lifetime = { ttl: wholeSpan(entry.ttl), grace: wholeSpan(entry.grace) };
  const keep = lifetime.ttl + lifetime.grace;
  return {
    record: layout === "json" ? encodeJson(entry, lifetime) : encodeBinary(entry, lifetime),
    keep: keep === Number.POSITIVE_INFINITY ? "inf" : String(keep),
  };
}

/**
 * The live entry in what a key holds, whatever its layout and with or without a lease in front.
 * @param now the server's time in milliseconds.
 */
export function decodeRecord(record: Buffer, now: number): FoundEntry | undefined {
  const found = decode(record, now);
  // With a lease in front, a record may outlive its entry.
  return found !== undefined && found.age < found.entry.ttl + found.entry.grace ? found : undefined;
}

function decode(record: Buffer, now: number): FoundEntry | undefined {
  switch (record[0]) {
    case ENTRY:
      return decodeBinary(record, 0, now);
    case LEASE:
      return decodeBinary(record, afterLease(record), now);
    case BRACE:
      return decodeJson(record, now);
    default:
      return undefined;
  }
}

/** Whole milliseconds; what does not fit (34 years) has no end. */
export function wholeSpan(ms: number): number {
  const whole = Math.ceil(ms);
  return whole >= INFINITE ? Number.POSITIVE_INFINITY : whole;
}
