// What is Redis's own about the store: scripts, foreign data, a server in trouble.
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OptionError } from "../../../src/base/errors.ts";
import { type RedisOptions, redis } from "../../../src/stores/redis/index.ts";
import type { Store } from "../../../src/stores/store.ts";
import { manualClock, storedEntry } from "../../../src/testing/index.ts";
import { type RedisServer, startRedis } from "../../servers.ts";

let server: RedisServer;
const opened: Store[] = [];
let warnings: string[] = [];

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  warnings = [];
  await server.call("FLUSHALL");
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

function open(options: RedisOptions = {}, cacheName = "shop"): Store {
  const store = redis({ ...(options.client === undefined ? { url: server.url } : {}), ...options }).open({
    cacheName,
    clock: manualClock(),
    random: Math.random,
    maxLag: 1_000,
    warn: (message) => warnings.push(message),
  });
  opened.push(store);
  return store;
}

async function textOf(store: Store, key: string): Promise<string | undefined> {
  const [read] = await store.read([key]);
  return read?.found === undefined ? undefined : Buffer.from(read.found.entry.value).toString();
}

async function lease(store: Store, key: string): Promise<string> {
  const [read] = await store.read([key], { lease: 10_000 });
  if (read?.lease === undefined || read.lease === "busy") throw new Error("no lease is lent");
  return read.lease;
}

const text = (value: string) => storedEntry({ value: Buffer.from(value), ttl: 60_000 });

/** Tries until the store answers, and tells how long that took. */
async function untilAnswers(store: Store): Promise<number> {
  const since = performance.now();
  for (;;) {
    try {
      await store.ping();
      return performance.now() - since;
    } catch {
      await sleep(10);
    }
  }
}

describe("scripts", () => {
  it("stand in scripts.ts as they stand in their .lua files", () => {
    const embed = fileURLToPath(new URL("../../../scripts/embed-lua.mjs", import.meta.url));
    execFileSync(process.execPath, [embed, "--check"]);
  });

  it("are sent again after the server has forgotten them", async () => {
    const store = open();
    await store.write([["k", text("v")]]);
    await server.call("SCRIPT", "FLUSH");
    expect(await textOf(store, "k")).toBe("v");
    await server.call("SCRIPT", "FLUSH");
    expect(await store.remove(["k"])).toBe(1);
  });
});

