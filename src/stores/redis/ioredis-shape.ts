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
