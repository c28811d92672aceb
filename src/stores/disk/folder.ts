import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { reason, StoreError } from "../../base/errors.ts";
import { dataTrouble, discard } from "./data-file.ts";

/** Marks a folder as ours, with the version of its layout. */
const MARKER = "caching-universal.json";
const MARK = { what: "disk store of caching-universal", layout: 1 } as const;
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
 * deleted, with a warning: it is a cache. What is not ours is left alone. Many processes may do this at once.
 * @throws {StoreError} when the folder cannot be used.
 */
export function prepareFolder(path: string, warn: (message: string) => void): string {
  const folder = resolve(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const trouble = layoutTrouble(folder) ?? dataTrouble(join(folder, DATA));
    if (trouble !== undefined) {
      warn(`The disk store in "${folder}" is rebuilt empty: ${trouble}.`);
      discard(join(folder, DATA));
      mark(folder);
    }
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError(
      `The disk store's folder "${folder}" cannot be used: ${reason(error)}. Give another with disk({ path }).`,
      { cause: error },
    );
  }
  return join(folder, DATA);
}

/** Why the data of a folder of ours cannot be read by this version. @throws {StoreError} when it is not ours. */
function layoutTrouble(folder: string): string | undefined {
  if (!isMarked(folder)) {
    const inside = readdirSync(folder).filter((name) => !name.startsWith(MARKER));
    // Another process may have made it ours in the meantime: it marks first and fills then.
    if (inside.length > 0 && !isMarked(folder))
      throw new StoreError(
        `The folder "${folder}" holds files that are not of a disk store (${inside.slice(0, 3).join(", ")}). Give an empty one with disk({ path }).`,
      );
    mark(folder);
  }
  const { what, layout } = readMark(folder);
  if (what !== MARK.what)
    throw new StoreError(
      `The file "${join(folder, MARKER)}" was not made by a disk store. Give another folder with disk({ path }).`,
    );
  return layout === MARK.layout ? undefined : "it has the layout of another version";
}

function isMarked(folder: string): boolean {
  const stats = lstatSync(join(folder, MARKER), { throwIfNoEntry: false });
  if (stats?.isFile() === false)
    throw new StoreError(
      `"${join(folder, MARKER)}" is not a plain file. Give another folder with disk({ path }).`,
    );
  return stats !== undefined;
}

function readMark(folder: string): { what?: unknown; layout?: unknown } {
  try {
    const mark: unknown = JSON.parse(readFileSync(join(folder, MARKER), "utf8"));
    return typeof mark === "object" && mark !== null ? mark : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** In one step, so that no other process ever sees an empty or half a marker. */
function mark(folder: string): void {
  const temporary = join(folder, `${MARKER}.${randomBytes(6).toString("hex")}`);
  writeFileSync(temporary, `${JSON.stringify(MARK)}\n`, { mode: 0o600, flag: "wx" });
  renameSync(temporary, join(folder, MARKER));
}
