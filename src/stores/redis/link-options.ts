import type { ConnectionOptions } from "node:tls";
import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";

/** A server's address. */
export interface RedisAddress {
  readonly host: string;
  /** [6379] */
  readonly port?: number | undefined;
}

/** What is used of a client of `ioredis` (5 or later) or `iovalkey`: `Redis` or `Cluster`. */
export interface IoredisClient {
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>;
  duplicate(...overrides: never[]): object;
}

/** What is used of a client of `redis` (node-redis 5 or later): made by `createClient`, `createCluster` or `createSentinel`. */
export interface NodeRedisClient {
  sendCommand(...args: never[]): Promise<unknown>;
  duplicate(...overrides: never[]): object;
}

/** A client of the program's own. It is used and never closed. */
export type RedisClient = IoredisClient | NodeRedisClient;

/** How Redis or Valkey is reached. One of `url`, `host`, `sentinels`, `cluster` or `client`; alone, none: this machine. */
export interface LinkOptions {
  /** `redis://user:password@host:6379/0`, or `rediss://` for TLS. */
  readonly url?: string | undefined;
  /** ["127.0.0.1"] */
  readonly host?: string | undefined;
  /** [6379] */
  readonly port?: number | undefined;
  /** An ACL user [the user `default`]. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Number of the database [0]. A cluster has only 0. */
  readonly db?: number | undefined;
  /** TLS, with the options of `tls.connect` [false; true for `rediss://`]. */
  readonly tls?: boolean | ConnectionOptions | undefined;
  /** The Sentinels that know where the master is. */
  readonly sentinels?: readonly RedisAddress[] | undefined;
  /** The name the Sentinels have for the master; needed with `sentinels`. */
  readonly sentinelName?: string | undefined;
  readonly sentinelUsername?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  /** TLS to the Sentinels [false]. */
  readonly sentinelTls?: boolean | ConnectionOptions | undefined;
  /** Some nodes of a cluster, as URLs or addresses; the rest are found. */
  readonly cluster?: readonly (string | RedisAddress)[] | undefined;
  /** A connected client of `ioredis`, `iovalkey` or `redis`, for programs that have one. */
  readonly client?: RedisClient | undefined;
}

/** Names of all options of a link. */
export const LINK_OPTIONS: readonly string[] = [
  ...["url", "host", "port", "username", "password", "db", "tls", "cluster", "client"],
  ...["sentinels", "sentinelName", "sentinelUsername", "sentinelPassword", "sentinelTls"],
];

/** A checked address. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How each connection proves who it is. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: ConnectionOptions | undefined;
}

/** Where to connect to, checked. */
export type LinkTarget =
  | { readonly kind: "client"; readonly client: RedisClient }
  | ({ readonly kind: "single"; readonly address: Address } & Credentials)
  | ({
      readonly kind: "sentinel";
      readonly sentinels: readonly Address[];
      readonly name: string;
      readonly sentinelUsername: string | undefined;
      readonly sentinelPassword: string | undefined;
      readonly sentinelTls: ConnectionOptions | undefined;
    } & Credentials)
  | ({ readonly kind: "cluster"; readonly nodes: readonly Address[] } & Credentials);

const DEFAULT_PORT = 6_379;
/** Ways to say where, of which only one can be meant. */
const WAYS = ["client", "url", "host", "sentinels", "cluster"] as const;

/**
 * Checks the options of a link.
 * @param path where they are given, for errors.
 * @throws {OptionError} naming the option.
 */
export function linkTarget(options: LinkOptions, path: string): LinkTarget {
  const at = (name: string): string => `${path}.${name}`;
  const given = WAYS.filter((name) => options[name] !== undefined);
  if (given.length > 1)
    throw new OptionError(
      at(given[1] ?? ""),
      options[given[1] ?? "url"],
      `nothing, because "${given[0]}" is given`,
    );
  if (options.client !== undefined) {
    for (const name of LINK_OPTIONS)
      if (name !== "client" && options[name as keyof LinkOptions] !== undefined)
        throw new OptionError(
          at(name),
          options[name as keyof LinkOptions],
          "nothing: the given client has its own",
        );
    return { kind: "client", client: clientOf(options.client, at("client")) };
  }
  const url = options.url === undefined ? undefined : parseUrl(options.url, at("url"));
  const credentials = credentialsOf(options, url, at);
  if (options.sentinels !== undefined) {
    const sentinels = addresses(options.sentinels, at("sentinels")).map(({ address }) => address);
    const name = text(options.sentinelName, at("sentinelName"));
    if (name === undefined)
      throw new OptionError(at("sentinelName"), name, "the name the Sentinels have for the master");
    return {
      kind: "sentinel",
      sentinels,
      name,
      sentinelUsername: text(options.sentinelUsername, at("sentinelUsername")),
      sentinelPassword: text(options.sentinelPassword, at("sentinelPassword")),
      sentinelTls: tlsOf(options.sentinelTls, at("sentinelTls")),
      ...credentials,
    };
  }
  for (const name of ["sentinelName", "sentinelUsername", "sentinelPassword", "sentinelTls"] as const)
    if (options[name] !== undefined)
      throw new OptionError(at(name), options[name], `nothing without "${at("sentinels")}"`);
  if (options.cluster !== undefined) {
    const nodes = addresses(options.cluster, at("cluster"));
    const first = credentialsOf(options, nodes.find((node) => node.url !== undefined)?.url, at);
    if (first.db !== 0) throw new OptionError(at("db"), first.db, "0: a cluster has no other database");
    return { kind: "cluster", nodes: nodes.map(({ address }) => address), ...first };
  }
  const address = url?.address ?? {
    host: text(options.host, at("host")) ?? "127.0.0.1",
    port: portOf(options.port ?? DEFAULT_PORT, at("port")),
  };
  if (url !== undefined && options.port !== undefined)
    throw new OptionError(at("port"), options.port, `nothing, because "url" is given`);
  return { kind: "single", address, ...credentials };
}

