import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type ControlledServer,
  callRedis,
  freePort,
  type MemcachedServer,
  missingForTls,
  type RedisCluster,
  type RedisServer,
  startMemcached,
  startRedis,
  startRedisCluster,
  startReplica,
  startSentinel,
} from "./servers.ts";

const started: { stop(): Promise<void> }[] = [];

/** Has the server stopped after the test. */
function use<T extends { stop(): Promise<void> }>(server: T): T {
  started.push(server);
  return server;
}

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

/** Whether anybody listens on the loopback port. */
async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    return await new Promise((resolve) =>
      socket.on("connect", () => resolve(true)).on("error", () => resolve(false)),
    );
  } finally {
    socket.destroy();
  }
}

/** Sends a line to Memcached and gives its answer up to the end of that line. */
async function memcachedLine(server: MemcachedServer, text: string): Promise<string> {
  const socket = connect(server.port, "127.0.0.1");
  try {
    socket.write(`${text}\r\n`);
    const [answer] = await once(socket, "data");
    return String(answer).trimEnd();
  } finally {
    socket.destroy();
  }
}

/** Both kinds have the same handle. */
const kinds: [name: string, start: (options?: { port: number }) => Promise<ControlledServer>][] = [
  ["a Redis", startRedis],
  ["a Memcached", startMemcached],
];

describe.each(kinds)("%s", (_name, start) => {
  test("is on the loopback port that was asked for, or on a free one", async () => {
    const port = await freePort();
    const asked = use(await start({ port }));
    const free = use(await start());
    expect(asked.port).toBe(port);
    expect(free.port).not.toBe(port);
    for (const server of [asked, free]) {
      expect(await isListening(server.port)).toBe(true);
      expect(server.url).toContain(`//127.0.0.1:${server.port}`);
      expect(server.state).toBe("running");
    }
  });

  test("is gone once kill resolves, and back on the same port after restart", async () => {
    const server = use(await start());
    const { pid, url } = server;
    await server.kill();
    expect(server.state).toBe("dead");
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    expect(await isListening(server.port)).toBe(false);
    await server.restart();
    expect(await isListening(server.port)).toBe(true);
    expect(server.state).toBe("running");
    expect(server.pid).not.toBe(pid);
    expect(server.url).toBe(url);
    await server.kill();
    await server.kill();
    await expect(server.pause()).rejects.toThrow(/dead/);
  });

  test("restarts while it runs, and while it is paused", async () => {
    const server = use(await start());
    await server.restart();
    await server.pause();
    expect(server.state).toBe("paused");
    await server.restart();
    expect(server.state).toBe("running");
    expect(await isListening(server.port)).toBe(true);
  });

  test("is stopped in any state, more than once, and for good", async () => {
    const running = use(await start());
    await running.stop();
    expect(await isListening(running.port)).toBe(false);
    await running.stop();
    await expect(running.restart()).rejects.toThrow(/after stop/);
    const paused = use(await start());
    await paused.pause();
    await paused.stop();
    expect(paused.state).toBe("dead");
    const killed = use(await start());
    await killed.kill();
    await killed.stop();
  });

  test("stopped during a restart leaves nothing behind", async () => {
    const server = use(await start());
    const restarted = server.restart();
    await server.stop();
    await restarted;
    expect(server.state).toBe("dead");
    expect(await isListening(server.port)).toBe(false);
  });

  test("cannot have a port that is taken, and says so", async () => {
    const first = use(await start());
    await expect(start({ port: first.port })).rejects.toThrow(/in use/);
  });

  test("gets its port back when another process has it during a restart", async () => {
    const server = use(await start());
    await server.kill();
    const thief = use(await startRedis({ port: server.port }));
    const restarted = server.restart();
    // As long as this takes, the restart has tried in vain.
    for (let round = 0; round < 3; round++) await use(await start()).restart();
    await thief.stop();
    await restarted;
    expect(await isListening(server.port)).toBe(true);
  });
});

