// Redis with a replica that may lag behind, and a Sentinel that fails over to it.
import { type RedisOptions, type RedisServer, redisVersion, startRedis, startRedisProcess } from "./redis.ts";
import { callRedis, redisInfo, until } from "./redis-call.ts";

/** A replica, which is a Redis of its own. */
export interface RedisReplica extends RedisServer {
  /** Resolves once it has all that its master had when this was called. */
  caughtUp(): Promise<void>;
  /**
   * Resolves once it has all of now and follows its master no more. It stays up, stays a replica and answers
   * with what it has, so that all the master writes from now on is missing here. A Sentinel puts that right
   * after about 8 s.
   */
  detach(): Promise<void>;
  /** Ends `detach`: resolves once it has all of now. */
  attach(): Promise<void>;
  /** Makes it a master, with what it has. */
  promote(): Promise<void>;
}

/** Starts a replica of the server, with its login and its TLS; resolves once it is in sync. */
export async function startReplica(
  of: RedisServer,
  options: Pick<RedisOptions, "config" | "port"> = {},
): Promise<RedisReplica> {
  const login = loginOf(of);
  const replica = await startRedis({
    ...options,
    ...(login === undefined ? {} : { auth: login }),
    ...(of.ca === undefined ? {} : { tls: { like: of } }),
    config: {
      replicaof: `127.0.0.1 ${of.port}`,
      ...(login?.user === undefined ? {} : { masteruser: login.user }),
      ...(login === undefined ? {} : { masterauth: login.password }),
      ...options.config,
    },
  });
  const caughtUp = async () => {
    const wanted = Number((await redisInfoOf(of)).get("master_repl_offset"));
    await until(`the replica ${replica.url} has all of ${of.url}`, async () => {
      const info = await redisInfoOf(replica);
      return info.get("master_link_status") === "up" && Number(info.get("slave_repl_offset")) >= wanted;
    });
  };
  const attach = async () => {
    await replica.call("REPLICAOF", "127.0.0.1", of.port);
    await caughtUp();
  };
  try {
    await caughtUp();
  } catch (error) {
    await replica.stop();
    throw error;
  }
  return Object.assign(replica, {
    caughtUp,
    attach,
    async detach() {
      await caughtUp();
      // No server can ever be at port 0.
      await replica.call("REPLICAOF", "127.0.0.1", 0);
    },
    async promote() {
      await replica.call("REPLICAOF", "NO", "ONE");
    },
  });
}

/** How `startSentinel` starts one. */
export interface SentinelOptions {
  /** The name clients ask for; `"main"` without. */
  readonly name?: string;
  /** How many Sentinels must agree that the master is down; 1 without. */
  readonly quorum?: number;
  /** Milliseconds without an answer until the master is down; 600 without (1500 before Redis 7). */
  readonly downAfter?: number;
}

/**
 * Asked once a second, as by default, a healthy master would be taken for down in between. Oftener than this is
 * wrong too: only replicas that answered within five of these periods are promoted.
 */
const PERIODS = ["PING-PERIOD", "250", "INFO-PERIOD", "250"];

/** A Sentinel; clients ask it, at `url`, who the master called `name` is. */
export interface RedisSentinel extends RedisServer {
  readonly name: string;
  /** The port of the master as this Sentinel says. */
  masterPort(): Promise<number>;
  /** Has the master replaced though it is well; resolves once a replica is promoted. */
  failover(): Promise<void>;
  /** Resolves once the master is another one than at this port, and the failover is over. */
  failedOver(fromPort: number): Promise<void>;
}

/** Starts a Sentinel over the master; resolves once it knows all of its replicas. */
export async function startSentinel(
  master: RedisServer,
  options: SentinelOptions = {},
): Promise<RedisSentinel> {
  const tunable = (await redisVersion()) >= 7;
  const { name = "main", quorum = 1, downAfter = tunable ? 600 : 1500 } = options;
  const login = loginOf(master);
  const lines = [
    `sentinel monitor ${name} 127.0.0.1 ${master.port} ${quorum}`,
    `sentinel down-after-milliseconds ${name} ${downAfter}`,
    `sentinel failover-timeout ${name} 3000`,
    `sentinel parallel-syncs ${name} 8`,
    ...(login === undefined ? [] : [`sentinel auth-pass ${name} ${login.password}`]),
    ...(login?.user === undefined ? [] : [`sentinel auth-user ${name} ${login.user}`]),
  ];
  const tls = master.ca === undefined ? {} : { tls: { like: master } };
  const sentinel = await startRedisProcess(tls, "sentinel", lines, async (target) => {
    if (tunable) await callRedis(target, ["SENTINEL", "DEBUG", ...PERIODS]);
  });
  const masterPort = async () => {
    const address = await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name);
    return Number(Array.isArray(address) ? address[1] : Number.NaN);
  };
  const failedOver = (fromPort: number) =>
    until(`Sentinel promotes a replica in place of ${fromPort}`, async () => {
      const fields = await sentinel.call("SENTINEL", "MASTER", name);
      // Until all are told of the new master, the flags say more.
      return Number(field(fields, "port")) !== fromPort && field(fields, "flags") === "master";
    });
  try {
    const replicas = Number((await redisInfoOf(master)).get("connected_slaves"));
    await until("Sentinel knows all replicas", async () => {
      const known = await sentinel.call("SENTINEL", "REPLICAS", name);
      return Array.isArray(known) && known.filter(isReachable).length === replicas;
    });
  } catch (error) {
    await sentinel.stop();
    throw error;
  }
  return Object.assign(sentinel, {
    name,
    masterPort,
    failedOver,
    async failover() {
      const before = await masterPort();
      await sentinel.call("SENTINEL", "FAILOVER", name);
      await failedOver(before);
    },
  });
}

/** Whether Sentinel may promote the replica: it has talked to it, and heard that it is in sync. */
function isReachable(fields: unknown): boolean {
  return field(fields, "flags") === "slave" && field(fields, "master-link-status") === "ok";
}

/** The value after a name in a reply of names and values. */
function field(fields: unknown, name: string): string | undefined {
  return Array.isArray(fields) ? String(fields[fields.indexOf(name) + 1]) : undefined;
}

function redisInfoOf(server: RedisServer): Promise<ReadonlyMap<string, string>> {
  return redisInfo(server, ["INFO", "replication"]);
}

/** The login in the server's URL. */
function loginOf(server: RedisServer): { readonly user?: string; readonly password: string } | undefined {
  const { username, password } = new URL(server.url);
  if (password === "") return undefined;
  return {
    password: decodeURIComponent(password),
    ...(username === "" ? {} : { user: decodeURIComponent(username) }),
  };
}
