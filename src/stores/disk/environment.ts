import { realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { reason, StoreError } from "../../base/errors.ts";
import { discard, prepareFolder } from "./folder.ts";
import { WriteQueue } from "./write-queue.ts";

/** A table of bytes to bytes. */
export type Table = Database<Buffer, Buffer>;

/** An opened LMDB environment, shared by all caches of this process that use its folder. */
export interface Environment {
  readonly root: RootDatabase<Buffer, Buffer>;
  table(name: string): Table;
  /** Runs `work` in a write transaction that is batched with others; resolves once it is committed. */
  write<T>(work: () => T): Promise<T>;
  /** Whether the file that was opened is gone, or another one is in its place. */
  isReplaced(): boolean;
  /** Makes the next read see what other processes have committed. */
  renew(): void;
  release(): Promise<void>;
}

interface Opened extends Environment {
  users: number;
}

/** What LMDB says of a damaged file (MDB_INVALID, MDB_CORRUPTED, MDB_VERSION_MISMATCH, MDB_PAGE_NOTFOUND). */
const DAMAGE = /not an LMDB file|invalid|corrupt|version mismatch|page not found/i;
/** Eight tables for each cache name. */
const MAX_TABLES = 4_096;

/** LMDB must not be opened twice in one process. */
const opened = new Map<string, Opened>();
const BINARY = { encoding: "binary", keyEncoding: "binary" } as const;

/** Opens (or joins) the environment of a folder. @throws {StoreError} saying what to do. */
export function openEnvironment(path: string, warn: (message: string) => void): Environment {
  const data = prepareFolder(path, warn);
  const id = realpathSync(dirname(data));
  const shared = opened.get(id);
  if (shared !== undefined) {
    shared.users++;
    return shared;
  }
  const root = openSound(data, warn);
  const file = inode(data);
  const tables = new Map<string, Table>();
  const writes = new WriteQueue((work) => committed(root.transaction(work)));
  const environment: Opened = {
    root,
    users: 1,
    table(name) {
      const table = tables.get(name) ?? root.openDB<Buffer, Buffer>({ name, ...BINARY });
      tables.set(name, table);
      return table;
    },
    write: (work) => writes.add(work),
    renew: () => root.resetReadTxn(),
    isReplaced: () => inode(data) !== file,
    async release() {
      if (--environment.users > 0) return;
      await writes.idle();
      if (environment.users > 0) return; // joined again meanwhile
      opened.delete(id);
      await root.close();
    },
  };
  opened.set(id, environment);
  return environment;
}

function inode(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? "none" : `${stats.dev}:${stats.ino}`;
}

/** Opens the file and each table in it; a damaged one is deleted and begun anew. */
function openSound(data: string, warn: (message: string) => void): RootDatabase<Buffer, Buffer> {
  let root: RootDatabase<Buffer, Buffer> | undefined;
  try {
    root = openRoot(data);
    for (const name of [...root.getKeys()]) root.openDB({ name: name.toString(), ...BINARY });
    return root;
  } catch (error) {
    if (!isDamage(error)) throw cannotOpen(data, error);
    // Of the deleted file: it is closed in the background.
    root?.close().catch(() => undefined);
    warn(`The disk store in "${dirname(data)}" is rebuilt empty: LMDB refused it (${reason(error)}).`);
  }
  discard(data);
  try {
    return openRoot(data);
  } catch (error) {
    throw cannotOpen(data, error);
  }
}

function openRoot(data: string): RootDatabase<Buffer, Buffer> {
  // One transaction a turn is also what `transaction` alone makes; lmdb's own batches leave the failure of a
  // commit to a promise that nobody has, which ends the process.
  const options = { eventTurnBatching: false, maxDbs: MAX_TABLES, maxReaders: 512, noSubdir: true };
  return loadLmdb().open<Buffer, Buffer>({ path: data, ...options, ...BINARY });
}

function isDamage(error: unknown): boolean {
  return !(error instanceof StoreError) && DAMAGE.test(reason(error));
}

function cannotOpen(data: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  return new StoreError(`The disk store in "${dirname(data)}" cannot be opened: ${reason(cause)}.`, {
    cause,
  });
}

/** What `write` resolves with; a failed commit as an error that says why. */
async function committed<T>(commit: Promise<T>): Promise<T> {
  try {
    return await commit;
  } catch (error) {
    if (!(error instanceof Error) || !("commitError" in error)) throw error;
    // lmdb tells why in a promise of its own, right after; not listened to, it would end the process.
    const why = await Promise.race([
      Promise.resolve(error.commitError).then(() => error.message, reason),
      new Promise<string>((resolve) => setImmediate(resolve, error.message)),
    ]);
    throw new StoreError(`The disk store could not write: ${why}.`, { cause: error });
  }
}

/** The optional peer dependency, loaded only when a disk store is opened. */
function loadLmdb(): typeof import("lmdb") {
  try {
    return createRequire(import.meta.url)("lmdb");
  } catch (error) {
    throw new StoreError(`disk() needs the package "lmdb": npm install lmdb (${reason(error)}).`, {
      cause: error,
    });
  }
}
