import { RefusedError } from "../../base/errors.ts";
import type { FoundEntry, StoredEntry } from "../store.ts";
import type { EncodedRecord, Lifetime } from "./record.ts";

/** First byte of an entry, and of a lease. */
export const ENTRY = 1;
export const LEASE = 2;
/** Flags: which of the facts that most entries do not have are there. */
const GRACE = 1;
const SLIDING = 2;
const COST = 4;
const SHAPE = 8;
const TAGS = 16;
/** `asOf` is a double, because it does not fit into 48 bits. */
const WIDE = 32;
/** The generation is the bytes that its name is the base64url text of. */
const PACKED = 64;
/** 40 bits, all ones: a span without end. */
export const INFINITE = 2 ** 40 - 1;
/** Type, flags, storedAt (6 bytes), ttl (5), asOf (6). */
const FIXED = 19;
/** Where ttl and asOf are. */
const TTL_AT = 8;
const AS_OF_AT = 13;
const LARGEST_AS_OF = 2 ** 48 - 1;

/** An entry in the binary layout of docs/redis.md. The server fills in `storedAt`. */
export function encodeBinary(entry: StoredEntry, { ttl, grace }: Lifetime): EncodedRecord {
  const { packed, bytes: generation } = generationBytes(entry.generation);
  const wide = !Number.isInteger(entry.asOf) || entry.asOf < 0 || entry.asOf > LARGEST_AS_OF;
  const sliding = Math.ceil(entry.sliding);
  const tags = entry.tags.map((tag) => Buffer.from(tag));
  const flags =
    (grace > 0 ? GRACE : 0) |
    (sliding > 0 ? SLIDING : 0) |
    (entry.cost > 0 ? COST : 0) |
    (entry.shape === 0 ? 0 : SHAPE) |
    (tags.length > 0 ? TAGS : 0) |
    (wide ? WIDE : 0) |
    (packed ? PACKED : 0);
  const most = FIXED + 2 + 5 + 1 + generation.length + 5 + 2 + 4 + 5;
  const size = tags.reduce((sum, tag) => sum + 5 + tag.length, most + entry.value.length);
  const record = Buffer.allocUnsafe(size);
  record[0] = ENTRY;
  record[1] = flags;
  record.writeUIntBE(0, 2, 6);
  let at = record.writeUIntBE(Math.min(ttl, INFINITE), TTL_AT, 5);
  at = wide ? record.writeDoubleBE(entry.asOf, at) : record.writeUIntBE(entry.asOf, at, 6);
  if (grace > 0) at = record.writeUIntBE(Math.min(grace, INFINITE), at, 5);
  at = record.writeUInt8(generation.length, at);
  at += generation.copy(record, at);
  if (sliding > 0) at = record.writeUIntBE(Math.min(sliding, INFINITE), at, 5);
  if (entry.cost > 0) at = record.writeUInt16BE(shortFloat(entry.cost), at);
  if (entry.shape !== 0) at = record.writeUInt32BE(entry.shape, at);
  if (tags.length > 0) {
    at = writeCount(record, tags.length, at);
    for (const tag of tags) {
      at = writeCount(record, tag.length, at);
      at += tag.copy(record, at);
    }
  }
  record.set(entry.value, at);
  return record.subarray(0, at + entry.value.length);
}

/** The entry that begins at `start`; undefined for anything else. Its value shares memory with `record`. */
export function decodeBinary(record: Buffer, start: number, now: number): FoundEntry | undefined {
  if (record[start] !== ENTRY || record.length < start + FIXED + 1) return undefined;
  const flags = record[start + 1] ?? 0;
  const age = Math.max(0, now - record.readUIntBE(start + 2, 6));
  const ttl = span(record.readUIntBE(start + TTL_AT, 5));
  if ((flags & ~PACKED) !== 0) return decodeFull(record, start, flags, ttl, age);
  // Most entries: nothing but the facts that every entry has.
  const from = start + FIXED + 1;
  const at = from + (record[start + FIXED] ?? 0);
  if (at > record.length) return undefined;
  const asOf = record.readUIntBE(start + AS_OF_AT, 6);
  const generation = generationOf(record, from, at, flags);
  const value = record.subarray(at);
  const entry = { value, ttl, grace: 0, asOf, generation, tags: NO_TAGS, cost: 0, sliding: 0, shape: 0 };
  return { entry, age };
}

