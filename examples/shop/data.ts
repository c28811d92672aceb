import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dataName, renameData } from "./data-name.ts";
import { connectPostgres, type Database, openPglite } from "./database.ts";
import { withoutLogin } from "./layers.ts";
import { seed } from "./seed.ts";
import { SettingError, type Settings } from "./settings.ts";

/** The shop's data: the filled database, and where disk layers may keep theirs. */
export interface ShopData {
  readonly database: Database;
  /** Whether the database was filled just now. */
  readonly seeded: boolean;
  /** Of this data and no other, wherever it is asked from. */
  readonly name: string;
  /** The folder of the disk layer called `name`, belonging to this database. */
  cacheFolder(name: string): string;
  close(): Promise<void>;
}

/**
 * Opens the shop's data folder, and fills the database when that was not finished before. Cached values of a
 * database that is filled anew are removed with it, and so are those in layers that were not in use the last
 * time: they have missed what was changed since.
 * @throws {SettingError} when another process has the folder open, or the database cannot be opened.
 */
export async function openData(settings: Settings, say: (line: string) => void): Promise<ShopData> {
  await mkdir(settings.data, { recursive: true });
  const unlock = await lock(settings.data);
  try {
    const database = await openDatabase(settings);
    const ready = join(settings.data, "database.ready");
    const suffix = settings.databaseUrl === undefined ? "" : `-${digest(settings.databaseUrl).slice(0, 8)}`;
    const cacheFolder = (name: string) => join(settings.data, `${name}${suffix}`);
    const seeded = await seed(database, settings.products, () =>
      say(`Generating ${settings.products} products, their users and orders (once; takes some seconds) ...`),
    );
    const layers = layersName(settings);
    let name = await dataName(database, layers);
    if (name === undefined) {
      // Removed before the name says that all is well: killed in between, the next start removes it again.
      await rm(cacheFolder("cache"), { recursive: true, force: true });
      name = await renameData(database, layers);
    }
    if (settings.databaseUrl === undefined)
      await writeFile(ready, "The database beside this file is complete.\n");
    return {
      database,
      seeded,
      name,
      cacheFolder,
      async close() {
        await database.close();
        await unlock();
      },
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** Tells one choice of shared layers from another, and nothing of how to log in to them. */
function layersName({ memcachedUrl, redisUrl }: Settings): string {
  const urls = [memcachedUrl, redisUrl].filter((url) => url !== undefined);
  return urls.length === 0 ? "disk" : digest(urls.map(withoutLogin).join(" ")).slice(0, 16);
}

async function openDatabase(settings: Settings): Promise<Database> {
  const folder = join(settings.data, "database");
  try {
    if (settings.databaseUrl !== undefined) return await connectPostgres(settings.databaseUrl);
    // Killed while PostgreSQL made its files, they may be half there: only a folder marked complete is opened.
    if (!existsSync(`${folder}.ready`)) await rm(folder, { recursive: true, force: true });
    return await openPglite(folder);
  } catch (error) {
    throw new SettingError(
      `The database ${settings.databaseUrl === undefined ? `in ${folder}` : "of DATABASE_URL"} cannot be opened: ` +
        `${error instanceof Error ? error.message : error}. ` +
        (settings.databaseUrl === undefined
          ? "Delete that folder to have it made anew."
          : "Is the server up?"),
      { cause: error },
    );
  }
}

/**
 * Two processes on one PGlite folder would destroy it, and PGlite does not stop them. Listening on a local
 * socket named after the folder does: the system ends it with the process, however that dies.
 */
async function lock(folder: string): Promise<() => Promise<void>> {
  const address = lockAddress(folder);
  if (await answers(address))
    throw new SettingError(
      `Another process works on ${folder}: stop it first, or set SHOP_DATA to another folder.`,
    );
  if (process.platform !== "win32") await rm(address, { force: true });
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((done, fail) => server.once("error", fail).listen(address, done));
  server.unref();
  return () => new Promise((done) => server.close(() => done()));
}

/** In the folder itself where its path is short enough for a socket's (107 bytes on Linux, fewer elsewhere). */
function lockAddress(folder: string): string {
  const name = `caching-universal-shop-${digest(folder).slice(0, 16)}`;
  if (process.platform === "win32") return `\\\\.\\pipe\\${name}`;
  const inside = join(folder, "lock.sock");
  return Buffer.byteLength(inside) <= 100 ? inside : join(tmpdir(), `${name}.sock`);
}

function answers(address: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = createConnection(address);
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
