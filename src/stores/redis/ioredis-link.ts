import { once } from "node:events";
import { reason, StoreError } from "../../base/errors.ts";
import { listen } from "./client-events.ts";
import { Gate } from "./gate.ts";
import { IoredisDedicated } from "./ioredis-dedicated.ts";
import { type Caller, callerOf, type IoredisCluster, type IoredisNode, isCluster } from "./ioredis-shape.ts";
import { keySlot } from "./key-slot.ts";
import type { DedicatedNode, RedisLink, RedisNode, Reply, Script } from "./redis-link.ts";
import { runScript } from "./run-script.ts";
import { Watchdog } from "./watchdog.ts";

/** Most often that a cluster is asked anew where its slots are, in milliseconds. */
const REFRESH_EVERY = 200;
/** Longest wait in milliseconds for connections to end. */
const LONGEST_END = 500;

/** A link over a client of ioredis or iovalkey. */
export class IoredisLink implements RedisLink {
  readonly cluster: boolean;
  readonly #client: IoredisNode | IoredisCluster;
  readonly #caller: Caller;
  readonly #own: boolean;
  readonly #warn: (message: string) => void;
  readonly #gate: Gate;
  readonly #watchdog: Watchdog | undefined;
  readonly #dedicated = new Set<DedicatedNode>();
  readonly #unlisten: (() => void)[] = [];
  #refreshedAt = Number.NEGATIVE_INFINITY;
  /** A cluster is known, and its masters are connected to (or cannot be). */
  #prepared = false;
  #closed = false;

  /** @param own made for this link: watched, and closed with it. */
  constructor(
    client: IoredisNode | IoredisCluster,
    own: boolean,
    where: string,
    warn: (message: string) => void,
  ) {
    this.#client = client;
    this.#caller = callerOf(client);
    this.#own = own;
    this.#warn = warn;
    this.cluster = isCluster(client);
    // A client that waits connects by itself at the first command.
    const isOpen = (): boolean =>
      (client.status === "ready" && (this.#prepared || !own || !this.cluster)) || client.status === "wait";
    this.#gate = new Gate(where, isOpen, own ? warn : () => undefined);
    this.#listen(client);
    if (own) this.#watchdog = new Watchdog(() => this.#nodes().map(watched));
  }

  async send(_key: string, command: readonly (string | Buffer)[]): Promise<Reply> {
    const wait = this.#gate.admit();
    if (wait !== undefined) await wait;
    return this.#call(command);
  }

  run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<Reply> {
    return runScript((command) => this.send("", command), script, keys, args);
  }

  async masters(): Promise<readonly RedisNode[]> {
    const wait = this.#gate.admit();
    if (wait !== undefined) await wait;
    const client = this.#client;
    if (!isCluster(client)) return [nodeOf(client)];
    const addresses = new Set(client.slots.map((holders) => holders?.[0]));
    addresses.delete(undefined);
    if (addresses.size === 0) throw new StoreError("The cluster has not told where its slots are.");
    return [...addresses].map((address) => nodeOf(this.#nodeAt(client, address)));
  }

  dedicated(key: string): DedicatedNode {
    const slot = this.cluster ? keySlot(key) : 0;
    const node = new IoredisDedicated(
      async (overrides) => {
        const client = this.#client;
        if (!isCluster(client)) return client.duplicate(overrides);
        const wait = this.#gate.admit();
        if (wait !== undefined) await wait;
        return this.#nodeAt(client, client.slots[slot]?.[0]).duplicate({ ...overrides, lazyConnect: false });
      },
      () => this.#refresh(),
      () => this.#dedicated.delete(node),
    );
    this.#dedicated.add(node);
    return node;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#gate.close();
    this.#watchdog?.stop();
    await Promise.all([...this.#dedicated].map((node) => node.close()));
    if (!this.#own) {
      for (const stop of this.#unlisten) stop();
      return;
    }
    const nodes = this.#nodes();
    this.#client.disconnect();
    await Promise.all(nodes.map(ended));
  }

  async #call(command: readonly (string | Buffer)[]): Promise<Reply> {
    try {
      // What Redis answers is one of these; the client's type does not say it.
      return (await this.#caller(command)) as Reply;
    } catch (error) {
      if (this.cluster && !isAnswer(error)) this.#refresh();
      throw error;
    }
  }

  #listen(client: IoredisNode | IoredisCluster): void {
    const on = (event: string, listener: (argument: unknown) => void): void => {
      this.#unlisten.push(listen(client, event, listener));
    };
    on("error", (error) => this.#gate.failed(error));
    on("close", () => {
      this.#prepared = false;
      this.#gate.disconnected();
    });
    on("ready", () => (isCluster(client) ? void this.#prepare(client) : this.#gate.connected()));
    if (!isCluster(client)) return;
    on("node error", (error) => this.#gate.failed(error));
    // Each node of the pool is a client of its own; an event's arguments have no types.
    if (this.#own) on("+node", (node) => this.#listenToNode(node as IoredisNode));
  }

  /** One node of the cluster may be away while the others answer. */
  #listenToNode(node: IoredisNode): void {
    let why: unknown;
    let told = false;
    node.on("error", (error) => {
      why = error;
    });
    node.on("ready", () => {
      why = undefined;
      told = false;
    });
    node.on("close", () => {
      this.#refresh();
      // Without an error, it holds no slots any more.
      if (why === undefined || told || this.#closed) return;
      told = true;
      this.#warn(
        `Redis node ${String(node.options.host)}:${String(node.options.port)} is not reached: ${reason(why)}.`,
      );
    });
  }

  /** While a node connects, the cluster refuses commands for it: so all are connected to before any is sent. */
  async #prepare(client: IoredisCluster): Promise<void> {
    if (this.#own)
      await Promise.allSettled(
        client.nodes("master").map((node) => (node.status === "wait" ? node.connect() : undefined)),
      );
    this.#prepared = true;
    this.#gate.connected();
  }

  #refresh(): void {
    const client = this.#client;
    const now = performance.now();
    if (
      this.#closed ||
      !isCluster(client) ||
      client.status !== "ready" ||
      now - this.#refreshedAt < REFRESH_EVERY
    )
      return;
    this.#refreshedAt = now;
    client.refreshSlotsCache();
  }

  #nodes(): readonly IoredisNode[] {
    return isCluster(this.#client) ? this.#client.nodes("all") : [this.#client];
  }

  #nodeAt(client: IoredisCluster, address: string | undefined): IoredisNode {
    const node = client
      .nodes("all")
      .find(({ options }) => `${String(options.host)}:${String(options.port)}` === address);
    if (node !== undefined) return node;
    this.#refresh();
    throw new StoreError(`The cluster's master ${address ?? "of a slot"} is not reached.`);
  }
}

function nodeOf(client: IoredisNode): RedisNode {
  const call = callerOf(client);
  return { send: async (command) => (await call(command)) as Reply }; // as above
}

function watched(client: IoredisNode) {
  return { owed: () => client.commandQueue?.length ?? 0, socket: () => client.stream };
}

/** Whether the server answered; otherwise the connection failed. */
function isAnswer(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError" && !reason(error).startsWith("CLUSTERDOWN");
}

/** Resolves when a client that was told to disconnect has. */
export async function ended(client: IoredisNode): Promise<void> {
  if (client.status === "end" || client.status === "wait" || client.status === "reconnecting") return;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LONGEST_END);
  // A client is an EventEmitter, of which the shape says only what is used.
  await once(client as unknown as NodeJS.EventEmitter, "end", { signal: stop.signal }).catch(() => undefined);
  clearTimeout(timer);
}
