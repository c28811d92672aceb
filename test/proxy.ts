// A network with faults, for tests: a TCP proxy between clients and one server on the loopback interface.
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { connectPair, type ProxyConnection, type ProxyFaults } from "./proxy/connection.ts";
import { freePort } from "./servers/process.ts";

/** How `startProxy` starts one. */
export interface ProxyOptions {
  /** Seed of all that is random (the jitter of `delay`); 1 without. */
  readonly seed?: number;
  /** The loopback port; a free one without. */
  readonly port?: number;
}

/** What becomes of the connections that lost bytes. */
export interface HealOptions {
  /** `"reset"` (the default) ends them, `"keep"` leaves them silent for ever. */
  readonly broken?: "reset" | "keep";
}

/** Which bytes `dropNext` swallows, and what happens to their connection. */
export interface DropNextOptions {
  /** Bytes of the server (the default), so that a command is done and nobody hears of it, or of the client. */
  readonly of?: "server" | "client";
  /** Ends the connection (the default), or leaves it silent for ever. */
  readonly effect?: "reset" | "silence";
}

/** A proxy whose faults act on the connections there are and on those to come, until `heal`. */
export interface TcpProxy {
  /** Address and port of the proxy. */
  readonly host: string;
  /** The loopback port of the proxy. */
  readonly port: number;
  /** How many connections of clients it has, half-open ones included. */
  readonly connections: number;
  /** How many client connections were accepted since the start. */
  readonly accepted: number;
  /** Every byte takes so many milliseconds more in each direction, in order; 0 ends that. */
  delay(ms: number, jitterMs?: number): void;
  /** Resets all connections and refuses new ones. */
  cut(): void;
  /** Half-open: all connections stay, new ones are accepted, and every byte and hang-up is swallowed. */
  drop(): void;
  /** Holds all bytes and hang-ups back; `heal` delivers them, late and in order, as TCP does. */
  hold(): void;
  /** Swallows the next `count` chunks of bytes, each of which breaks its connection. */
  dropNext(count: number, options?: DropNextOptions): void;
  /** Ends every fault: new connections work, those that lost bytes are ended unless they are to be kept. */
  heal(options?: HealOptions): Promise<void>;
  /** Resets all connections and gives the port back. */
  stop(): Promise<void>;
}

/** Starts a proxy to the loopback port `targetPort`; it connects to it once for each of its clients. */
export async function startProxy(targetPort: number, options: ProxyOptions = {}): Promise<TcpProxy> {
  const port = options.port ?? (await freePort());
  const open = new Set<ProxyConnection>();
  const faults: ProxyFaults = {
    delay: 0,
    jitter: 0,
    mode: "pass",
    dropNext: { client: 0, server: 0, effect: "reset" },
    random: seeded(options.seed ?? 1),
  };
  let refusing = false;
  let over = false;
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    // Accepted by the system before the port was closed.
    if (refusing) {
      client.on("error", () => {}).resetAndDestroy();
      return;
    }
    accepted++;
    const connection = connectPair(client, targetPort, faults);
    open.add(connection);
    connection.closed.then(() => open.delete(connection));
  });
  await listen(server, port);
  const cut = () => {
    refusing = true;
    // The port is closed at once; it is only the event `close` that waits for connections.
    if (server.listening) server.close();
    for (const connection of open) connection.reset();
  };
  return {
    host: `127.0.0.1:${port}`,
    port,
    get connections() {
      return open.size;
    },
    get accepted() {
      return accepted;
    },
    delay(ms, jitterMs = 0) {
      faults.delay = ms;
      faults.jitter = jitterMs;
    },
    cut,
    drop() {
      faults.mode = "drop";
      for (const connection of open) connection.silence();
    },
    hold() {
      faults.mode = "hold";
    },
    dropNext(count, { of = "server", effect = "reset" } = {}) {
      faults.dropNext = { client: 0, server: 0, [of]: count, effect };
    },
    async heal({ broken = "reset" } = {}) {
      if (over) throw new Error("A proxy cannot be healed after stop().");
      faults.delay = 0;
      faults.jitter = 0;
      faults.mode = "pass";
      faults.dropNext = { client: 0, server: 0, effect: "reset" };
      for (const connection of open) {
        if (!connection.silent) connection.flush();
        else if (broken === "reset") connection.reset();
      }
      if (!refusing) return;
      refusing = false;
      await listen(server, port);
    },
    async stop() {
      over = true;
      const closed = [...open].map((connection) => connection.closed);
      cut();
      await Promise.all(closed);
    },
  };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
}

/** The generator mulberry32: enough for jitter, and the same for the same seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
