// A private Redis (or Valkey).
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ControlledServer, controlled } from "./controlled.ts";
import { end, folderOnPath, launch, onFreePort, removeFolder, run, serverFolder } from "./process.ts";
import { callRedis, type RedisTarget } from "./redis-call.ts";

/** How `startRedis` starts one. */
export interface RedisOptions {
  /** More lines of its configuration, by directive; they win over those given here. */
  readonly config?: Readonly<Record<string, string>>;
  /** The loopback port; a free one without. */
  readonly port?: number;
  /** Clients must log in: as this user (ACL), or with the password alone. */
  readonly auth?: { readonly user?: string; readonly password: string };
  /** TLS only: with a new self-signed certificate, or with that of another server. */
  readonly tls?: boolean | { readonly like: RedisServer };
}

/** A private Redis. `url` has the login in it, and is `rediss://` with TLS. */
export interface RedisServer extends ControlledServer {
  /** The certificate to trust (PEM), when it speaks TLS: `tls: { ca }` of clients. */
  readonly ca: string | undefined;
  /** The folder of its configuration and its certificate. */
  readonly folder: string;
  /** Sends one command on a connection of its own; rejects after 5 s without a reply. */
  call(...args: (string | number)[]): Promise<unknown>;
}

/** Starts a Redis: alone, writing nothing to disk by itself, on 127.0.0.1 only. */
export function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  return startRedisProcess(options, "server");
}

/**
 * Starts a Redis of any kind; what only Sentinel or Cluster have is in `config` and `lines`, and what no
 * configuration can say is told by `tune` at each start.
 */
export async function startRedisProcess(
  options: RedisOptions,
  kind: "server" | "sentinel",
  lines: readonly string[] = [],
  tune: (target: RedisTarget) => Promise<void> = async () => {},
): Promise<RedisServer> {
  const { auth, config = {}, tls = false } = options;
  const command = redisBinary();
  const version = await redisVersion();
  const folder = await serverFolder(kind === "server" ? "redis" : kind);
  const data = join(folder, "data");
  const file = join(folder, "redis.conf");
  try {
    if (tls !== false) await certify(folder, tls === true ? undefined : tls.like);
    const ca = tls === false ? undefined : await readFile(join(folder, "tls.crt"), "utf8");
    const start = async (port: number) => {
      await mkdir(data, { recursive: true });
      const settings = {
        bind: "127.0.0.1",
        port: tls === false ? port : 0,
        "protected-mode": "no",
        dir: data,
        ...(kind === "server" ? SERVER : {}),
        ...(kind === "server" && version >= 7 ? { "enable-debug-command": "yes" } : {}),
        ...(tls === false ? {} : tlsSettings(folder, port)),
        ...config,
      };
      const text = [
        ...Object.entries(settings).map(([name, value]) => `${name} ${value}`),
        ...(auth === undefined ? [] : logins(auth)),
        ...lines,
      ];
      await writeFile(file, `${text.join("\n")}\n`);
      const login = auth === undefined ? "" : `${auth.user ?? ""}:${encodeURIComponent(auth.password)}@`;
      const url = `${tls === false ? "redis" : "rediss"}://${login}127.0.0.1:${port}`;
      const target = { url, ca };
      const server = await controlled({
        url,
        port,
        // The file is read again as the server has rewritten it: a promoted replica stays promoted.
        start: async () => {
          const child = await launch({
            command,
            args: [file, ...(kind === "sentinel" ? ["--sentinel"] : [])],
            cwd: folder,
            ready: kind === "server" ? /Ready to accept connections/ : /Sentinel ID is/,
          });
          try {
            await tune(target);
          } catch (error) {
            await end(child, "SIGKILL");
            throw error;
          }
          return child;
        },
        clear: async () => {
          await rm(data, { recursive: true, force: true, maxRetries: 5 });
          await mkdir(data);
        },
        remove: () => removeFolder(folder),
      });
      return Object.assign(server, {
        ca,
        folder,
        call: (...args: (string | number)[]) => callRedis(target, args),
      });
    };
    return options.port === undefined ? await onFreePort(start) : await start(options.port);
  } catch (error) {
    await removeFolder(folder);
    throw error;
  }
}

/** Never to disk by itself; replicas get a file, because without one they wait up to a second for the stream. */
const SERVER = {
  save: '""',
  appendonly: "no",
  "repl-diskless-sync": "no",
};

function logins({ user, password }: { readonly user?: string; readonly password: string }): string[] {
  const name = user ?? "default";
  return [`user ${name} on >${password} ~* &* +@all`, ...(name === "default" ? [] : ["user default off"])];
}

function tlsSettings(folder: string, port: number): Record<string, string | number> {
  return {
    "tls-port": port,
    "tls-cert-file": join(folder, "tls.crt"),
    "tls-key-file": join(folder, "tls.key"),
    "tls-ca-cert-file": join(folder, "tls.crt"),
    "tls-auth-clients": "no",
    "tls-replication": "yes",
  };
}

/** Puts a certificate for 127.0.0.1 into the folder: a new one that signs itself, or the other server's. */
async function certify(folder: string, like: RedisServer | undefined): Promise<void> {
  if (like !== undefined) {
    for (const name of ["tls.crt", "tls.key"]) await copyFile(join(like.folder, name), join(folder, name));
    return;
  }
  const missing = await missingForTls();
  if (missing !== undefined) throw new Error(missing);
  await run(
    "openssl",
    [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ],
      ...["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
      ...["-keyout", "tls.key", "-out", "tls.crt"],
    ],
    { cwd: folder },
  );
}

/** Why tests with TLS are to be skipped on this machine; undefined when it has all they need. */
export async function missingForTls(): Promise<string | undefined> {
  if (folderOnPath(["openssl"]) === undefined) return "TLS needs the command `openssl`, which is missing.";
  const command = redisBinary();
  // A server that listens nowhere ends at once; one without TLS ends because it does not know the directive.
  const output = await run(command, ["--port", "0", "--tls-port", "0"], { anyEnd: true });
  return /not listen anywhere/.test(output) ? undefined : `${command} was built without TLS.`;
}

/** The program: what TEST_REDIS_SERVER names, else Redis, else Valkey. */
function redisBinary(): string {
  const named = process.env.TEST_REDIS_SERVER;
  if (named !== undefined && named !== "") return named;
  for (const name of ["redis-server", "valkey-server"]) {
    const folder = folderOnPath([name]);
    if (folder !== undefined) return join(folder, name);
  }
  throw new Error(
    "Neither redis-server nor valkey-server is installed: run `bash scripts/install-servers.sh`, " +
      "or name the program in TEST_REDIS_SERVER.",
  );
}

/** The major version, such as 7. */
export async function redisVersion(): Promise<number> {
  const text = await run(redisBinary(), ["--version"]);
  const major = /v=(\d+)/.exec(text)?.[1];
  if (major === undefined) throw new Error(`${redisBinary()} is no Redis: ${text}`);
  return Number(major);
}
