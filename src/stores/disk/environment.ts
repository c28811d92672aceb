import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { reason, StoreError } from "../../base/errors.ts";
import { discard, identity, isDamage, touchFile } from "./data-file.ts";
import { prepareFolder } from "./folder.ts";
import { WriteQueue } from "./write-queue.ts";

/** A table of bytes to bytes. */
export type Table = Database<Buffer, Buffer>;
type Root = RootDatabase<Buffer, Buffer>;

/** LMDB must not be opened twice in one process: the caches of a folder share one environment. */
const opened = new Map<string, Environment>();
const BINARY = { encoding: "binary", keyEncoding: "binary" } as const;
/** Tries to open a file that others replace at the same time. */
const TRIES = 5;

/** Opens (or joins) the environment of a folder. @throws {StoreError} saying what to do. */
export function openEnvironment(path: string, warn: (message: string) => void): Environment {
  const data = prepareFolder(path, warn);
  const id = realpathSync(dirname(data));
  const environment = opened.get(id) ?? new Environment(path, data, warn, () => opened.delete(id));
  opened.set(id, environment);
  environment.join();
  return environment;
}

/**
 * An opened LMDB file. While it is open the file may be deleted or replaced (somebody emptied the cache folder,
 * or another process rebuilt it): that is noticed, and the new file opened, since whoever stays with the old one
 * hears nothing of the others any more.
 */
export class Environment {
  readonly #path: string;
  readonly #data: string;
  readonly #warn: (message: string) => void;
  readonly #closed: () => void;
  readonly #writes: WriteQueue;
  #root: Root | undefined;
  #identity: string | undefined;
  #tables = new Map<string, Table>();
  #users = 0;
  /** Set when LMDB said that the file is damaged: it is rebuilt at the next look. */
  #damage: string | undefined;

  constructor(path: string, data: string, warn: (message: string) => void, closed: () => void) {
    this.#path = path;
    this.#data = data;
    this.#warn = warn;
    this.#closed = closed;
    this.#writes = new WriteQueue({
      root: () => this.#current(),
      verify: () => this.verify(),
      failed: (error) => this.#note(error),
    });
    this.#open();
  }

  join(): void {
    this.#users++;
  }

  async release(): Promise<void> {
    if (--this.#users > 0) return;
    await this.#writes.idle();
    if (this.#users > 0) return; // joined again meanwhile
    this.#closed();
    await this.#close();
  }

  /** A table of the file that is open now; not to be kept. */
  table(name: string): Table {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const table = this.#guarded(() => this.#current().openDB<Buffer, Buffer>({ name, ...BINARY }));
    this.#tables.set(name, table);
    return table;
  }

  /** Runs `work` in a write transaction shared with others; resolves once it is committed and seen by all processes. */
  write<T>(work: () => T): Promise<T> {
    return this.#writes.add(work);
  }

  /** Runs `work` in a write transaction of its own, at once. */
  writeNow<T>(work: () => T): T {
    return this.#guarded(() => this.#current().transactionSync(work));
  }

  /** Runs `look` on what all processes have committed until now. */
  read<T>(look: () => T): T {
    return this.#guarded(() => {
      this.#current().resetReadTxn();
      return look();
    });
  }

  /**
   * Looks whether the file is still in its place (some 2 µs). False: it was not; a new one is open now.
   * @throws {StoreError} when it was not, and there is no new one either.
   */
  verify(): boolean {
    if (this.#root !== undefined && this.#damage === undefined && identity(this.#data) === this.#identity)
      return true;
    const why = this.#damage ?? "its file was removed or replaced";
    if (this.#damage !== undefined && identity(this.#data) === this.#identity) discard(this.#data);
    this.#damage = undefined;
    void this.#close();
    prepareFolder(this.#path, this.#warn);
    this.#open();
    this.#warn(`The disk store in "${dirname(this.#data)}" was opened anew: ${why}.`);
    return false;
  }

  /** Frees what processes that were killed still hold. */
  freeDeadReaders(): void {
    this.#root?.readerCheck();
  }

  #current(): Root {
    if (this.#root === undefined)
      throw new StoreError(`The disk store in "${dirname(this.#data)}" is not open.`);
    return this.#root;
  }

  #open(): void {
    for (let tries = 1; ; tries++) {
      // Made before it is opened: only then is it sure which file LMDB has opened.
      touchFile(this.#data);
      const before = identity(this.#data);
      const root = openRoot(this.#data, this.#warn);
      if (root !== undefined && identity(this.#data) === before) {
        this.#root = root;
        this.#identity = before;
        return;
      }
      void root?.close();
      if (tries === TRIES)
        throw new StoreError(`The disk store in "${dirname(this.#data)}" is replaced again and again.`);
    }
  }

  async #close(): Promise<void> {
    const root = this.#root;
    this.#root = undefined;
    this.#tables = new Map();
    await root?.close();
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  #note(error: unknown): void {
    if (isDamage(error)) this.#damage = `its file is damaged (${reason(error)})`;
  }
}

/** Undefined when LMDB found the file damaged: then it is gone. */
function openRoot(data: string, warn: (message: string) => void): Root | undefined {
  // Our own queue makes the batches; with lmdb's, the failure of a commit would be an unhandled rejection.
  const options = { path: data, noSubdir: true, maxDbs: 512, maxReaders: 512, eventTurnBatching: false };
  try {
    return loadLmdb().open<Buffer, Buffer>({ ...options, ...BINARY });
  } catch (error) {
    if (error instanceof StoreError) throw error;
    if (!isDamage(error))
      throw new StoreError(`The disk store in "${dirname(data)}" cannot be opened: ${reason(error)}.`, {
        cause: error,
      });
    warn(`The disk store in "${dirname(data)}" is rebuilt empty: LMDB refused it (${reason(error)}).`);
    discard(data);
    return undefined;
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
