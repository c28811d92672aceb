/** What the link uses of any client of node-redis. Events are Node's. */
interface AnyClient {
  /** `connect` was called, and neither `close` nor `destroy`. */
  readonly isOpen: boolean;
  /** Not there in a cluster's client of node-redis 5. */
  readonly isReady?: boolean;
  connect(): Promise<unknown>;
  destroy(): unknown;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** Options of one command: how replies of a type are given. */
export interface CommandOptions {
  readonly typeMapping: Readonly<Record<number, unknown>>;
}

type Arguments = (string | Buffer)[];

/** Made by `createClient`. */
export interface NodeRedisSingle extends AnyClient {
  sendCommand(args: Arguments, options: CommandOptions): Promise<unknown>;
  duplicate(overrides: object): NodeRedisSingle;
}

/** Made by `createSentinel`. */
export interface NodeRedisSentinel extends AnyClient {
  sendCommand(isReadonly: boolean, args: Arguments, options: CommandOptions): Promise<unknown>;
  duplicate(overrides: object): NodeRedisSentinel;
}

/** Made by `createCluster`. */
export interface NodeRedisCluster extends AnyClient {
  readonly masters: readonly object[];
  sendCommand(
    key: string | undefined,
    isReadonly: boolean,
    args: Arguments,
    options: CommandOptions,
  ): Promise<unknown>;
  nodeClient(node: object): NodeRedisSingle | Promise<NodeRedisSingle>;
  readonly slots: readonly ({ readonly master: object } | undefined)[];
}

/** A client of node-redis, told apart. */
export type NodeRedis =
  | { readonly kind: "single"; readonly client: NodeRedisSingle }
  | { readonly kind: "sentinel"; readonly client: NodeRedisSentinel }
  | { readonly kind: "cluster"; readonly client: NodeRedisCluster };

/** Tells the three clients of node-redis apart by what only they have. */
export function nodeRedisOf(client: object): NodeRedis {
  // Looked at just here; the types of node-redis are not those of this package.
  if ("nodeClient" in client) return { kind: "cluster", client: client as NodeRedisCluster };
  if ("getSentinelNode" in client)
    return { kind: "sentinel", client: client as unknown as NodeRedisSentinel };
  return { kind: "single", client: client as NodeRedisSingle };
}
