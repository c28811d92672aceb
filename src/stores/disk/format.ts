import type { StoredEntry } from "../store.ts";

/** Version of the layout below. A record of another version is a miss, and goes with the next sweep. */
const VERSION = 2;
/** version, generation length, tag count (2 bytes), then eight doubles. */
const FIXED = 4 + 8 * 8;

/** An entry as a record of the disk store. */
export interface DiskRecord {
  readonly entry: StoredEntry;
  /** Wall clock of the machine when it was stored or last touched, in milliseconds. */
  readonly storedAt: number;
  /** Place in the order of writing: its key in the eviction index. */
  readonly order: number;
}

/** Layout: fixed head, generation, tags (each behind a 2-byte length), value. Numbers are little-endian. */
export function encodeRecord({ entry, storedAt, order }: DiskRecord): Buffer {
  const generation = Buffer.from(entry.generation);
  const tags = entry.tags.map((tag) => Buffer.from(tag));
  const size = tags.reduce(
    (sum, tag) => sum + 2 + tag.length,
    FIXED + generation.length + entry.value.length,
  );
  const record = Buffer.allocUnsafe(size);
  record[0] = VERSION;
  record[1] = generation.length;
  record.writeUInt16LE(tags.length, 2);
  let at = 4;
  for (const number of [
    storedAt,
    order,
    entry.ttl,
    entry.grace,
    entry.asOf,
    entry.cost,
    entry.sliding,
    entry.shape,
  ])
    at = record.writeDoubleLE(number, at);
  at += generation.copy(record, at);
  for (const tag of tags) {
    at = record.writeUInt16LE(tag.length, at);
    at += tag.copy(record, at);
  }
  record.set(entry.value, at);
  return record;
}

/** The parsed record, its value copied out of `record`; undefined for what was not written by `encodeRecord`. */
export function decodeRecord(record: Buffer): DiskRecord | undefined {
  if (record.length < FIXED || record[0] !== VERSION) return undefined;
  const double = (index: number): number => record.readDoubleLE(4 + index * 8);
  const text = (from: number, length: number): string => record.toString("utf8", from, from + length);
  const tags: string[] = [];
  let at = FIXED + record.readUInt8(1);
  const generation = text(FIXED, record.readUInt8(1));
  for (let left = record.readUInt16LE(2); left > 0; left--) {
    if (at + 2 > record.length) return undefined;
    const length = record.readUInt16LE(at);
    tags.push(text(at + 2, length));
    at += 2 + length;
  }
  if (at > record.length) return undefined;
  const value = new Uint8Array(record.subarray(at));
  const entry: StoredEntry = {
    value,
    ttl: double(2),
    grace: double(3),
    asOf: double(4),
    generation,
    tags,
    cost: double(5),
    sliding: double(6),
    shape: double(7),
  };
  return { entry, storedAt: double(0), order: double(1) };
}

/** The place of a record in the order of writing, without parsing the rest. */
export function orderOf(record: Buffer): number {
  return record.length < FIXED ? 0 : record.readDoubleLE(12);
}
