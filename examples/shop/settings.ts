import { resolve } from "node:path";
import { parseArgs } from "node:util";

/** A setting or argument that cannot be used; the message says what to do. */
export class SettingError extends Error {
  override name = "SettingError";
}

/** Where the shop keeps its data and how it listens. From the environment. */
export interface Settings {
  /** Folder of the database and the disk layer [`.cache/shop` in the repository]. `SHOP_DATA` */
  readonly data: string;
  /** Products generated [100,000]. `SHOP_PRODUCTS` */
  readonly products: number;
  /** PostgreSQL server instead of PGlite. `DATABASE_URL` */
  readonly databaseUrl: string | undefined;
  /** Redis or Valkey as a shared layer instead of the disk. `REDIS_URL` */
  readonly redisUrl: string | undefined;
  /** Memcached as a shared layer instead of the disk; with Redis too, the nearer of the two. `MEMCACHED_URL` */
  readonly memcachedUrl: string | undefined;
  /** [3000, or a free port when that is taken] `PORT`; 0: a free port. */
  readonly port: number | undefined;
  /** [127.0.0.1] `HOST` */
  readonly host: string;
  /** Needed to call `/cache/*` from anywhere but this machine. `ADMIN_TOKEN` */
  readonly adminToken: string | undefined;
}

/** The service in several processes. From the arguments. */
export interface FleetSettings {
  readonly processes: number;
}

/** How a replay is done. From the arguments. */
export interface ReplaySettings {
  readonly trace: string;
  /** Most requests replayed [all]. */
  readonly requests: number;
  /** Requests a second [as fast as it goes]. */
  readonly rate: number;
  /** Bound of the memory layer: entries, or a share of the keys touched [10%]. */
  readonly memory: { readonly entries: number } | { readonly share: number };
  /** Requests under way at a time [1; 8 with `--http`]. */
  readonly concurrency: number;
  /** Ask through HTTP on the loopback instead of in this process. */
  readonly http: boolean;
}

/** The repository, two folders up. */
export const ROOT = resolve(import.meta.dirname, "../..");

/** Runs this file's program as one of several processes: given by the first of them to the others. */
export const WORKER = "--worker";

export const USAGE = `npm start                                  the shop as an HTTP service
npm start -- --processes <n>               the same in n processes (1 to 16), and a demonstration of coherence
npm start -- --replay <trace> [options]    drive it with a recorded access trace
  <trace>            a name out of traces/, or the path of a .u32, .u32.gz or .u32.xz file
  --requests <n>     replay the first n requests [all]
  --rate <n>         requests a second [as fast as it goes]
  --memory <n|n%>    bound of the memory layer, in entries or in a share of the keys touched [10%]
  --concurrency <n>  requests under way at a time [1; 8 with --http]
  --http             ask through HTTP on the loopback instead of in this process
Environment: PORT, HOST, SHOP_DATA, SHOP_PRODUCTS, DATABASE_URL, REDIS_URL, MEMCACHED_URL, ADMIN_TOKEN
(see examples/README.md)`;

/** Reads the environment. @throws {SettingError} naming the variable. */
export function settingsOf(env: Readonly<Record<string, string | undefined>>): Settings {
  return {
    data: resolve(ROOT, env.SHOP_DATA || ".cache/shop"),
    products: whole(env.SHOP_PRODUCTS || "100000", "SHOP_PRODUCTS", 10, 10_000_000),
    databaseUrl: env.DATABASE_URL || undefined,
    redisUrl: env.REDIS_URL ? checkedUrl(env.REDIS_URL, "REDIS_URL", REDIS) : undefined,
    memcachedUrl: env.MEMCACHED_URL ? checkedUrl(env.MEMCACHED_URL, "MEMCACHED_URL", MEMCACHED) : undefined,
    port: env.PORT === undefined || env.PORT === "" ? undefined : whole(env.PORT, "PORT", 0, 65_535),
    host: env.HOST || "127.0.0.1",
    adminToken: env.ADMIN_TOKEN || undefined,
  };
}

const REDIS = {
  pattern: /^(rediss?|valkeys?):\/\//,
  expected: "a URL such as redis://user:password@host:6379/0, or rediss:// for TLS",
};
const MEMCACHED = {
  pattern: /^(memcached?:\/\/)?[^/@\s]+$/,
  expected: "an address such as memcached://host:11211 (several: separated by commas)",
};

/** Checked here although the drivers check as well: what they would say names their option, not the variable. */
function checkedUrl(url: string, name: string, { pattern, expected }: typeof REDIS): string {
  // The value is not shown, because there may be a password in it.
  if (!pattern.test(url) || (pattern === REDIS.pattern && !URL.canParse(url)))
    throw new SettingError(`${name} cannot be used: expected ${expected}.`);
  return url;
}

/**
 * Reads the arguments: a replay, several processes, `"help"`, or `"serve"`.
 * @throws {SettingError} naming the argument.
 */
export function commandOf(
  args: readonly string[],
): ReplaySettings | FleetSettings | "worker" | "serve" | "help" {
  // Not among the options, because nobody gives it but this program.
  if (args.length === 1 && args[0] === WORKER) return "worker";
  const { processes, ...values } = parsed(args);
  if (values.help) return "help";
  if (processes !== undefined) {
    const other = Object.keys(values)[0];
    if (other !== undefined) throw new SettingError(`--${other} does not go with --processes.\n\n${USAGE}`);
    return { processes: whole(processes, "--processes", 1, 16) };
  }
  if (values.replay === undefined) {
    const needless = Object.keys(values)[0];
    if (needless !== undefined) throw new SettingError(`--${needless} needs --replay <trace>.\n\n${USAGE}`);
    return "serve";
  }
  const http = values.http ?? false;
  return {
    trace: values.replay,
    requests: values.requests === undefined ? Infinity : whole(values.requests, "--requests", 1),
    rate: values.rate === undefined ? Infinity : whole(values.rate, "--rate", 1),
    memory: bound(values.memory ?? "10%"),
    concurrency: whole(values.concurrency ?? (http ? "8" : "1"), "--concurrency", 1, 1_000),
    http,
  };
}

function parsed(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    const options = {
      processes: text,
      replay: text,
      requests: text,
      rate: text,
      memory: text,
      concurrency: text,
      http: flag,
      help: { ...flag, short: "h" },
    } as const;
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    throw new SettingError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  }
}

function bound(text: string): ReplaySettings["memory"] {
  if (!text.endsWith("%")) return { entries: whole(text, "--memory", 1) };
  const share = Number(text.slice(0, -1)) / 100;
  if (!(share > 0 && share <= 1))
    throw new SettingError(`--memory is "${text}": expected more than 0% and at most 100%.`);
  return { share };
}

function whole(text: string, name: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text.replaceAll(/[_,](?=\d)/g, ""));
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least && value <= most) return value;
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new SettingError(`${name} is "${text}": expected a whole number ${range}.`);
}
