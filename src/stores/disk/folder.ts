import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { reason, StoreError } from "../../base/errors.ts";

/** Marks a folder as ours, with the version of its layout. */
const MARKER = "caching-universal.json";
const WHAT = "disk store of caching-universal";
const MARK = JSON.stringify({ what: WHAT, layout: 2 });
const DATA = "cache.lmdb";

/** Where a cache's disk store is when no path is given: per user, `$XDG_CACHE_HOME` or `~/.cache`. */
export function defaultFolder(cacheName: string): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(
    base !== undefined && base !== "" ? base : join(homedir(), ".cache"),
    "caching-universal",
    cacheName,
  );
}

/**
 * Makes a folder ready to be opened and answers with the path of its data file. What is ours but damaged is
 * deleted, with a warning: it is a cache. What is not ours is left alone.
 * @throws {StoreError} when the folder cannot be used.
 */
export function prepareFolder(path: string, warn: (message: string) => void): string {
  const folder = resolve(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StoreError(
      `The disk store's folder "${folder}" cannot be made: ${reason(error)}. Give another with disk({ path }).`,
      { cause: error },
    );
  }
  const marker = join(folder, MARKER);
  const data = join(folder, DATA);
  for (const file of [marker, data, `${data}-lock`]) refuseLink(file);
  if (!existsSync(marker)) {
    const inside = readdirSync(folder);
    // Another process may be making it at the same moment.
    const foreign = inside.some((file) => !file.startsWith(MARKER)) && !existsSync(marker);
    if (foreign)
      throw new StoreError(
        `The folder "${folder}" holds files that are not of a disk store (${inside.slice(0, 3).join(", ")}). Give an empty one with disk({ path }).`,
      );
    write(marker);
  }
  const trouble = layoutTrouble(marker) ?? dataTrouble(data);
  if (trouble !== undefined) {
    warn(`The disk store in "${folder}" is rebuilt empty: ${trouble}.`);
    for (const file of [data, `${data}-lock`]) rmSync(file, { force: true });
    write(marker);
  }
  return data;
}

/** Deletes the data of a store that LMDB itself refused to open. */
export function discard(data: string): void {
  for (const file of [data, `${data}-lock`]) rmSync(file, { force: true });
}

function write(marker: string): void {
  try {
    // Renamed into place, so that no other process ever sees half of it.
    const draft = `${marker}.${process.pid}`;
    writeFileSync(draft, `${MARK}\n`, { mode: 0o600 });
    renameSync(draft, marker);
  } catch (error) {
    throw new StoreError(
      `The disk store cannot write "${marker}": ${reason(error)}. Give another folder with disk({ path }).`,
      { cause: error },
    );
  }
}

/** A link could lead to a file that is not ours, also when there is nothing at its end yet. */
function refuseLink(file: string): void {
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false)
    throw new StoreError(`"${file}" is not a plain file. Give another folder with disk({ path }).`);
}

function layoutTrouble(marker: string): string | undefined {
  const text = readFileSync(marker, "utf8").trim();
  if (!text.includes(WHAT))
    throw new StoreError(
      `The file "${marker}" was not made by a disk store. Give another folder with disk({ path }).`,
    );
  return text === MARK ? undefined : "it has the layout of another version";
}

/** LMDB's meta pages (lmdb.h, data version 2 as the `lmdb` package writes it): where the fields of the first one are. */
const META = { magicAt: 24, pageSizeAt: 48, lastPageAt: 136, bytes: 160, magic: 0xbeefc0de } as const;

/**
 * LMDB maps its file into memory and trusts it: a file that is damaged or shorter than it says could end the
 * process. So its head is checked here before it is opened.
 */
function dataTrouble(data: string): string | undefined {
  if (!existsSync(data)) return undefined;
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