/** Refuses names that no option of a link has. For those who add their own, see `LINK_OPTIONS`. */
export function refuseUnknownLinkOptions(options: LinkOptions, path: string): void {
  refuseUnknown(options, path, (name) => LINK_OPTIONS.includes(name));
}

interface ParsedUrl {
  readonly address: Address;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number | undefined;
  readonly tls: boolean;
}

function parseUrl(value: unknown, path: string): ParsedUrl {
  const expected = "a URL such as redis://user:password@host:6379/0, or rediss:// for TLS";
  if (typeof value !== "string" || !URL.canParse(value)) throw new OptionError(path, secret(value), expected);
  const url = new URL(value);
  const tls = url.protocol === "rediss:" || url.protocol === "valkeys:";
  if (!tls && url.protocol !== "redis:" && url.protocol !== "valkey:")
    throw new OptionError(path, secret(value), expected);
  const db = /^\/?(\d*)$/.exec(url.pathname)?.[1];
  if (db === undefined || url.search !== "") throw new OptionError(path, secret(value), expected);
  const part = (text: string): string | undefined => (text === "" ? undefined : decodeURIComponent(text));
  return {
    // An IPv6 address stands in brackets in a URL, and without them everywhere else.
    address: {
      host: url.hostname.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1",
      port: url.port === "" ? DEFAULT_PORT : Number(url.port),
    },
    username: part(url.username),
    password: part(url.password),
    db: db === "" ? undefined : Number(db),
    tls,
  };
}

/** Error messages end up in logs: a password does not. */
function secret(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/\/\/[^@/]*@/, "//***@") : value;
}

function credentialsOf(
  options: LinkOptions,
  url: ParsedUrl | undefined,
  at: (name: string) => string,
): Credentials {
  const db = options.db ?? url?.db ?? 0;
  if (!Number.isInteger(db) || db < 0)
    throw new OptionError(at("db"), db, "the number of a database, 0 or more");
  return {
    username: text(options.username, at("username")) ?? url?.username,
    password: text(options.password, at("password"), true) ?? url?.password,
    db,
    tls: tlsOf(options.tls ?? url?.tls, at("tls")),
  };
}

function tlsOf(value: unknown, path: string): ConnectionOptions | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return {};
  if (typeof value === "object" && value !== null) return value;
  throw new OptionError(path, value, "true, or options of tls.connect");
}

function text(value: unknown, path: string, hidden = false): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string" && value !== "") return value;
  throw new OptionError(path, hidden ? "(not shown)" : value, "a text that is not empty");
}

function portOf(value: unknown, path: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value < 65_536) return value;
  throw new OptionError(path, value, "a port number");
}

function addresses(
  value: unknown,
  path: string,
): { readonly address: Address; readonly url: ParsedUrl | undefined }[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new OptionError(path, value, "a list of at least one { host, port } or URL");
  return value.map((node: unknown, index) => {
    const here = `${path}[${index}]`;
    if (typeof node === "string") {
      const url = parseUrl(node, here);
      return { address: url.address, url };
    }
    if (typeof node !== "object" || node === null)
      throw new OptionError(here, node, "a { host, port } or a URL");
    refuseUnknown(node, here, (name) => name === "host" || name === "port");
    const host = text("host" in node ? node.host : undefined, `${here}.host`);
    if (host === undefined) throw new OptionError(`${here}.host`, host, "the name of a host");
    const port = "port" in node && node.port !== undefined ? node.port : DEFAULT_PORT;
    return { address: { host, port: portOf(port, `${here}.port`) }, url: undefined };
  });
}

function clientOf(value: unknown, path: string): RedisClient {
  const has = (name: string): boolean =>
    typeof value === "object" &&
    value !== null &&
    name in value &&
    typeof Reflect.get(value, name) === "function";
  if (has("duplicate") && (has("callBuffer") || has("sendCommand"))) {
    const client = value as RedisClient; // it has just been looked at
    if (hasKeyPrefix(client))
      throw new OptionError(
        `${path}.options.keyPrefix`,
        "set",
        "a client without keyPrefix: scripts and SCAN would disagree about keys",
      );
    return client;
  }
  throw new OptionError(path, typeof value, "a client of ioredis, iovalkey or redis (node-redis 5 or later)");
}

function hasKeyPrefix(client: object): boolean {
  const options = Reflect.get(client, "options");
  const prefix =
    Reflect.get(client, "_keyPrefix") ??
    (typeof options === "object" && options !== null ? Reflect.get(options, "keyPrefix") : undefined);
  return typeof prefix === "string" ? prefix !== "" : prefix !== undefined && prefix !== null;
}
