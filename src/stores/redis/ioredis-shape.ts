import type { WatchedSocket } from "./watchdog.ts";

/** What the link uses of a `Redis` of ioredis or iovalkey. */
export interface IoredisNode {
  /** "wait", "connecting", "connect" (shaking hands), "ready", "close", "reconnecting", "end". */
  readonly status: string;
  /** The socket, once there is one. */
  readonly stream?: WatchedSocket | undefined;
  /** Commands sent and not answered. */
  readonly commandQueue?: { readonly length: number } | undefined;
  readonly options: Readonly<Record<string, unknown>>;
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>;
  connect(): Promise<unknown>;
  disconnect(reconnect?: boolean): void;
  duplicate(overrides: object): IoredisNode;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** What the link uses of a `Cluster` of ioredis or iovalkey. */
export interface IoredisCluster {
  readonly status: string;
  readonly isCluster: true;
  /** For each slot the nodes that hold it, as "host:port", the master first. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly slots: readonly (readonly string[] | undefined)[];
  nodes(role: "all" | "master"): readonly IoredisNode[];
  refreshSlotsCache(): void;
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>;
  disconnect(reconnect?: boolean): void;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** Whether a client is a cluster's. */
export function isCluster(client: IoredisNode | IoredisCluster): client is IoredisCluster {
  return "isCluster" in client && client.isCluster === true;
}

/** Sends one command and gives its reply with texts as bytes. */
export type Caller = (command: readonly (string | Buffer)[]) => Promise<unknown>;

/**
 * How commands are sent by a client. With `enableAutoPipelining`, ioredis's `callBuffer` loses the name of the
 * command: then it is made to believe that it belongs to a client without.
 */
export function callerOf(client: IoredisNode | IoredisCluster): Caller {
  const plain =
    client.options.enableAutoPipelining === true
      ? { options: {}, sendCommand: (command: unknown) => sendCommand(client, command) }
      : client;
  return ([name, ...args]) => Reflect.apply(client.callBuffer, plain, [String(name), ...args]);
}

function sendCommand(client: object, command: unknown): unknown {
  return "sendCommand" in client && typeof client.sendCommand === "function"
    ? Reflect.apply(client.sendCommand, client, [command])
    : undefined;
}