describe("keys and what they hold", () => {
  it("are readable in redis-cli, and keep to the memory of an entry", async () => {
    await open().write([["user:1", text("v")]]);
    expect(await server.call("KEYS", "*")).toEqual(["shop:user:1"]);
    await open({ prefix: "app:shop" }).write([["user:1", text("v")]]);
    expect(await server.call("EXISTS", "app:shop:user:1")).toBe(1);
  });

  for (const layout of ["binary", "json"] as const) {
    describe(`in the ${layout} layout`, () => {
      it("that hold something else are misses, and are replaced", async () => {
        const store = open({ layout });
        const foreign = [
          ["list", ["RPUSH", "shop:list", "x"]],
          ["hash", ["HSET", "shop:hash", "f", "v"]],
          ["text", ["SET", "shop:text", "hello"]],
          ["number", ["SET", "shop:number", "12"]],
          ["empty", ["SET", "shop:empty", ""]],
          ["one byte", ["SET", "shop:one byte", "\u0001"]],
          ["two", ["SET", "shop:two", "\u0002\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u007f"]],
          ["json", ["SET", "shop:json", '{"value":1}']],
          ["brace", ["SET", "shop:brace", "{"]],
          ["new version", ["SET", "shop:new version", "\u0009 of another version"]],
        ] as const;
        for (const [, command] of foreign) await server.call(...command);
        const keys = foreign.map(([key]) => key);
        for (const { found } of await store.read(keys)) expect(found).toBeUndefined();
        expect(await store.remove(keys, 5)).toBe(0);
        expect((await store.stats()).entries).toBe(0);
        for await (const _ of store.keys("")) expect.unreachable();
        await store.clear("another");
        // What others keep under these names is not cleared away.
        expect(await server.call("DBSIZE")).toBe(keys.length);
        for (const key of keys) {
          expect(await store.touch(key, 1_000)).toBe(false);
          expect(await store.renew(key, "token", 1_000)).toBe(false);
          expect(await store.fill(key, text("v"), "token")).toBe("refused");
          expect(await store.fill(key, text("v"), await lease(store, key))).toBe("stored");
          expect(await textOf(store, key)).toBe("v");
        }
        for (const [, command] of foreign)
          await server.call("DEL", command[1]).then(() => server.call(...command));
        await store.write(keys.map((key) => [key, text("w")] as const));
        for (const key of keys) expect(await textOf(store, key)).toBe("w");
        for (const [, command] of foreign)
          await server.call("DEL", command[1]).then(() => server.call(...command));
        expect(await store.remove(keys.slice(1))).toBe(0);
        expect(await store.expire(keys)).toBe(0);
        expect(await server.call("DBSIZE")).toBe(0);
      });

      it("are kept as long as ttl and grace say, with and without a lease", async () => {
        const store = open({ layout });
        const pttl = async () => Number(await server.call("PTTL", "shop:k"));
        await store.write([["k", storedEntry({ ttl: 5_000, grace: 3_000 })]]);
        expect(await pttl()).toBeGreaterThan(7_900);
        const [eager] = await store.read(["k"], { lease: 1_000, refresh: true });
        expect(await pttl()).toBeGreaterThan(7_800);
        await store.release("k", String(eager?.lease));
        expect(await pttl()).toBeLessThanOrEqual(8_000);
        await store.read(["k"], { lease: 60_000, refresh: true });
        expect(await pttl()).toBeGreaterThan(59_000);
        await store.expire(["k"]);
        expect(await pttl()).toBeLessThanOrEqual(3_000);
        await store.write([["k", storedEntry({ ttl: Number.POSITIVE_INFINITY })]]);
        expect(await pttl()).toBe(-1);
        await store.write([["k", storedEntry({ ttl: 0 })]]);
        expect(await server.call("DBSIZE")).toBe(0);
        await lease(store, "k");
        expect(await pttl()).toBeLessThanOrEqual(10_000);
      });

      it("hold an entry no longer than ttl and grace, though a lease in front lasts longer", async () => {
        const store = open({ layout });
        await store.write([["k", storedEntry({ ttl: 40, grace: 40 })]]);
        const [read] = await store.read(["k"], { lease: 60_000, refresh: true });
        await sleep(120);
        expect((await store.read(["k"]))[0]?.found).toBeUndefined();
        expect(await store.remove(["k"], 99)).toBe(0);
        expect(await store.touch("k", 1_000)).toBe(false);
        expect((await store.stats()).entries).toBe(0);
        expect(await store.renew("k", String(read?.lease), 60_000)).toBe(true);
        expect(await store.fill("k", text("v"), String(read?.lease))).toBe("stored");
      });

      it("keep a lease through touch, sweep and clear, and who waits for it", async () => {
        const store = open({ layout });
        const lend = async (key: string) => {
          const read = { lease: 10_000, refresh: true };
          const [first] = await store.read([key], read);
          expect((await store.read([key], read))[0]?.lease).toBe("busy");
          return String(first?.lease);
        };
        for (const key of ["touched", "swept", "cleared"]) {
          await store.write([[key, storedEntry({ asOf: 3, generation: key === "cleared" ? "old" : "g" })]]);
          const token = await lend(key);
          if (key === "touched") expect(await store.touch(key, 9_000)).toBe(true);
          if (key === "swept") expect(await store.remove([key], 4)).toBe(1);
          if (key === "cleared") await store.clear("g");
          expect((await store.read([key]))[0]?.found !== undefined).toBe(key === "touched");
          expect(await store.fill(key, text("v"), token)).toBe("awaited");
        }
      });

      it("give back every fact, however large or odd", async () => {
        const store = open({ layout });
        const entry = storedEntry({
          value: Buffer.from([1, 0, 0, ...Buffer.from('{"a":[1,{"value":"}"}]}')]),
          ttl: 2 ** 39,
          grace: Number.POSITIVE_INFINITY,
          asOf: 1_700_000_000_123,
          generation: 'gen "\\ü',
          tags: [
            '"value":',
            "",
            "\\",
            "ü",
            "line\nbreak",
            "x".repeat(300),
            ...Array.from({ length: 200 }, (_, i) => `t${i}`),
          ],
          cost: 0.5,
          sliding: 1,
          shape: 0xffff_ffff,
        });
        await store.write([["k", entry]]);
        const [read] = await store.read(["k"]);
        expect({ ...read?.found?.entry, value: Buffer.from(read?.found?.entry.value ?? []) }).toEqual(entry);
        await store.clear('gen "\\ü');
        expect((await store.read(["k"]))[0]?.found).toBeDefined();
        await store.clear('gen "\\u');
        expect((await store.read(["k"]))[0]?.found).toBeUndefined();
      });
    });
  }

  it("are read whatever layout they were written in", async () => {
    const [binary, json] = [open(), open({ layout: "json" })];
    await binary.write([["b", text("v")]]);
    await json.write([["j", text("v")]]);
    expect(await textOf(binary, "j")).toBe("v");
    expect(await textOf(json, "b")).toBe("v");
    expect(await binary.expire(["b", "j"])).toBe(2);
  });

  it("are JSON that other programs understand, in the JSON layout", async () => {
    const store = open({ layout: "json" });
    const framed = (value: string) => Buffer.from([1, 0, 0, ...Buffer.from(value)]);
    await store.write([["k", storedEntry({ value: framed('{"price":12}'), tags: ["t"], ttl: 1_000 })]]);
    expect(JSON.parse(String(await server.call("GET", "shop:k")))).toMatchObject({
      value: { price: 12 },
      ttl: 1_000,
      grace: 0,
      tags: ["t"],
      generation: "g",
    });
    await store.write([["t", storedEntry({ value: Buffer.from([1, 0, 1, ...Buffer.from('say "ü"')]) })]]);
    expect(JSON.parse(String(await server.call("GET", "shop:t")))).toMatchObject({ value: 'say "ü"' });
    await store.read(["k"], { lease: 1_000, refresh: true });
    expect(JSON.parse(String(await server.call("GET", "shop:k")))).toMatchObject({
      value: { price: 12 },
      awaited: 0,
    });
  });
});

