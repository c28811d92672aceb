import type { ConnectionOptions as TlsOptions } from "node:tls";
import { type Duration, milliseconds } from "../../base/duration.ts";
import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import type { LayerContext } from "../../coherence/log.ts";
import { RemoteLog } from "../../coherence/remote-log.ts";
import type { StoreLayer } from "../store.ts";
import { addressesOf } from "./address.ts";
import { type Access, Connection } from "./connection.ts";
import { KeyNames } from "./key-names.ts";
import { MemcachedLogServer } from "./memcached-log.ts";
import { MemcachedStore } from "./memcached-store.ts";
import { Server, serverOf } from "./servers.ts";

/** Options of {@link memcached}. */
export interface MemcachedOptions {
  /**
   * The servers: `host:port` (`:11211` when left out) or paths of Unix sockets, in a list or separated by
   * commas. All processes of a cache name the same ones, written alike [`"127.0.0.1:11211"`].
   */
  readonly servers?: string | readonly string[] | undefined;
  /** Longest wait of a read ["250ms"]. */
  readonly timeout?: Duration | undefined;
  /** For servers that run with an authentication file (`-Y`) [none]. */
  readonly auth?: { readonly username: string; readonly password: string } | undefined;
  /** Encrypts the connections: `true`, or options of `node:tls` [none]. */
  readonly tls?: true | TlsOptions | undefined;
  /** The layer's name, for caches with several stores of one kind ["memcached"]. */
  readonly name?: string | undefined;
}

const OPTIONS: readonly string[] = [
  "servers",
  "timeout",
  "auth",
  "tls",
  "name",
] satisfies (keyof MemcachedOptions)[];
/** A server that owes an answer for so many milliseconds has failed, however short a read's wait is. */
const LEAST_SILENCE = 1_000;

/**
 * L2 in Memcached 1.6.10 or newer: leases and entries by compare-and-swap, keys spread over the servers, and a
 * log in Memcached itself that keeps the memory of all processes coherent (see docs/memcached.md).
 * @throws {OptionError} for an option that cannot be used.
 * @example createCache({ name: "shop", layers: [memory(), memcached({ servers: "10.0.0.1,10.0.0.2" })] })
 */
export function memcached(options: MemcachedOptions = {}): StoreLayer {
  refuseUnknown(options, "memcached", (option) => OPTIONS.includes(option));
  const addresses = addressesOf(options.servers ?? "127.0.0.1", "memcached.servers");
  const timeout = milliseconds(options.timeout ?? "250ms", "memcached.timeout");
  const name = options.name ?? "memcached";
  if (typeof name !== "string" || name === "") throw new OptionError("memcached.name", name, "a name");
  const auth = checkedAuth(options.auth);
  const tls = checkedTls(options.tls);
  const access = ({ random }: LayerContext): Access => ({
    silence: Math.min(Math.max(timeout, LEAST_SILENCE), 60_000),
    auth,
    tls,
    random,
  });
  return {
    kind: "store",
    name,
    timeout,
    open(context) {
      const how = access(context);
      const servers = addresses.map((address) => new Server(address, how));
      return new MemcachedStore(name, servers, how, new KeyNames(context.cacheName), context);
    },
    log(context) {
      const how = access(context);
      const names = new KeyNames(context.cacheName);
      // One server keeps the whole log: what is lost of it is lost together, and noticed.
      const servers = addresses.map((address) => new Server(address, how));
      const { address } = serverOf(servers, names.log("head")).connection;
      const connect = () => new Connection(address, how);
      return new RemoteLog(new MemcachedLogServer(name, connect(), connect(), names, context), context);
    },
  };
}

function checkedAuth(auth: MemcachedOptions["auth"]): Access["auth"] {
  if (auth === undefined) return undefined;
  refuseUnknown(auth, "memcached.auth", (option) => option === "username" || option === "password");
  for (const option of ["username", "password"] as const) {
    const text: unknown = auth[option];
    // The value is not shown: it is a secret.
    if (typeof text !== "string" || text === "" || /[\s\0]/.test(text))
      throw new OptionError(`memcached.auth.${option}`, typeof text, "text without spaces");
  }
  return { username: auth.username, password: auth.password };
}

function checkedTls(tls: MemcachedOptions["tls"]): TlsOptions | undefined {
  if (tls === undefined || tls === true) return tls === true ? {} : undefined;
  if (typeof tls !== "object" || tls === null)
    throw new OptionError("memcached.tls", tls, "true, or options of node:tls");
  return tls;
}
