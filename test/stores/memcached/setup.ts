import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../../src/base/clock.ts";
import type { LayerContext, Log } from "../../../src/coherence/log.ts";
import { addressesOf } from "../../../src/stores/memcached/address.ts";
import { Connection } from "../../../src/stores/memcached/connection.ts";
import { Items } from "../../../src/stores/memcached/items.ts";
import { decoded, KeyNames } from "../../../src/stores/memcached/key-names.ts";
import { MemcachedLogServer } from "../../../src/stores/memcached/memcached-log.ts";
import type { StoreLayer } from "../../../src/stores/store.ts";
import type { MemcachedServer } from "../../servers.ts";

/** What layers are opened with; real time, since the server has its own. */
export function context(facts: Partial<LayerContext> = {}): LayerContext {
  return {
    cacheName: "t",
    maxLag: 5_000,
    clock: systemClock(),
    random: Math.random,
    warn: () => undefined,
    ...facts,
  };
}

/** Sends commands as they are, and answers all that comes until a line ends with `end`. */
export async function raw(host: string, commands: string, end: RegExp): Promise<string> {
  const [name = "", port] = host.split(":");
  const socket = connect(Number(port), name);
  socket.write(commands);
  let answer = "";
  try {
    for await (const piece of socket) {
      answer += String(piece);
      if (end.test(answer)) return answer;
    }
    return answer;
  } finally {
    socket.destroy();
  }
}

/** Names of all items. */
export async function itemNamesOf(host: string): Promise<string[]> {
  for (;;) {
    const dump = await raw(host, "lru_crawler metadump hash\r\n", /(?:END|BUSY.*|ERROR.*)\r\n$/);
    // A walk that somebody gave up goes on for a moment.
    if (!dump.startsWith("BUSY"))
      return [...dump.matchAll(/^key=(\S+)/gm)].flatMap(([, name = ""]) => decoded(name) ?? []);
    await sleep(5);
  }
}

/** Everything is gone. `flush_all` itself takes a second to be sure: the server's clock shows whole seconds. */
export async function flushed(server: MemcachedServer): Promise<void> {
  const names = await itemNamesOf(server.host);
  await raw(server.host, `${names.map((name) => `md ${name} q\r\n`).join("")}mn\r\n`, /MN\r\n$/);
}

export function connection(host: string): Connection {
  const [address] = addressesOf(host, "servers");
  if (address === undefined) throw new Error("no address");
  return new Connection(address, { silence: 1_000, auth: undefined, tls: undefined, random: Math.random });
}

/** The items of a server, to look at them and to take some away. */
export function itemsOf(host: string): { items: Items; close: () => void } {
  const one = connection(host);
  return { items: new Items(one), close: () => one.close() };
}

export function logServer(host: string, facts: Partial<LayerContext> = {}): MemcachedLogServer {
  const names = new KeyNames("t");
  return new MemcachedLogServer("memcached", connection(host), connection(host), names, context(facts));
}

export function logOf(layer: StoreLayer, opened: LayerContext): Log {
  if (layer.log === undefined) throw new Error("memcached() brings a log");
  return layer.log(opened);
}
