// A Redis Cluster of real servers, put together as `redis-cli --cluster create` does.
import { type RedisOptions, type RedisServer, startRedisProcess } from "./redis.ts";
import { redisInfo, until } from "./redis-call.ts";

/** How `startRedisCluster` starts one. */
export interface RedisClusterOptions extends Pick<RedisOptions, "config" | "auth" | "tls"> {
  /** How many masters share the hash slots; 3 without. */
  readonly masters?: number;
  /** Replicas of each master; 0 without. */
  readonly replicasEach?: number;
  /** Milliseconds without an answer until a node is down; 1000 without. */
  readonly nodeTimeout?: number;
}

/** A Redis Cluster; shard `i` is the i-th part of the hash slots, whoever is its master. */
export interface RedisCluster {
  /** All servers: first those that began as masters, shard by shard, then the replicas. */
  readonly nodes: readonly RedisServer[];
  /** Where clients connect to. */
  readonly urls: readonly string[];
  /** The master of each shard now, as the nodes that live agree; a dead one until it is replaced. */
  masters(): Promise<RedisServer[]>;
  /** The replicas of a shard now, dead ones too. */
  replicas(shard: number): Promise<RedisServer[]>;
  /** SIGKILL to the master of the shard; returns it, to be restarted. */
  killMaster(shard: number): Promise<RedisServer>;
  /**
   * Freezes a replica of the shard, cut off from its master, so that it lacks what is written from now on; the
   * next `failover` of the shard wakes it and makes it the master. Returns it.
   */
  holdReplica(shard: number): Promise<RedisServer>;
  /**
   * Makes a replica of the shard its master and resolves once all agree: in order when the master runs, else by
   * force (TAKEOVER). Returns the new master.
   */
  failover(shard: number): Promise<RedisServer>;
  /** Resolves once all running nodes say that the cluster is well. */
  ready(): Promise<void>;
  /** Ends all servers and removes their data. */
  stop(): Promise<void>;
}

const SLOTS = 16_384;

/** Starts a cluster; resolves once every node says it is well and the replicas are in sync. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicasEach = 0 } = options;
  const nodes: RedisServer[] = [];
  const cluster = handleOf(nodes, masters);
  try {
    const [first] = await startNodes(options, masters * (1 + replicasEach), nodes);
    const ids = await Promise.all(nodes.map(async (node) => String(await node.call("CLUSTER", "MYID"))));
    await Promise.all(
      nodes.map(async (node, index) => {
        // Nodes that begin with the same epoch quarrel about it for a while.
        await node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
        if (index < masters) await node.call("CLUSTER", "ADDSLOTS", ...slotsOf(index, masters));
        if (first === undefined || node === first) return;
        await first.call("CLUSTER", "MEET", "127.0.0.1", node.port);
      }),
    );
    await until("all nodes of the cluster have met", async () => {
      const views = await Promise.all(nodes.map(viewOf));
      return views.every((view) => view.length === nodes.length && view.every(({ met }) => met));
    });
    await Promise.all(
      nodes.slice(masters).map(async (node, index) => {
        await node.call("CLUSTER", "REPLICATE", ids[index % masters] ?? "");
      }),
    );
    await cluster.ready();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** Starts the servers, which know nothing of each other yet. */
async function startNodes(
  options: RedisClusterOptions,
  count: number,
  nodes: RedisServer[],
): Promise<RedisServer[]> {
  const { auth, tls = false, nodeTimeout = 1000 } = options;
  const start = async (like?: RedisServer) => {
    const node = await startRedisProcess(
      {
        ...(auth === undefined ? {} : { auth }),
        tls: tls === true && like !== undefined ? { like } : tls,
        config: {
          "cluster-enabled": "yes",
          // Beside the data, so that a node restarted empty is still the same node.
          "cluster-config-file": "../nodes.conf",
          "cluster-node-timeout": String(nodeTimeout),
          // A replica is promoted however long it was cut off.
          "cluster-replica-validity-factor": "0",
          ...(tls === false ? {} : { "tls-cluster": "yes" }),
          ...(auth?.user === undefined ? {} : { masteruser: auth.user }),
          ...(auth === undefined ? {} : { masterauth: auth.password }),
          ...options.config,
        },
      },
      "server",
    );
    nodes.push(node);
    return node;
  };
  // All nodes have the certificate of the first, which clients then trust.
  const first = await start();
  await allSettled(Array.from({ length: count - 1 }, () => start(first)));
  return nodes;
}

/** Waits for all even when one fails, so that none starts behind the back of the clean-up. */
async function allSettled(promises: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(promises)) {
    if (result.status === "rejected") throw result.reason;
  }
}

