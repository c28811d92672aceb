// A private PostgreSQL.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown } from "node:fs/promises";
import { join } from "node:path";
import {
  end,
  folderOnPath,
  launch,
  onFreePort,
  removeFolder,
  run,
  serverFolder,
  type TestServer,
} from "./process.ts";

/**
 * Starts a PostgreSQL for tests, or uses the database that `TEST_DATABASE_URL` names (then shared by all
 * tests, so they give their tables names of their own and drop them).
 */
export async function startPostgres(): Promise<TestServer> {
  const outside = process.env.TEST_DATABASE_URL;
  if (outside !== undefined && outside !== "") return { url: outside, stop: async () => {} };
  const bin = postgresBinaries();
  const user = serverUser();
  const folder = await serverFolder("postgres");
  try {
    if (user !== undefined) await chown(folder, user.uid, user.gid);
    const data = join(folder, "data");
    await run(
      join(bin, "initdb"),
      ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
      { user, cwd: folder },
    );
    const { child, port } = await onFreePort(async (port) => {
      const settings = [
        ["listen_addresses", "127.0.0.1"],
        ["port", port],
        ["unix_socket_directories", ""],
        // What is written need not survive a crash of the machine.
        ["fsync", "off"],
        ["synchronous_commit", "off"],
        ["full_page_writes", "off"],
        ["shared_buffers", "32MB"],
        ["lc_messages", "C"],
      ];
      const child = await launch({
        command: join(bin, "postgres"),
        args: ["-D", data, ...settings.flatMap(([name, value]) => ["-c", `${name}=${value}`])],
        cwd: folder,
        user,
        ready: /database system is ready to accept connections/,
      });
      return { child, port };
    });
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    return {
      url,
      async stop() {
        // The immediate shutdown: nobody needs the data, and clients left behind do not delay it.
        await end(child, "SIGQUIT");
        await removeFolder(folder);
      },
    };
  } catch (error) {
    await removeFolder(folder);
    throw error;
  }
}

/** The folder of `initdb` and `postgres`: on the PATH, else the newest that Debian's packages installed. */
function postgresBinaries(): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const found = folderOnPath(
    ["initdb", "postgres"],
    versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin")),
  );
  if (found !== undefined) return found;
  throw new Error(
    "PostgreSQL is not installed: run `bash scripts/install-servers.sh`, or set TEST_DATABASE_URL.",
  );
}

/** PostgreSQL refuses to run as root: then its own user does it, or one without rights. */
function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const wanted of ["postgres", "nobody"]) {
    const entry = users.find(([name]) => name === wanted);
    if (entry !== undefined) return { uid: Number(entry[2]), gid: Number(entry[3]) };
  }
  throw new Error("PostgreSQL does not run as root, and this machine has no user `postgres` or `nobody`.");
}
