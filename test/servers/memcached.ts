// A private Memcached.
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type ControlledServer, controlled } from "./controlled.ts";
import { folderOnPath, launch, onFreePort, removeFolder, serverFolder } from "./process.ts";

/** How `startMemcached` starts one. */
export interface MemcachedOptions {
  /** The loopback port; a free one without. */
  readonly port?: number;
  /** Memory for items in MiB; as much as Memcached takes by itself (64) without. */
  readonly memory?: number;
  /** More arguments of the command line. */
  readonly args?: readonly string[];
}

/** A private Memcached; `url` is `memcached://127.0.0.1:<port>`. */
export interface MemcachedServer extends ControlledServer {
  /** Address and port, as clients of Memcached name servers. */
  readonly host: string;
}

/** Starts a Memcached on 127.0.0.1, without UDP. */
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const { args = [], memory } = options;
  const command = memcachedBinary();
  const folder = await serverFolder("memcached");
  // It writes this file once it listens: unlike an answer from the port, that can only be this process.
  const portFile = join(folder, "port");
  const start = async (port: number) => {
    const clear = () => rm(portFile, { force: true });
    const server = await controlled({
      url: `memcached://127.0.0.1:${port}`,
      port,
      start: async () => {
        await clear();
        return launch({
          command,
          args: [
            ...["-l", "127.0.0.1", "-p", String(port), "-U", "0"],
            // It refuses to run as root unless told so.
            ...(process.getuid?.() === 0 ? ["-u", "root"] : []),
            ...(memory === undefined ? [] : ["-m", String(memory)]),
            ...args,
          ],
          cwd: folder,
          env: { ...process.env, MEMCACHED_PORT_FILENAME: portFile },
          ready: () => existsSync(portFile),
        });
      },
      clear,
      remove: () => removeFolder(folder),
    });
    return Object.assign(server, { host: `127.0.0.1:${port}` });
  };
  try {
    return options.port === undefined ? await onFreePort(start) : await start(options.port);
  } catch (error) {
    await removeFolder(folder);
    throw error;
  }
}

function memcachedBinary(): string {
  const named = process.env.TEST_MEMCACHED_SERVER;
  if (named !== undefined && named !== "") return named;
  const folder = folderOnPath(["memcached"]);
  if (folder !== undefined) return join(folder, "memcached");
  throw new Error(
    "Memcached is not installed: run `bash scripts/install-servers.sh`, " +
      "or name the program in TEST_MEMCACHED_SERVER.",
  );
}