describe("reading", () => {
  const calls = async (): Promise<number> => {
    const stats = String(await server.call("INFO", "commandstats"));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };

  it("a thousand keys at once takes few commands", async () => {
    const store = open();
    await store.write(Array.from({ length: 1_000 }, (_, i) => [`k${i}`, text(`v${i}`)] as const));
    await store.ping();
    const before = await calls();
    const values = await Promise.all(Array.from({ length: 1_000 }, (_, i) => textOf(store, `k${i}`)));
    expect(values).toEqual(Array.from({ length: 1_000 }, (_, i) => `v${i}`));
    expect((await calls()) - before).toBeLessThanOrEqual(8);
  });

  it("keeps what was asked apart: a reader without a lease is lent none", async () => {
    const store = open();
    const [plain, leased, fresh] = await Promise.all([
      store.read(["k"]),
      store.read(["k"], { lease: 10_000 }),
      store.read(["j"], { lease: 10_000, refresh: true }),
    ]);
    expect(plain[0]?.lease).toBeUndefined();
    expect(leased[0]?.lease).toMatch(/^[\w-]+$/);
    expect(fresh[0]?.lease).toMatch(/^[\w-]+$/);
  });

  it("gives a lease back that came after its reader had gone", async () => {
    const store = open();
    await store.ping();
    const gone = new AbortController();
    const read = store.read(["k"], { lease: 60_000, signal: gone.signal });
    await Promise.resolve();
    gone.abort(new Error("gone"));
    await expect(read).rejects.toThrow("gone");
    await expect.poll(() => server.call("EXISTS", "shop:k")).toBe(0);
  });
});

