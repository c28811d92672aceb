import { createRequire } from "node:module";
import { reason, StoreError } from "../../base/errors.ts";
import type { IoredisCluster, IoredisNode } from "./ioredis-shape.ts";
import type { Credentials, LinkTarget } from "./link-options.ts";

/** Pauses between attempts to connect, in milliseconds. */
const PAUSE = { first: 20, longest: 500 };
/** Attempts of one cluster node, after which the cluster is asked whether it is still there: about five seconds. */
const NODE_ATTEMPTS = 15;

/** A client of ioredis, as this package wants it: never hangs, never sends twice, comes back by itself. */
export function connect(target: Exclude<LinkTarget, { kind: "client" }>): {
  readonly client: IoredisNode | IoredisCluster;
  readonly where: string;
} {
  const { Redis, Cluster } = loadIoredis();
  const options = { ...connection(target), retryStrategy: pause };
  // ioredis's own types say more, and in part something else, than the link uses of it.
  const own = (client: unknown): IoredisNode => client as IoredisNode;
  switch (target.kind) {
    case "single": {
      const { host, port } = target.address;
      return { client: own(new Redis({ ...options, host, port })), where: `Redis at ${host}:${port}` };
    }
    case "sentinel": {
      const { sentinelUsername, sentinelPassword, sentinelTls, name } = target;
      const client = new Redis({
        ...options,
        sentinels: target.sentinels.map(({ host, port }) => ({ host, port })),
        name,
        role: "master",
        ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
        ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
        ...(sentinelTls === undefined ? {} : { sentinelTLS: sentinelTls }),
        enableTLSForSentinelMode: target.tls !== undefined,
        sentinelCommandTimeout: 1_000,
        sentinelRetryStrategy: pause,
        sentinelReconnectStrategy: () => 1_000,
        // Sentinels announce a failover; waiting for the old master's silence would take longer.
        failoverDetector: true,
      });
      return { client: own(client), where: `Redis "${name}" of Sentinel` };
    }
    case "cluster": {
      const nodes = target.nodes.map(({ host, port }) => ({ host, port }));
      const client = new Cluster(nodes, {
        redisOptions: connection(target),
        enableOfflineQueue: false,
        clusterRetryStrategy: pause,
        clusterNodeRetryStrategy: (times: number) => (times > NODE_ATTEMPTS ? null : pause(times)),
        maxRedirections: 5,
        // A command that may have been carried out is not sent again.
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 0,
        slotsRefreshTimeout: 1_000,
        slotsRefreshInterval: 5_000,
        // Names of hosts go to the socket as they are: certificates are made out to names.
        dnsLookup: (address, callback) => callback(null, address),
      });
      // As above.
      return {
        client: client as unknown as IoredisCluster,
        where: `Redis Cluster at ${nodes.map(({ host, port }) => `${host}:${port}`).join(", ")}`,
      };
    }
  }
}

function connection({ username, password, db, tls }: Credentials) {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    db,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    maxLoadingRetryTime: PAUSE.longest,
    // A master that became a replica: behind the same name or Sentinel there is another one.
    reconnectOnError: (error: Error) => error.message.includes("READONLY"),
    connectTimeout: tls === undefined ? 1_000 : 2_000,
    disconnectTimeout: 200,
    keepAlive: 10_000,
    noDelay: true,
    disableClientInfo: true,
  };
}

/** Between half and all of a pause that doubles, so that many processes do not come back at the same moment. */
function pause(times: number): number {
  const longest = Math.min(PAUSE.first * 2 ** Math.min(times - 1, 10), PAUSE.longest);
  return Math.ceil(longest * (0.5 + Math.random() / 2));
}

/** The optional peer dependency, loaded only when a connection is to be made. */
function loadIoredis(): typeof import("ioredis") {
  try {
    return createRequire(import.meta.url)("ioredis");
  } catch (error) {
    throw new StoreError(
      `redis() needs the package "ioredis" to connect: npm install ioredis; or give it your own client (${reason(error)}).`,
      { cause: error },
    );
  }
}
