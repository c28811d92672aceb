import type { FoundEntry } from "../store.ts";
import { decodeRecord, type Lease, type Record } from "./format.ts";
import { type Item, LONGEST } from "./items.ts";
import { carried, longestSince, secondsGone, shortestSince, stampNow } from "./stamp.ts";

/** What the item of a key says now. */
export interface Look {
  readonly item: Item;
  readonly record: Record | undefined;
  /** Seconds since the item was written. */
  readonly gone: number;
  /** The entry, unless its lifetime is over. */
  readonly found: FoundEntry | undefined;
  /** The lease, unless it has run out. */
  readonly lease: Lease | undefined;
}

/** A record as it is to be written; its lifetime follows from what it holds. */
export type Change = Partial<Pick<Record, "entry" | "stamp" | "lease">>;

/** Added to lifetimes, so that the server never ends an item before those who read it would. */
const MARGIN = 3;

export function lookAt(item: Item): Look {
  const record = decodeRecord(item.value);
  const gone = record === undefined ? 0 : secondsGone(record.seconds, item.left);
  const { entry, lease } = record ?? {};
  const age = record === undefined || entry === undefined ? 0 : longestSince(record.stamp, gone);
  return {
    item,
    record,
    gone,
    found: entry === undefined || age >= entry.ttl + entry.grace ? undefined : { entry, age },
    lease: lease === undefined || shortestSince(lease.stamp, gone) >= lease.ms ? undefined : lease,
  };
}

/** The entry that was found, to be written again with its age. */
export function keepEntry(look: Look | undefined): Change {
  if (look?.found === undefined || look.record === undefined) return {};
  return { entry: look.found.entry, stamp: carried(look.record.stamp, look.gone, true) };
}

/** The lease that was found, to be written again. */
export function keepLease(look: Look | undefined): Change {
  if (look?.lease === undefined) return {};
  return { lease: { ...look.lease, stamp: carried(look.lease.stamp, look.gone, false) } };
}

export function newLease(token: string, ms: number, awaited = false): Change {
  return { lease: { token, ms, awaited, stamp: stampNow() } };
}

/** The record of a change, with the lifetime that the item needs. */
export function recordOf(change: Change, key: string | undefined): Record {
  const { entry, lease, stamp = stampNow() } = change;
  const lives = entry === undefined ? 0 : entry.ttl + entry.grace - longestSince(stamp, 0);
  const leased = lease === undefined ? 0 : lease.ms - shortestSince(lease.stamp, 0);
  const seconds = Math.ceil(Math.max(0, lives, leased) / 1_000) + MARGIN;
  return { seconds: Math.min(LONGEST, seconds), entry, stamp, lease, key };
}

/** An item with at least this many seconds left holds an entry that is alive, if it holds one and no lease. */
export const SURELY_ALIVE = MARGIN + 2;