describe("stats", () => {
  it("are an estimate of many keys, and exact of few among many others", async () => {
    const store = open();
    const count = 30_000;
    for (let from = 0; from < count; from += 5_000)
      await store.write(
        Array.from({ length: 5_000 }, (_, i) => [`k${from + i}`, text("v".repeat(20))] as const),
      );
    const { entries, bytes } = await store.stats();
    expect(entries).toBeGreaterThan(count * 0.8);
    expect(entries).toBeLessThan(count * 1.2);
    expect(bytes / entries).toBeGreaterThan(40);
    const few = open({}, "few");
    await few.write([["k", text("v")]]);
    expect((await few.stats()).entries).toBe(1);
  });
});

describe("a server in trouble", () => {
  it("that is frozen neither hangs the process nor keeps calls, and answers again by itself", async () => {
    const store = open();
    await store.write([["k", text("v")]]);
    await server.pause();
    const frozen = await Promise.allSettled([
      store.read(["k"]),
      store.remove(["x"]),
      store.write([["y", text("v")]]),
    ]);
    expect(frozen.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    await expect(store.read(["k"])).rejects.toThrow("not connected");
    await server.resume();
    expect(await untilAnswers(store)).toBeLessThan(1_500);
    expect(await textOf(store, "k")).toBe("v");
    expect(warnings.filter((warning) => warning.includes("not reached"))).toHaveLength(1);
  }, 20_000);

  it("that was frozen lends no leases to those who have gone", async () => {
    const [store, other] = [open(), open()];
    await Promise.all([store.ping(), other.ping()]);
    await server.pause();
    await expect(store.read(["k"], { lease: 60_000 })).rejects.toThrow();
    await server.resume();
    await untilAnswers(other);
    await expect
      .poll(async () => (await other.read(["k"], { lease: 1_000 }))[0]?.lease, { timeout: 2_000 })
      .not.toBe("busy");
  }, 20_000);

  it("that is killed rejects at once, and is found again after its restart", async () => {
    const store = open();
    await store.write([["k", text("v")]]);
    await server.kill();
    await expect.poll(() => store.ping().then(String, String)).toContain("not connected");
    const since = performance.now();
    await expect(store.read(["k"])).rejects.toThrow("not connected");
    expect(performance.now() - since).toBeLessThan(100);
    await server.restart();
    expect(await untilAnswers(store)).toBeLessThan(1_500);
    expect(await textOf(store, "k")).toBeUndefined();
  }, 20_000);

  it("that is not there yet is waited for a moment, and then refused", async () => {
    await server.kill();
    const store = open();
    await expect(store.read(["k"])).rejects.toThrow("ECONNREFUSED");
    await store.close();
    await server.restart();
  }, 20_000);

  it("that has no memory refuses what is written, and still removes and reads", async () => {
    const store = open();
    const entry = storedEntry({ ttl: 60_000, grace: 60_000 });
    await store.write(["a", "b", "c", "d"].map((key) => [key, entry] as const));
    const token = await lease(store, "leased");
    await server.call("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await server.call("CONFIG", "SET", "maxmemory", "1");
    try {
      await expect(store.write([["k", entry]])).rejects.toThrow("OOM");
      await expect(store.fill("leased", entry, token)).rejects.toThrow("OOM");
      const [there, missing] = await store.read(["a", "missing"], { lease: 1_000, refresh: true });
      expect(there?.found).toBeDefined();
      expect(missing).toEqual({ found: undefined, lease: undefined });
      expect(await store.expire(["a"])).toBe(1);
      expect(await store.remove(["b"])).toBe(1);
      expect(await store.remove(["c"], 99)).toBe(1);
      await store.clear("another");
      expect((await store.stats()).entries).toBe(0);
    } finally {
      await server.call("CONFIG", "SET", "maxmemory", "0");
    }
    await store.write([["k", entry]]);
  });
});

describe("a given client", () => {
  it("is used and not closed, by any number of caches", async () => {
    const client = new Redis(server.url);
    const stores = Array.from({ length: 12 }, (_, i) => open({ client }, `cache${i}`));
    for (const store of stores) await store.ping();
    for (const store of stores) await store.close();
    expect(await client.ping()).toBe("PONG");
    expect(client.listenerCount("ready")).toBeLessThan(3);
    client.disconnect();
  });

  it("may have settings that change how commands are sent and answered", async () => {
    const client = new Redis(server.url, { enableAutoPipelining: true, stringNumbers: true });
    const store = open({ client });
    await store.write([["k", text("v")]]);
    expect(await textOf(store, "k")).toBe("v");
    expect(await store.fill("l", text("v"), await lease(store, "l"))).toBe("stored");
    expect(await store.stats()).toMatchObject({ entries: 2 });
    expect(await store.remove(["k", "l"])).toBe(2);
    client.disconnect();
  });

  it("that is not connected is refused by name", async () => {
    const store = open({ client: createClient({ url: server.url }) });
    await expect(store.ping()).rejects.toThrow("connect");
  });

  it("that its owner closes in the middle is refused at once", async () => {
    const client = await createClient({ url: server.url }).connect();
    const store = open({ client });
    await store.ping();
    await client.close();
    const since = performance.now();
    await expect(store.ping()).rejects.toThrow("the connection ended");
    expect(performance.now() - since).toBeLessThan(500);
  });
});

it("a wrong password is told once, and by what Redis says", async () => {
  const locked = await startRedis({ auth: { password: "right" } });
  const store = open({ url: locked.url.replace("right", "wrong") });
  await expect(store.ping()).rejects.toThrow("WRONGPASS");
  await sleep(300);
  await expect(store.ping()).rejects.toThrow("WRONGPASS");
  expect(warnings.filter((warning) => warning.includes("WRONGPASS"))).toHaveLength(1);
  await store.close();
  await locked.stop();
});

describe("options", () => {
  it("that cannot be used are named", () => {
    const refused: [object, string][] = [
      [{ nonsense: 1 }, "redis.nonsense"],
      [{ url: "http://x" }, "redis.url"],
      [{ url: "redis://x/notanumber" }, "redis.url"],
      [{ url: "redis://x", host: "y" }, "redis.host"],
      [{ url: "redis://x", port: 1 }, "redis.port"],
      [{ port: 0 }, "redis.port"],
      [{ host: "" }, "redis.host"],
      [{ db: -1 }, "redis.db"],
      [{ tls: "yes" }, "redis.tls"],
      [{ sentinels: [], sentinelName: "m" }, "redis.sentinels"],
      [{ sentinels: [{ host: "a" }] }, "redis.sentinelName"],
      [{ sentinelName: "m" }, "redis.sentinelName"],
      [{ cluster: [{}] }, "redis.cluster[0].host"],
      [{ cluster: ["redis://x"], db: 1 }, "redis.db"],
      [{ client: {} }, "redis.client"],
      [{ client: new Redis({ lazyConnect: true, keyPrefix: "p:" }) }, "redis.client.options.keyPrefix"],
      [{ layout: "xml" }, "redis.layout"],
      [{ prefix: "{a}" }, "redis.prefix"],
      [{ name: "" }, "redis.name"],
      [{ timeout: "soon" }, "redis.timeout"],
    ];
    for (const [options, path] of refused) {
      const error = thrownBy(() => redis(options));
      expect(error).toBeInstanceOf(OptionError);
      expect(error).toMatchObject({ path });
    }
  });

  it("never show a password", () => {
    for (const options of [{ url: "http://user:secret@x" }, { url: "redis://:secret@x/y" }, { password: "" }])
      expect(String(thrownBy(() => redis(options)))).not.toContain("secret");
  });
});

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}