describe("a Redis", () => {
  test("keeps everything in memory, and has its debug commands", async () => {
    const server = use(await startRedis());
    expect(await server.call("CONFIG", "GET", "save")).toEqual(["save", ""]);
    expect(await server.call("CONFIG", "GET", "appendonly")).toEqual(["appendonly", "no"]);
    expect(await server.call("CONFIG", "GET", "bind")).toEqual(["bind", "127.0.0.1"]);
    expect(await server.call("DEBUG", "SLEEP", "0")).toBe("OK");
  });

  test("is configured as told", async () => {
    const config = { maxmemory: "5mb", "maxmemory-policy": "allkeys-lru", appendonly: "yes" };
    const server = use(await startRedis({ config }));
    expect(await server.call("CONFIG", "GET", "maxmemory")).toEqual(["maxmemory", "5242880"]);
    expect(await server.call("CONFIG", "GET", "appendonly")).toEqual(["appendonly", "yes"]);
  });

  test("restarts empty, whatever it had saved, or with what it had saved when it is to keep that", async () => {
    const server = use(await startRedis());
    await server.call("SET", "key", "value");
    await server.call("SAVE");
    await server.call("SET", "later", "lost");
    await server.kill();
    await server.restart({ keepData: true });
    expect(await server.call("MGET", "key", "later")).toEqual(["value", null]);
    await server.restart();
    expect(await server.call("MGET", "key", "later")).toEqual([null, null]);
  });

  test("takes no command while it is paused, and then answers those that waited", async () => {
    const server = use(await startRedis());
    const client = new Redis(server.url);
    await client.set("key", "value");
    const other = use(await startRedis());
    await server.pause();
    let answered = false;
    const answer = client.get("key").finally(() => {
      answered = true;
    });
    // The system accepts for it, and nobody answers; another server has answered often by then.
    expect(await isListening(server.port)).toBe(true);
    for (let round = 0; round < 10; round++) await other.call("PING");
    expect(answered).toBe(false);
    await server.resume();
    expect(await answer).toBe("value");
    client.disconnect();
  });

  test("lets in only who can log in", async () => {
    const secret = "s3:cr/t@";
    const byUser = use(await startRedis({ auth: { user: "app", password: secret } }));
    expect(await byUser.call("ACL", "WHOAMI")).toBe("app");
    const stranger = { url: `redis://127.0.0.1:${byUser.port}` };
    await expect(callRedis(stranger, ["GET", "key"])).rejects.toThrow(/NOAUTH/);
    const byPassword = use(await startRedis({ auth: { password: secret } }));
    await byPassword.restart();
    expect(await byPassword.call("ACL", "WHOAMI")).toBe("default");
    const nobody = { url: `redis://127.0.0.1:${byPassword.port}` };
    await expect(callRedis(nobody, ["GET", "key"])).rejects.toThrow(/NOAUTH/);
  });

  test("speaks TLS with a certificate of its own", async (context) => {
    const missing = await missingForTls();
    if (missing !== undefined) return context.skip(missing);
    const server = use(await startRedis({ tls: true }));
    expect(server.url).toMatch(/^rediss:/);
    await server.restart();
    expect(await server.call("PING")).toBe("PONG");
    const other = use(await startRedis({ tls: true }));
    await expect(callRedis({ url: server.url, ca: other.ca }, ["PING"])).rejects.toThrow();
    const replica = use(await startReplica(server));
    await server.call("SET", "key", "value");
    await replica.caughtUp();
    expect(await replica.call("GET", "key")).toBe("value");
  });

  test("that cannot start says why and leaves no folder", async () => {
    const folder = await mkdtemp(join(tmpdir(), "caching-universal-none-"));
    try {
      vi.stubEnv("TMPDIR", folder);
      await expect(startRedis({ config: { "no-such-thing": "yes" } })).rejects.toThrow(/no-such-thing/);
      vi.stubEnv("TEST_REDIS_SERVER", "/no/such/redis");
      await expect(startRedis()).rejects.toThrow(/no\/such\/redis/);
      vi.stubEnv("TEST_REDIS_SERVER", "");
      vi.stubEnv("TEST_MEMCACHED_SERVER", "/no/such/memcached");
      await expect(startMemcached()).rejects.toThrow(/no\/such\/memcached/);
      vi.stubEnv("TEST_MEMCACHED_SERVER", "");
      vi.stubEnv("PATH", "/no/such/folder");
      for (const start of [startRedis, startMemcached]) {
        await expect(start()).rejects.toThrow(/scripts\/install-servers\.sh/);
      }
      expect(await missingForTls()).toMatch(/openssl/);
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("a replica", () => {
  let master: RedisServer;
  beforeAll(async () => {
    master = await startRedis();
  });
  afterAll(() => master.stop());

  test("lags behind as long as it is detached, and catches up", async () => {
    const replica = use(await startReplica(master));
    await master.call("SET", "before", 1);
    await replica.detach();
    await master.call("SET", "after", 1);
    expect(await replica.call("MGET", "before", "after")).toEqual(["1", null]);
    expect(await replica.call("ROLE")).toContain("slave");
    await replica.attach();
    expect(await replica.call("MGET", "before", "after")).toEqual(["1", "1"]);
  });

  test("promoted while detached is a master that lacks the last writes", async () => {
    const replica = use(await startReplica(master));
    await replica.detach();
    await master.call("SET", "lost", 1);
    await replica.promote();
    expect(await replica.call("GET", "lost")).toBe(null);
    expect(await replica.call("SET", "own", 1)).toBe("OK");
    expect(await master.call("GET", "own")).toBe(null);
  });
});

describe("a Sentinel", () => {
  test("fails over to a replica that lags, when the master is killed", async () => {
    const master = use(await startRedis({ auth: { user: "app", password: "secret" } }));
    const replica = use(await startReplica(master));
    const sentinel = use(await startSentinel(master));
    expect(await sentinel.masterPort()).toBe(master.port);
    const client = new Redis({
      sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
      name: sentinel.name,
      username: "app",
      password: "secret",
      retryStrategy: () => 10,
      sentinelRetryStrategy: () => 10,
    });
    // The master it loses and does not find again at once; it would be printed.
    client.on("error", () => {});
    await client.set("before", 1);
    await replica.detach();
    await client.set("lost", 1);
    await master.kill();
    await sentinel.failedOver(master.port);
    expect(await sentinel.masterPort()).toBe(replica.port);
    expect(await client.mget("before", "lost")).toEqual(["1", null]);
    client.disconnect();
  });

  test("leaves a healthy master alone, and replaces it when told to", async () => {
    const master = use(await startRedis());
    const replica = use(await startReplica(master));
    const sentinel = use(await startSentinel(master, { name: "other" }));
    const events: string[] = [];
    const listener = new Redis(sentinel.url);
    listener.on("pmessage", (_pattern, channel) => events.push(String(channel)));
    await listener.psubscribe("*");
    await sentinel.failover();
    expect(await sentinel.masterPort()).toBe(replica.port);
    await expect.poll(() => events).toContain("+switch-master");
    expect(events).not.toContain("+sdown");
    listener.disconnect();
  });
});

describe("a Redis Cluster", () => {
  let cluster: RedisCluster;
  let client: Cluster;
  const keys = Array.from({ length: 60 }, (_, index) => `key ${index}`);
  const values = () => Promise.all(keys.map((key) => client.get(key)));
  const write = (value: string) => Promise.all(keys.map((key) => client.set(key, value)));

  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasEach: 1 });
    client = new Cluster([...cluster.urls], { clusterRetryStrategy: () => 20, slotsRefreshTimeout: 5000 });
  });
  afterAll(async () => {
    client.disconnect();
    await cluster.stop();
  });

  test("has its keys on all masters, each with a replica", async () => {
    await write("first");
    expect(await values()).toEqual(keys.map(() => "first"));
    const masters = await cluster.masters();
    expect(masters).toEqual(cluster.nodes.slice(0, 3));
    for (const [shard, master] of masters.entries()) {
      expect(await master.call("DBSIZE")).toBeGreaterThan(0);
      expect(await cluster.replicas(shard)).toHaveLength(1);
    }
  });

  test("fails over in order without a loss while the master runs", async () => {
    await write("second");
    const [before] = await cluster.masters();
    const after = await cluster.failover(0);
    expect((await cluster.masters())[0]).toBe(after);
    expect(await cluster.replicas(0)).toEqual([before]);
    expect(await values()).toEqual(keys.map(() => "second"));
  });

  test("fails over by force to a replica that lacks the last writes", async () => {
    await write("old");
    const held = await cluster.holdReplica(1);
    await write("new");
    const dead = await cluster.killMaster(1);
    expect(dead.state).toBe("dead");
    expect(await cluster.failover(1)).toBe(held);
    const seen = await values();
    const lost = seen.filter((value) => value === "old").length;
    expect(lost).toBe(Number(await held.call("DBSIZE")));
    expect(lost).toBeGreaterThan(0);
    expect(seen.filter((value) => value === "new").length).toBe(keys.length - lost);
    await dead.restart();
    await cluster.ready();
    expect(await cluster.replicas(1)).toEqual([dead]);
  });

  test("loses a shard's keys when its master restarts empty before anybody noticed", async () => {
    await write("kept");
    const master = await cluster.killMaster(2);
    await master.restart();
    await cluster.ready();
    expect((await cluster.masters())[2]).toBe(master);
    expect(await master.call("DBSIZE")).toBe(0);
  });
});

describe("a Memcached", () => {
  test("keeps items until it restarts", async () => {
    const server = use(await startMemcached({ memory: 8, args: ["-I", "2m"] }));
    expect(server.host).toBe(`127.0.0.1:${server.port}`);
    expect(await memcachedLine(server, "set key 0 0 5\r\nvalue")).toBe("STORED");
    expect(await memcachedLine(server, "get key")).toBe("VALUE key 0 5\r\nvalue\r\nEND");
    const settings = await memcachedLine(server, "stats settings");
    expect(settings).toMatch(/STAT maxbytes 8388608/);
    expect(settings).toMatch(/STAT item_size_max 2097152/);
    await server.restart();
    expect(await memcachedLine(server, "get key")).toBe("END");
  });

  test("says nothing while it is paused", async () => {
    const server = use(await startMemcached());
    const other = use(await startMemcached());
    await server.pause();
    let answered = false;
    const answer = memcachedLine(server, "version").finally(() => {
      answered = true;
    });
    for (let round = 0; round < 10; round++) await memcachedLine(other, "version");
    expect(answered).toBe(false);
    await server.resume();
    expect(await answer).toMatch(/^VERSION/);
  });
});

test("servers of a test run that is killed end with it, frozen ones too, and their folders go", async () => {
  const run = fork(new URL("./servers/dying-run.ts", import.meta.url), { execArgv: [] });
  const [{ folder, ports }] = await once(run, "message");
  for (const port of ports) expect(await isListening(port)).toBe(true);
  run.kill("SIGKILL");
  await expect.poll(() => existsSync(folder), { timeout: 5000 }).toBe(false);
  for (const port of ports) await expect.poll(() => isListening(port), { timeout: 5000 }).toBe(false);
});
