import { reason, StoreError } from "../../base/errors.ts";
import type { IoredisNode } from "./ioredis-shape.ts";
import type { DedicatedNode, Reply } from "./redis-link.ts";
import { Watchdog } from "./watchdog.ts";

/** A dedicated client is used for one connection: when that ends, the next command makes another. */
const ONE_CONNECTION = {
  lazyConnect: false,
  // The first commands wait in it until the hands are shaken.
  enableOfflineQueue: true,
  enableReadyCheck: true,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: null,
  sentinelRetryStrategy: null,
  reconnectOnError: null,
  connectTimeout: 1_000,
  disconnectTimeout: 200,
  commandTimeout: undefined,
  blockingTimeout: undefined,
  socketTimeout: undefined,
  keepAlive: 10_000,
  noDelay: true,
  enableAutoPipelining: false,
  readOnly: false,
};

/** Errors that say: this is not the master any more. */
const MOVED = /^(?:MOVED|ASK|READONLY|MASTERDOWN|CLUSTERDOWN)\b/;

/** A connection of its own, over a client of ioredis or iovalkey. */
export class IoredisDedicated implements DedicatedNode {
  readonly #make: (overrides: object) => Promise<IoredisNode>;
  readonly #lost: () => void;
  readonly #gone: () => void;
  readonly #watchdog: Watchdog;
  #client: Promise<IoredisNode> | undefined;
  #live: IoredisNode | undefined;
  #attempt = 0;
  #closed = false;

  /**
   * @param make a client like the link's, with these settings.
   * @param lost told when the connection is lost or to the wrong server.
   * @param gone told when it is closed for good.
   */
  constructor(make: (overrides: object) => Promise<IoredisNode>, lost: () => void, gone: () => void) {
    this.#make = make;
    this.#lost = lost;
    this.#gone = gone;
    // Once it is ready, commands may block: then its owner knows when an answer is due.
    this.#watchdog = new Watchdog(() =>
      this.#live === undefined
        ? []
        : [{ owed: () => (this.#live?.status === "connect" ? 1 : 0), socket: () => this.#live?.stream }],
    );
  }

  async send(command: readonly (string | Buffer)[]): Promise<Reply> {
    if (this.#closed) throw new StoreError("The connection was closed by this program.");
    this.#client ??= this.#connect();
    const client = await this.#client;
    const [name, ...args] = command;
    try {
      return (await client.callBuffer(String(name), ...args)) as Reply; // what Redis answers is one of these
    } catch (error) {
      if (MOVED.test(reason(error)) && this.#live === client) this.reconnect();
      throw error;
    }
  }

  reconnect(): void {
    this.#attempt++;
    const client = this.#live;
    this.#live = undefined;
    this.#client = undefined;
    if (client === undefined) return;
    client.disconnect();
    // Over a half-open connection, ending it politely takes until TCP gives up.
    client.stream?.destroy();
    this.#lost();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchdog.stop();
    this.reconnect();
    this.#gone();
  }

  async #connect(): Promise<IoredisNode> {
    const attempt = this.#attempt;
    let client: IoredisNode;
    try {
      client = await this.#make(ONE_CONNECTION);
    } catch (error) {
      if (attempt === this.#attempt) this.#client = undefined;
      this.#lost();
      throw error;
    }
    // Without a listener, ioredis prints errors; those of commands reach the caller.
    client.on("error", () => undefined);
    client.on("end", () => {
      if (this.#live === client) this.reconnect();
    });
    if (this.#closed || attempt !== this.#attempt) client.disconnect();
    else this.#live = client;
    return client;
  }
}