const NO_TAGS: readonly string[] = Object.freeze([]);

function decodeFull(
  record: Buffer,
  start: number,
  flags: number,
  ttl: number,
  age: number,
): FoundEntry | undefined {
  let at = start + FIXED;
  const number = (bytes: number): number => {
    at += bytes;
    return record.readUIntBE(at - bytes, bytes);
  };
  const skip = (length: number): number => {
    if (at + length > record.length) throw new RangeError("cut off");
    at += length;
    return at - length;
  };
  const text = (length: number): string => record.toString("utf8", skip(length), at);
  const count = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = record.readUInt8(at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      if (factor > 2 ** 28) throw new RangeError("too long");
    }
  };
  // What is cut off ends in a RangeError of one of these reads.
  try {
    let asOf = record.readUIntBE(start + AS_OF_AT, 6);
    if ((flags & WIDE) !== 0) {
      asOf = record.readDoubleBE(start + AS_OF_AT);
      at += 2;
    }
    const grace = (flags & GRACE) === 0 ? 0 : span(number(5));
    const generation = generationOf(record, skip(number(1)), at, flags);
    const sliding = (flags & SLIDING) === 0 ? 0 : span(number(5));
    const cost = (flags & COST) === 0 ? 0 : longFloat(number(2));
    const shape = (flags & SHAPE) === 0 ? 0 : number(4);
    const tags: string[] = [];
    if ((flags & TAGS) !== 0) for (let left = count(); left > 0; left--) tags.push(text(count()));
    const entry = { value: record.subarray(at), ttl, grace, asOf, generation, tags, cost, sliding, shape };
    return { entry, age };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Nearly all entries are of one generation: its text is made once. */
let read = { packed: false, bytes: Buffer.alloc(0), name: "" };

function generationOf(record: Buffer, from: number, to: number, flags: number): string {
  const packed = (flags & PACKED) !== 0;
  const { bytes } = read;
  const same = read.packed === packed && bytes.length === to - from;
  if (same && record.compare(bytes, 0, bytes.length, from, to) === 0) return read.name;
  const name = record.toString(packed ? "base64url" : "utf8", from, to);
  read = { packed, bytes: Buffer.from(record.subarray(from, to)), name };
  return name;
}

/** Where the entry behind a lease begins. */
export function afterLease(record: Buffer): number {
  return record.length < 9 ? record.length : 9 + (record[8] ?? 0);
}

function span(ms: number): number {
  return ms === INFINITE ? Number.POSITIVE_INFINITY : ms;
}

/** Seven bits a byte, the lowest first; the eighth says that more follow (LEB128). */
function writeCount(record: Buffer, count: number, at: number): number {
  let left = count;
  let next = at;
  for (; left > 127; left = Math.floor(left / 128)) next = record.writeUInt8((left % 128) | 128, next);
  return record.writeUInt8(left, next);
}

let last = { name: "", packed: false, bytes: Buffer.alloc(0) };

/** A generation as records have it. All entries of a process are of the same one, as a rule. */
export function generationBytes(name: string): { readonly packed: boolean; readonly bytes: Buffer } {
  if (last.name === name) return last;
  const plain = Buffer.from(name);
  const short = Buffer.from(name, "base64url");
  const packed = short.toString("base64url") === name;
  const bytes = packed ? short : plain;
  if (bytes.length > 255) throw new RefusedError("A generation's name takes at most 255 bytes.");
  last = { name, packed, bytes };
  return last;
}

const floats = new DataView(new ArrayBuffer(4));

/** The upper half of a single float, rounded: within 0.4 percent, which is enough for a cost. */
function shortFloat(value: number): number {
  floats.setFloat32(0, Math.min(value, 1e38));
  return (floats.getUint32(0) + 0x7fff + (floats.getUint16(0) & 1)) >>> 16;
}

function longFloat(short: number): number {
  floats.setUint32(0, short * 65_536);
  return floats.getFloat32(0);
}
