/** What Redis answers: bulk strings come as Buffers, errors reject. */
export type Reply = Buffer | string | number | null | readonly Reply[];

/** One connection to one server. */
export interface RedisNode {
  /** Sends one command; many sent in one turn travel together. */
  send(command: readonly (string | Buffer)[]): Promise<Reply>;
}

/** A connection that only its owner uses, for commands that block. */
export interface DedicatedNode extends RedisNode {
  /** It does not answer: drop it (commands under way reject); the next command connects anew, and waits for that. */
  reconnect(): void;
  close(): Promise<void>;
}

/**
 * Redis or Valkey, whatever client and topology is behind it (one server, Sentinel, Cluster). While it is not
 * connected, commands reject at once instead of queueing; only the first connection is waited for. A command
 * is never sent twice by the link: one that rejected may have been carried out.
 */
export interface RedisLink {
  readonly cluster: boolean;
  /** Sends one command, which names `key`, to the master where that lives. */
  send(key: string, command: readonly (string | Buffer)[]): Promise<Reply>;
  /** Runs a script by its digest, or by its text where the server does not have it yet. */
  run(script: Script, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<Reply>;
  /** All masters, for walks over all keys. Rejects when one is not known: a walk must not skip its keys. */
  masters(): Promise<readonly RedisNode[]>;
  /** A connection of its own to the master where `key` lives; follows it when that moves. Made by the first command. */
  dedicated(key: string): DedicatedNode;
  /** Ends the connections it made itself; a client that the user gave goes on. */
  close(): Promise<void>;
}

/** A Lua script and the SHA-1 digest that servers know it by. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}
