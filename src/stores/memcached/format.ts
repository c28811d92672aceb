import type { StoredEntry } from "../store.ts";
import { readStamp, STAMP_SIZE, type Stamp, writeStamp } from "./stamp.ts";

/** Version of the layout below. A record of another version is a miss. */
const VERSION = 1;
const HAS_ENTRY = 1;
const HAS_LEASE = 2;
const HAS_KEY = 4;
const AWAITED = 8;
/** version, flags, lifetime in seconds that the item was written with. */
const HEAD = 1 + 1 + 4;
const TOKEN = 16;
const LEASE = TOKEN + 8 + STAMP_SIZE;
/** Five doubles, shape, tag count, generation length. */
const ENTRY = 5 * 8 + 4 + 4 + 2;

/** The lease of a key, as its record keeps it. */
export interface Lease {
  /** Sixteen characters. */
  readonly token: string;
  readonly ms: number;
  readonly stamp: Stamp;
  /** Somebody was told "busy". */
  readonly awaited: boolean;
}

/** What the item of a key holds: an entry, a lease, or both. */
export interface Record {
  /** Lifetime in seconds that the item was written with: what is gone of it is how long ago that was. */
  readonly seconds: number;
  readonly entry: StoredEntry | undefined;
  /** When the entry was stored. */
  readonly stamp: Stamp;
  readonly lease: Lease | undefined;
  /** The key, in items that go by its hash. */
  readonly key: string | undefined;
}

/** Layout: head, lease, key, entry with generation, tags and value. Numbers are little-endian. */
export function encodeRecord({ seconds, entry, stamp, lease, key }: Record): Buffer {
  const keyBytes = key === undefined ? undefined : Buffer.from(key, "utf16le");
  const generation = Buffer.from(entry?.generation ?? "");
  const tags = (entry?.tags ?? []).map((tag) => Buffer.from(tag));
  const size =
    HEAD +
    (lease === undefined ? 0 : LEASE) +
    (keyBytes === undefined ? 0 : 4 + keyBytes.length) +
    (entry === undefined ? 0 : STAMP_SIZE + ENTRY + generation.length + entry.value.length) +
    tags.reduce((sum, tag) => sum + 4 + tag.length, 0);
  const record = Buffer.allocUnsafe(size);
  record[0] = VERSION;
  record[1] =
    (entry === undefined ? 0 : HAS_ENTRY) |
    (lease === undefined ? 0 : HAS_LEASE | (lease.awaited ? AWAITED : 0)) |
    (keyBytes === undefined ? 0 : HAS_KEY);
  let at = record.writeUInt32LE(seconds, 2);
  if (lease !== undefined) {
    at += record.write(lease.token.padEnd(TOKEN).slice(0, TOKEN), at, "latin1");
    at = writeStamp(record, record.writeDoubleLE(lease.ms, at), lease.stamp);
  }
  if (keyBytes !== undefined) at = record.writeUInt32LE(keyBytes.length, at) + keyBytes.copy(record, at + 4);
  if (entry === undefined) return record;
  at = writeStamp(record, at, stamp);
  for (const number of [entry.ttl, entry.grace, entry.asOf, entry.cost, entry.sliding])
    at = record.writeDoubleLE(number, at);
  at = record.writeUInt32LE(entry.shape, at);
  at = record.writeUInt32LE(tags.length, at);
  at = record.writeUInt16LE(generation.length, at);
  at += generation.copy(record, at);
  for (const tag of tags) {
    at = record.writeUInt32LE(tag.length, at);
    at += tag.copy(record, at);
  }
  record.set(entry.value, at);
  return record;
}

/** The parsed record, its value copied out; undefined for what was not written by `encodeRecord`. */
export function decodeRecord(record: Buffer): Record | undefined {
  if (record.length < HEAD || record[0] !== VERSION) return undefined;
  try {
    return decode(record);
  } catch (error) {
    if (error instanceof RangeError) return undefined; // shorter than it says
    throw error;
  }
}

function decode(record: Buffer): Record | undefined {
  const flags = record.readUInt8(1);
  const seconds = record.readUInt32LE(2);
  let at = HEAD;
  const text = (length: number, encoding: "utf8" | "utf16le" | "latin1"): string => {
    if (at + length > record.length) throw new RangeError("shorter than it says");
    at += length;
    return record.toString(encoding, at - length, at);
  };
  const u32 = (): number => {
    at += 4;
    return record.readUInt32LE(at - 4);
  };
  const double = (): number => {
    at += 8;
    return record.readDoubleLE(at - 8);
  };
  const stamp = (): Stamp => {
    at += STAMP_SIZE;
    return readStamp(record, at - STAMP_SIZE);
  };
  let lease: Lease | undefined;
  if ((flags & HAS_LEASE) !== 0) {
    const token = text(TOKEN, "latin1");
    lease = { token, ms: double(), stamp: stamp(), awaited: (flags & AWAITED) !== 0 };
  }
  const key = (flags & HAS_KEY) === 0 ? undefined : text(u32(), "utf16le");
  if ((flags & HAS_ENTRY) === 0) return { seconds, entry: undefined, stamp: NO_STAMP, lease, key };
  const stored = stamp();
  const [ttl, grace, asOf, cost, sliding] = [double(), double(), double(), double(), double()];
  const shape = u32();
  const count = u32();
  at += 2;
  const generation = text(record.readUInt16LE(at - 2), "utf8");
  const tags: string[] = [];
  for (let i = 0; i < count; i++) tags.push(text(u32(), "utf8"));
  const value = new Uint8Array(record.subarray(at));
  const entry = { value, ttl, grace, asOf, generation, tags, cost, sliding, shape };
  return { seconds, entry, stamp: stored, lease, key };
}

const NO_STAMP: Stamp = { writer: 0n, at: 0, seconds: 0 };

/** The record with the mark that somebody waits for its lease; all else as it is. */
export function markAwaited(record: Buffer): Buffer {
  const marked = Buffer.from(record);
  marked[1] = record.readUInt8(1) | AWAITED;
  return marked;
}

/** Flags of the item: what a walk has to know without the value. */
export function itemFlags({ entry, lease }: Pick<Record, "entry" | "lease">): number {
  if (entry === undefined) return 0;
  return ((generationBits(entry.generation) << 2) | (lease === undefined ? 1 : 3)) >>> 0;
}

/** Whether the item with these flags holds an entry; of this generation, when one is given. */
export function holdsEntry(flags: number, generation?: string): boolean {
  return (flags & 1) === 1 && (generation === undefined || flags >>> 2 === generationBits(generation));
}

/** Whether a lease lies beside the entry: then the item may outlive it. */
export function holdsLease(flags: number): boolean {
  return (flags & 2) === 2;
}

/** 30 bits of a generation's name. Two that share them are told apart by whoever reads the entry. */
function generationBits(generation: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(generation)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 2;
}
