import { closeSync, fstatSync, lstatSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { StoreError } from "../../base/errors.ts";

/** LMDB's meta pages (lmdb.h, data version 2 as the `lmdb` package writes it): where the fields of the first one are. */
const META = { magicAt: 24, pageSizeAt: 48, lastPageAt: 136, bytes: 160, magic: 0xbeefc0de } as const;

/** Trouble must be seen this often, so many milliseconds apart: another process may be making the file just now. */
const LOOKS = 3;
const BETWEEN_LOOKS = 50;

/** The lock that LMDB keeps beside a data file. */
const lockOf = (data: string): string => `${data}-lock`;

/**
 * Why a data file must not be opened. LMDB maps it into memory and trusts it: one that is damaged or shorter than
 * it says could end the process. So its head is checked here first; a page that is damaged further in makes
 * LMDB answer with an error (see {@link isDamage}).
 * @throws {StoreError} when it, or its lock, is not a plain file.
 */
export function dataTrouble(data: string): string | undefined {
  for (let look = 1; ; look++) {
    const trouble = headTrouble(data);
    if (trouble === undefined || look === LOOKS) return trouble;
    // Opening is synchronous, and this wait is for damaged files alone.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BETWEEN_LOOKS);
  }
}

function headTrouble(data: string): string | undefined {
  for (const path of [data, lockOf(data)])
    if (lstatSync(path, { throwIfNoEntry: false })?.isFile() === false)
      throw new StoreError(`"${path}" is not a plain file. Give another folder with disk({ path }).`);
  if (identity(data) === undefined) return undefined;
  const file = openSync(data, "r");
  try {
    const { size } = fstatSync(file);
    if (size === 0) return undefined;
    const first = Buffer.alloc(META.bytes);
    if (readSync(file, first, 0, META.bytes, 0) < META.bytes) return "its file is cut short";
    if (first.readUInt32LE(META.magicAt) !== META.magic) return "its file is damaged at the start";
    const pageSize = first.readUInt32LE(META.pageSizeAt);
    const second = Buffer.alloc(META.bytes);
    if (pageSize < 256 || readSync(file, second, 0, META.bytes, pageSize) < META.bytes)
      return "its file is cut short";
    if (second.readUInt32LE(META.magicAt) !== META.magic) return "its file is damaged near the start";
    const lastPage = Math.max(
      ...[first, second].map((meta) => Number(meta.readBigUInt64LE(META.lastPageAt))),
    );
    return (lastPage + 1) * pageSize > size ? "its file is cut short" : undefined;
  } finally {
    closeSync(file);
  }
}

/** Deletes a data file. Processes that have it open notice that it is another one now. */
export function discard(data: string): void {
  for (const path of [data, lockOf(data)]) rmSync(path, { force: true });
}

/** Makes the file if it is not there, for its owner alone. */
export function touchFile(data: string): void {
  closeSync(openSync(data, "a", 0o600));
}

/** Tells the file at a path from one that replaces it; undefined when there is none. A file held open keeps its own. */
export function identity(data: string): string | undefined {
  const stats = statSync(data, { throwIfNoEntry: false });
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`;
}

/** MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_PANIC, MDB_VERSION_MISMATCH, MDB_INVALID (lmdb.h). */
const DAMAGE: ReadonlySet<unknown> = new Set([-30797, -30796, -30795, -30794, -30793]);

/** Whether LMDB says that the file itself is damaged, and not that memory, rights or space are missing. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && "code" in error && DAMAGE.has(error.code);
}