function handleOf(nodes: readonly RedisServer[], shards: number): RedisCluster {
  const alive = () => nodes.filter((node) => node.state === "running");
  const byPort = (port: number) => {
    const node = nodes.find((node) => node.port === port);
    if (node === undefined) throw new Error(`No node of the cluster has port ${port}.`);
    return node;
  };
  /** What the nodes say; the newest epoch wins, since a node that was away is the last to hear. */
  const masterViews = async () => {
    const views = (await Promise.all(alive().map(viewOf))).flat();
    return Array.from({ length: shards }, (_, shard) => {
      const [slot] = slotsOf(shard, shards);
      const claims = views.filter(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to));
      const [newest] = claims.sort((a, b) => b.epoch - a.epoch);
      if (newest === undefined) throw new Error(`Nobody has shard ${shard} of the cluster.`);
      return newest;
    });
  };
  const masterOf = async (shard: number) => {
    const master = (await masterViews())[shard];
    if (master === undefined) throw new Error(`The cluster has no shard ${shard}.`);
    return master;
  };
  const replicas = async (shard: number) => {
    const { id } = await masterOf(shard);
    const views = (await Promise.all(alive().map(viewOf))).flat();
    const ports = new Set(views.filter((view) => view.masterId === id).map(({ port }) => port));
    return [...ports].map(byPort);
  };
  const ready = () =>
    until("the cluster is well", async () => {
      const running = alive();
      const states = await Promise.all(running.map((node) => isWell(node)));
      return states.every(Boolean);
    });
  return {
    nodes,
    get urls() {
      return nodes.map(({ url }) => url);
    },
    masters: async () => (await masterViews()).map(({ port }) => byPort(port)),
    replicas,
    async killMaster(shard) {
      const master = byPort((await masterOf(shard)).port);
      await master.kill();
      return master;
    },
    async holdReplica(shard) {
      const master = byPort((await masterOf(shard)).port);
      const [replica] = (await replicas(shard)).filter(({ state }) => state === "running");
      if (replica === undefined) throw new Error(`Shard ${shard} has no running replica to hold.`);
      await until("the replica has all of now", async () => {
        const wanted = Number((await redisInfo(master)).get("master_repl_offset"));
        return Number((await redisInfo(replica)).get("slave_repl_offset")) >= wanted;
      });
      await replica.pause();
      // Or it would read, once awake, what the master had sent it meanwhile.
      await master.call("CLIENT", "KILL", "TYPE", "replica");
      return replica;
    },
    async failover(shard) {
      const before = byPort((await masterOf(shard)).port);
      const candidates = (await replicas(shard)).filter(({ state }) => state !== "dead");
      const next = candidates.find(({ state }) => state === "paused") ?? candidates[0];
      if (next === undefined) throw new Error(`Shard ${shard} has no replica to promote.`);
      if (next.state === "paused") await next.resume();
      await until(`${next.url} is promoted`, async () => {
        if ((await redisInfo(next)).get("role") === "master") return true;
        await next.call("CLUSTER", "FAILOVER", ...(before.state === "running" ? [] : ["TAKEOVER"]));
        return false;
      });
      await until("all agree on the new master", async () => {
        const views = await Promise.all(alive().map(viewOf));
        const [slot] = slotsOf(shard, shards);
        return views.every((view) =>
          view.some(
            ({ port, slots }) => port === next.port && slots.some(([from, to]) => from <= slot && slot <= to),
          ),
        );
      });
      await ready();
      return next;
    },
    ready,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

/** A line of CLUSTER NODES. */
interface NodeView {
  readonly id: string;
  readonly port: number;
  /** Neither still shaking hands nor without address. */
  readonly met: boolean;
  readonly masterId: string;
  readonly epoch: number;
  readonly slots: readonly (readonly [from: number, to: number])[];
}

/** What one node says of all: `id ip:port@bus flags master ping pong epoch link slot-slot …`. */
async function viewOf(node: RedisServer): Promise<NodeView[]> {
  const lines = String(await node.call("CLUSTER", "NODES"))
    .trim()
    .split("\n");
  return lines.map((line) => {
    const [id = "", address = "", flags = "", masterId = "", , , epoch = "", , ...slots] = line.split(" ");
    return {
      id,
      port: Number(/:(\d+)/.exec(address)?.[1]),
      met: !/handshake|noaddr/.test(flags),
      masterId,
      epoch: Number(epoch),
      slots: slots.map((range) => {
        const [from, to = from] = range.split("-").map(Number);
        return [from ?? -1, to ?? -1] as const;
      }),
    };
  });
}

async function isWell(node: RedisServer): Promise<boolean> {
  const info = await redisInfo(node, ["CLUSTER", "INFO"]);
  if (info.get("cluster_state") !== "ok" || info.get("cluster_slots_ok") !== String(SLOTS)) return false;
  const replication = await redisInfo(node, ["INFO", "replication"]);
  return replication.get("role") === "master" || replication.get("master_link_status") === "up";
}

/** The hash slots of a shard, in equal parts. */
function slotsOf(shard: number, shards: number): [first: number, ...rest: number[]] {
  const from = Math.floor((shard * SLOTS) / shards);
  const to = Math.floor(((shard + 1) * SLOTS) / shards);
  return [from, ...Array.from({ length: to - from - 1 }, (_, index) => from + 1 + index)];
}
