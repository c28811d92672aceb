import { reason, StoreError } from "../../base/errors.ts";
import { listen } from "./client-events.ts";
import { Gate } from "./gate.ts";
import { keySlot } from "./key-slot.ts";
import { NodeRedisDedicated } from "./node-redis-dedicated.ts";
import {
  type CommandOptions,
  type NodeRedis,
  type NodeRedisSentinel,
  type NodeRedisSingle,
  nodeRedisOf,
} from "./node-redis-shape.ts";
import type { DedicatedNode, RedisLink, RedisNode, Reply, Script } from "./redis-link.ts";
import { runScript } from "./run-script.ts";

/** Bulk ("$"), simple ("+") and verbatim ("=") strings as bytes, whatever the client is set to. */
const BYTES: CommandOptions = { typeMapping: { 36: Buffer, 43: Buffer, 61: Buffer } };

/** Whether a given client is one of node-redis. */
export function isNodeRedis(client: object): boolean {
  return !("callBuffer" in client);
}

/** A link over a client of node-redis, which its owner connected and will close. */
export class NodeRedisLink implements RedisLink {
  readonly cluster: boolean;
  readonly #redis: NodeRedis;
  readonly #gate: Gate;
  readonly #dedicated = new Set<DedicatedNode>();
  readonly #unlisten: readonly (() => void)[];
  #closed = false;

  constructor(client: object, warn: (message: string) => void) {
    this.#redis = nodeRedisOf(client);
    this.cluster = this.#redis.kind === "cluster";
    const { client: any } = this.#redis;
    const isReady = (): boolean => any.isReady ?? any.isOpen;
    this.#gate = new Gate("The given Redis client", isReady, warn);
    const connected = (): void => {
      if (isReady()) this.#gate.connected();
    };
    this.#unlisten = [
      listen(any, "error", (error) => {
        this.#gate.failed(error);
        if (!isReady()) this.#gate.disconnected();
      }),
      listen(any, "ready", connected),
      // A cluster's client has no event `ready`.
      listen(any, "connect", connected),
    ];
    if (isReady()) this.#gate.connected();
    else if (!any.isOpen) this.#gate.failed('connect it first, with "await client.connect()"');
  }

  async send(key: string, command: readonly (string | Buffer)[]): Promise<Reply> {
    const wait = this.#gate.admit();
    if (wait !== undefined) await wait;
    const redis = this.#redis;
    const args = [...command];
    switch (redis.kind) {
      // What Redis answers is one of `Reply`; the types of node-redis leave it to the caller.
      case "single":
        return (await redis.client.sendCommand(args, BYTES)) as Reply;
      case "sentinel":
        return (await redis.client.sendCommand(false, args, BYTES)) as Reply;
      case "cluster":
        return (await redis.client.sendCommand(key, false, args, BYTES)) as Reply;
    }
  }

  run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<Reply> {
    return runScript((command) => this.send(keys[0] ?? "", command), script, keys, args);
  }

  async masters(): Promise<readonly RedisNode[]> {
    const wait = this.#gate.admit();
    if (wait !== undefined) await wait;
    const redis = this.#redis;
    if (redis.kind !== "cluster") return [{ send: (command) => this.send("", command) }];
    if (redis.client.masters.length === 0)
      throw new StoreError("The cluster has not told where its slots are.");
    return redis.client.masters.map((master) => ({
      async send(command) {
        const node = await redis.client.nodeClient(master);
        return (await node.sendCommand([...command], BYTES)) as Reply; // as above
      },
    }));
  }

  dedicated(key: string): DedicatedNode {
    const slot = this.cluster ? keySlot(key) : 0;
    const node = new NodeRedisDedicated(
      (overrides) => this.#duplicate(slot, overrides),
      // The client of a cluster learns that slots have moved only by commands of its own.
      () => {
        if (this.cluster && !this.#closed) this.send(key, ["exists", key]).catch(() => undefined);
      },
      () => this.#dedicated.delete(node),
    );
    this.#dedicated.add(node);
    return node;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#gate.close();
    for (const stop of this.#unlisten) stop();
    await Promise.all([...this.#dedicated].map((node) => node.close()));
  }

  async #duplicate(slot: number, overrides: object): Promise<NodeRedisSingle | NodeRedisSentinel> {
    const redis = this.#redis;
    if (redis.kind !== "cluster") return redis.client.duplicate(overrides);
    const wait = this.#gate.admit();
    if (wait !== undefined) await wait;
    const master = redis.client.slots[slot]?.master;
    if (master === undefined) throw new StoreError("The cluster has not told where its slots are.");
    try {
      return (await redis.client.nodeClient(master)).duplicate(overrides);
    } catch (error) {
      throw new StoreError(`The cluster's master is not reached: ${reason(error)}.`, { cause: error });
    }
  }
}
