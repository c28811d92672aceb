import { randomBytes } from "node:crypto";
import { systemClock } from "../../base/clock.ts";

/**
 * When something was written, without any wall clock. The process that wrote it goes by its own monotonic
 * clock, to the millisecond. All others go by the server: the item's lifetime runs down in whole seconds of
 * the server's clock, so what is gone of it tells how long ago it was written, give or take one.
 */
export interface Stamp {
  /** The process, by a random number. */
  readonly writer: bigint;
  /** By that process's clock, in milliseconds. */
  readonly at: number;
  /** Whole seconds that had passed when the item was last written. */
  readonly seconds: number;
}

export const STAMP_SIZE = 8 + 8 + 4;

/** Of this process and thread. */
const WRITER = randomBytes(8).readBigUInt64LE();
const clock = systemClock();
/**
 * The server's clock moves once a second and shows whole seconds: between two looks at it the real time and
 * the shown time differ by less than this.
 */
const TICK = 1_000;

export function stampNow(): Stamp {
  return { writer: WRITER, at: clock.now(), seconds: 0 };
}

/** Milliseconds of this process's clock. */
export function monotonic(): number {
  return clock.now();
}

/** Seconds of the server's clock since an item was written. */
export function secondsGone(lifetime: number, left: number): number {
  return Math.max(0, lifetime - left);
}

/** Longest time in milliseconds since the stamp: what lives by it may end early, never late. */
export function longestSince({ writer, at, seconds }: Stamp, gone: number): number {
  return writer === WRITER ? Math.max(0, clock.now() - at) : (seconds + gone) * 1_000 + TICK;
}

/** Shortest time in milliseconds since the stamp: what others must not take over lives by it. */
export function shortestSince({ writer, at, seconds }: Stamp, gone: number): number {
  // One tick for the two looks, one that a mark on the record may have added.
  return writer === WRITER ? Math.max(0, clock.now() - at) : Math.max(0, (seconds + gone) * 1_000 - 2 * TICK);
}

/** The stamp in an item that is written anew: what is gone by then is kept, never less than it was. */
export function carried(stamp: Stamp, gone: number, atLeast: boolean): Stamp {
  // The clock may tick between the look and the write.
  return { ...stamp, seconds: stamp.seconds + gone + (atLeast ? 1 : 0) };
}

export function writeStamp(record: Buffer, at: number, stamp: Stamp): number {
  const next = record.writeBigUInt64LE(stamp.writer, at);
  return record.writeUInt32LE(stamp.seconds, record.writeDoubleLE(stamp.at, next));
}

export function readStamp(record: Buffer, at: number): Stamp {
  return {
    writer: record.readBigUInt64LE(at),
    at: record.readDoubleLE(at + 8),
    seconds: record.readUInt32LE(at + 16),
  };
}
