import { reason, StoreError } from "../../base/errors.ts";
import {
  type CommandOptions,
  type NodeRedisSentinel,
  type NodeRedisSingle,
  nodeRedisOf,
} from "./node-redis-shape.ts";
import type { DedicatedNode, Reply } from "./redis-link.ts";

/** A dedicated client is used for one connection: when that ends, the next command makes another. */
const ONE_CONNECTION = {
  // Replies have the same shape with every client.
  RESP: 2,
  commandsQueueMaxLength: undefined,
  disableOfflineQueue: false,
  pingInterval: undefined,
  clientSideCache: undefined,
  maintNotifications: "disabled",
};
/** Longest wait in milliseconds until a connection is made and the hands are shaken. */
const CONNECT_TIMEOUT = 1_000;
const BYTES: CommandOptions = { typeMapping: { 36: Buffer, 43: Buffer } };
/** Errors that say: this is not the master any more. */
const MOVED = /^(?:MOVED|ASK|READONLY|MASTERDOWN|CLUSTERDOWN)\b/;

type Client = NodeRedisSingle | NodeRedisSentinel;

/** A connection of its own, over a client of node-redis. */
export class NodeRedisDedicated implements DedicatedNode {
  readonly #make: (overrides: object) => Promise<Client>;
  readonly #lost: () => void;
  readonly #gone: () => void;
  #ready: Promise<Client> | undefined;
  #live: Client | undefined;
  #attempt = 0;
  #closed = false;

  /**
   * @param lost told when the connection failed, or was to the wrong server.
   * @param gone told when it is closed for good.
   */
  constructor(make: (overrides: object) => Promise<Client>, lost: () => void, gone: () => void) {
    this.#make = make;
    this.#lost = lost;
    this.#gone = gone;
  }

  async send(command: readonly (string | Buffer)[]): Promise<Reply> {
    if (this.#closed) throw new StoreError("The connection was closed by this program.");
    this.#ready ??= this.#connect(this.#attempt);
    const ready = this.#ready;
    try {
      const redis = nodeRedisOf(await ready);
      const args = [...command];
      // What Redis answers is one of `Reply`; the types of node-redis leave it to the caller.
      if (redis.kind === "sentinel") return (await redis.client.sendCommand(false, args, BYTES)) as Reply;
      if (redis.kind === "single") return (await redis.client.sendCommand(args, BYTES)) as Reply;
      throw new StoreError("A dedicated connection is to one server.");
    } catch (error) {
      const lost = this.#live === undefined || !this.#live.isReady || MOVED.test(reason(error));
      if (lost && this.#ready === ready) {
        this.reconnect();
        this.#lost();
      }
      throw error;
    }
  }

  reconnect(): void {
    this.#attempt++;
    const client = this.#live;
    this.#live = undefined;
    this.#ready = undefined;
    if (client !== undefined) drop(client);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.reconnect();
    this.#gone();
  }

  async #connect(attempt: number): Promise<Client> {
    const client = await this.#make(ONE_CONNECTION);
    if (attempt !== this.#attempt) throw new StoreError("The connection was dropped.");
    this.#live = client;
    let timer: NodeJS.Timeout | undefined;
    const failed = new Promise<never>((_, reject) => {
      // It goes on trying by itself; here each connection is its own client.
      client.on("error", (error) => {
        reject(error);
        if (this.#live === client) this.reconnect();
      });
      timer = setTimeout(() => reject(new StoreError("Redis does not answer.")), CONNECT_TIMEOUT);
    });
    failed.catch(() => undefined);
    try {
      await Promise.race([client.connect(), failed]);
      return client;
    } catch (error) {
      drop(client);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function drop(client: Client): void {
  try {
    // Of a sentinel's client it is asynchronous, and may fail for what is gone already.
    Promise.resolve(client.destroy()).catch(() => undefined);
  } catch {
    // It was not open any more.
  }
}
