import { OptionError } from "../../base/errors.ts";

/** Where a server is. */
export interface Address {
  /** As it was written, complete with the port: two processes that mean one server must write it alike. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket; then host and port mean nothing. */
  readonly path: string | undefined;
}

const DEFAULT_PORT = 11_211;

/**
 * Addresses of servers: `host`, `host:port`, `[::1]:port`, `memcached://host:port` or the path of a Unix socket,
 * in a list or separated by commas.
 * @throws {OptionError} for what is none, or given twice.
 */
export function addressesOf(servers: unknown, path: string): Address[] {
  const texts: readonly unknown[] = typeof servers === "string" ? servers.split(",") : asList(servers, path);
  const addresses = texts.map((text) => addressOf(text, path));
  if (addresses.length === 0) throw new OptionError(path, servers, "the address of a server");
  if (new Set(addresses.map(({ text }) => text)).size < addresses.length)
    throw new OptionError(path, servers, "each server once");
  return addresses;
}

function asList(servers: unknown, path: string): readonly unknown[] {
  if (Array.isArray(servers)) return servers;
  throw new OptionError(path, servers, 'servers such as "host:11211", in a list or separated by commas');
}

function addressOf(given: unknown, path: string): Address {
  const wrong = () =>
    new OptionError(path, given, 'a server such as "host:11211", or the path of its socket');
  if (typeof given !== "string") throw wrong();
  const text = given.trim().replace(/^memcached?:\/\//, "");
  if (text.startsWith("/")) return { text, host: "localhost", port: 0, path: text };
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  if (host === undefined || port < 1 || port > 65_535) throw wrong();
  return {
    text: `${host.includes(":") ? `[${host}]` : host.toLowerCase()}:${port}`,
    host,
    port,
    path: undefined,
  };
}
