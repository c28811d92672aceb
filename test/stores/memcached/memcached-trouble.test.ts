import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OptionError, RefusedError, StoreError } from "../../../src/base/errors.ts";
import { type MemcachedOptions, memcached } from "../../../src/stores/memcached/index.ts";
import type { Store, StoreRead } from "../../../src/stores/store.ts";
import { storedEntry } from "../../../src/testing/store-contract.ts";
import { type MemcachedServer, startMemcached } from "../../servers.ts";
import { context, flushed, itemsOf, raw } from "./setup.ts";

let server: MemcachedServer;
const opened: Store[] = [];
beforeAll(async () => {
  server = await startMemcached();
});
afterAll(() => server.stop());
beforeEach(async () => {
  if (server.state !== "running") await server.restart();
  await flushed(server);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

function open(options: MemcachedOptions = { servers: server.host }, warn = (_: string) => {}): Store {
  const store = memcached(options).open(context({ warn }));
  opened.push(store);
  return store;
}

async function one(store: Store, key: string, lease?: number): Promise<StoreRead> {
  const [read] = await store.read([key], { lease });
  if (read === undefined) throw new Error("no answer");
  return read;
}

const textOf = ({ found }: StoreRead) =>
  found === undefined ? undefined : Buffer.from(found.entry.value).toString();
const entry = (text: string, facts = {}) => storedEntry({ value: Buffer.from(text), ...facts });

describe("a store in Memcached", () => {
  it("of many readers in many processes lends a cold key to one", async () => {
    const stores = Array.from({ length: 5 }, () => open());
    const reads = await Promise.all(
      Array.from({ length: 20 }, (_, i) => one(stores[i % 5] ?? open(), "cold", 10_000)),
    );
    const tokens = reads.map(({ lease }) => lease).filter((lease) => lease !== "busy");
    expect(tokens).toHaveLength(1);
    expect(await open().fill("cold", entry("v"), tokens[0] ?? "")).toBe("awaited");
  });

  it("takes no key for a command, and tells hostile keys apart", async () => {
    const store = open();
    const keys = [
      "k\r\nflush_all\r\n",
      "k v c t",
      "%0D",
      "\r",
      "\ud800",
      "\ud801",
      "\ufffd",
      "ü".repeat(200),
      `${"ü".repeat(200)}x`,
      "k".repeat(100_000),
      "%",
      "cu:t:l:head",
      "é",
      "e\u0301",
      "\u007f",
    ];
    await store.write([["kept", entry("kept")], ...keys.map((key, i) => [key, entry(`${i}`)] as const)]);
    const reads = await store.read(keys);
    expect(reads.map(textOf)).toEqual(keys.map((_, i) => `${i}`));
    expect(textOf(await one(store, "kept"))).toBe("kept");
    const listed: string[] = [];
    for await (const batch of store.keys("")) listed.push(...batch);
    expect(listed.sort()).toEqual([...keys, "kept"].sort());
    for (const name of ["a:b", "a", "x".repeat(500), "\ud800", "#"]) {
      const other = memcached({ servers: server.host }).open(context({ cacheName: name }));
      opened.push(other);
      expect(textOf(await one(other, "b:e:kept"))).toBeUndefined();
      await other.write([["own", entry(name)]]);
      expect(textOf(await one(other, "own"))).toBe(entry(name).value.toString());
    }
  });

  it("refuses what is too large before anything is touched, and says how to allow it", async () => {
    const store = open();
    await store.write([
      ["k", entry("old")],
      ["l", entry("old")],
    ]);
    const big = storedEntry({ value: new Uint8Array(2 ** 20) });
    const refused = store.write([
      ["l", entry("new")],
      ["k", big],
    ]);
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(store.write([["k", big]])).rejects.toThrow("-I");
    expect((await store.read(["k", "l"])).map(textOf)).toEqual(["old", "old"]);
    const { lease = "" } = await one(store, "cold", 10_000);
    await expect(store.fill("cold", big, lease)).rejects.toThrow(RefusedError);
    expect(await store.release("cold", lease)).toBe(false);
    // Nothing is held up by it.
    expect(textOf(await one(store, "k"))).toBe("old");
  });

  it("keeps what should live longer than 30 days for 30 days", async () => {
    const store = open();
    const day = 24 * 60 * 60 * 1_000;
    await store.write([
      ["k", entry("v", { ttl: 400 * day })],
      ["l", entry("v", { ttl: day, grace: Number.POSITIVE_INFINITY })],
    ]);
    const { items, close } = itemsOf(server.host);
    for (const key of ["k", "l"]) {
      expect((await items.head(`cu:t:e:${key}`))?.left).toBeGreaterThan(29 * 24 * 60 * 60);
      expect(textOf(await one(store, key))).toBe("v");
    }
    close();
  });

  it("takes an item that is not ours for a miss, and lends a lease over it", async () => {
    const store = open();
    const { items, close } = itemsOf(server.host);
    for (const value of ["", "nonsense", "\x01", "\x01\x03\0\0\0\0", `\x01\x01${"\0".repeat(20)}`]) {
      await items.put("cu:t:e:k", Buffer.from(value, "latin1"), { seconds: 100, how: "set" });
      expect((await one(store, "k")).found).toBeUndefined();
      const { lease = "busy" } = await one(store, "k", 1_000);
      expect(lease).not.toBe("busy");
      expect(await store.fill("k", entry("v"), lease)).toBe("stored");
      expect(textOf(await one(store, "k"))).toBe("v");
    }
    close();
  });

  it("forgets everything by flush_all: fills of before are refused", async () => {
    const store = open();
    await store.write([["k", entry("v")]]);
    const { lease = "" } = await one(store, "cold", 10_000);
    await sleep(1_100); // the server compares whole seconds: what was written in this one would stay
    await raw(server.host, "flush_all\r\n", /OK/);
    expect((await one(store, "k")).found).toBeUndefined();
    expect(await store.fill("cold", entry("old"), lease)).toBe("refused");
  });
});

describe("ages of entries that another process stored", () => {
  let worker: Worker;
  const there = async (what: string, ...args: unknown[]): Promise<unknown> => {
    worker.postMessage({ what, args });
    const [answer] = await once(worker, "message");
    return answer;
  };
  beforeEach(() => {
    worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: server.host, execArgv: [] });
  });
  afterEach(() => worker.terminate());
  const ages = async (key: string): Promise<number> => {
    const [read] = (await there("read", [key])) as [StoreRead]; // it answers with what the store does
    return read.found?.age ?? Number.NaN;
  };

  it("are never too low, and at most two seconds too high", async () => {
    const store = open();
    const at = performance.now();
    await store.write([["k", entry("v", { ttl: 60_000 })]]);
    for (let i = 0; i < 12; i++) {
      const before = performance.now() - at;
      const age = await ages("k");
      expect(age).toBeGreaterThanOrEqual(before - 150); // it was stored a moment after `at`
      expect(age).toBeLessThanOrEqual(performance.now() - at + 2_050);
      await sleep(230);
    }
    const own = (await one(store, "k")).found?.age ?? 0;
    expect(Math.abs(own - (performance.now() - at))).toBeLessThan(250);
  });

  it("stay so when the item is written again with a lease or a mark, and what is expired is so for all", async () => {
    const store = open();
    const at = performance.now();
    await store.write([["k", entry("v", { ttl: 60_000, grace: 60_000 })]]);
    const [lent] = (await there("read", ["k"], { lease: 10_000, refresh: true })) as [StoreRead];
    expect(lent.lease).toMatch(/^.{16}\./);
    expect((await store.read(["k"], { lease: 10_000, refresh: true }))[0]?.lease).toBe("busy");
    await sleep(1_000);
    const age = await ages("k");
    expect(age).toBeGreaterThanOrEqual(performance.now() - at - 50);
    expect(age).toBeLessThan(performance.now() - at + 4_050);
    expect((await one(store, "k")).found?.age).toBeLessThan(performance.now() - at + 50);
    expect(await there("expire", ["k"])).toBe(1);
    const { found } = await one(store, "k");
    expect(found?.entry.ttl).toBe(0);
    expect(await store.touch("k", 1_000)).toBe(false);
    expect(await there("touch", "k", 1_000)).toBe(false);
  });

  it("a lease of another process is not taken before it has run out", async () => {
    const store = open();
    const [lent] = (await there("read", ["k"], { lease: 1_500 })) as [StoreRead];
    expect(lent.lease).not.toBe("busy");
    const at = performance.now();
    let read = await one(store, "k", 1_500);
    while (read.lease === "busy") {
      await sleep(100);
      read = await one(store, "k", 1_500);
    }
    expect(performance.now() - at).toBeGreaterThan(1_450);
    expect(performance.now() - at).toBeLessThan(6_500);
  });
});

describe("a Memcached in trouble", () => {
  it("that is frozen makes calls reject within about a second, and is used again once it thaws", async () => {
    const store = open();
    await store.write([["k", entry("v")]]);
    await server.pause();
    const at = performance.now();
    const calls = await Promise.allSettled([
      one(store, "k"),
      store.write([["l", entry("v")]]),
      store.remove(["k"]),
      store.stats(),
      store.ping(),
    ]);
    expect(calls.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => "rejected"));
    expect(performance.now() - at).toBeLessThan(2_000);
    // Right after that nobody waits for it at all.
    const again = performance.now();
    await expect(one(store, "k")).rejects.toThrow("did not answer");
    expect(performance.now() - again).toBeLessThan(100);
    await server.resume();
    await until(() => store.ping());
    expect(await store.read(["m"])).toHaveLength(1);
  });

  it("that thaws and does old writes late keeps nothing that was removed since", async () => {
    // A proxy that holds what has this text in it, and hands it on when it is told, as a thawed server would.
    const held: (() => void)[] = [];
    const proxy = createServer((client) => {
      const upstream = connect(server.port, "127.0.0.1");
      client
        .on("error", () => undefined)
        .on("data", (data) => {
          const go = () => upstream.write(data);
          if (data.includes("LATE")) held.push(go);
          else go();
        });
      upstream.on("error", () => undefined).on("data", (data) => client.write(data));
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const address = proxy.address();
    const port = typeof address === "object" ? address?.port : 0;
    const slow = open({ servers: `127.0.0.1:${port}` });
    const store = open();
    for (const how of ["write", "fill"] as const) {
      const { lease = "" } = how === "fill" ? await one(slow, "k", 60_000) : {};
      const work = how === "fill" ? slow.fill("k", entry("LATE"), lease) : slow.write([["k", entry("LATE")]]);
      await expect(work).rejects.toThrow("did not answer");
      await store.remove(["k"]);
      expect(held).toHaveLength(1);
      held.splice(0)[0]?.();
      await sleep(50);
      expect((await one(store, "k")).found).toBeUndefined();
      await until(() => slow.ping());
    }
    proxy.close();
  });

  it("that is killed rejects at once, and is connected to again by itself", async () => {
    const store = open();
    await store.write([["k", entry("v")]]);
    await server.kill();
    await expect(one(store, "k")).rejects.toThrow(StoreError);
    await server.restart();
    await until(() => store.ping());
    expect((await one(store, "k")).found).toBeUndefined();
    await store.write([["k", entry("again")]]);
    expect(textOf(await one(store, "k"))).toBe("again");
  });

  it("while it is idle costs nobody anything: the next call simply connects", async () => {
    const store = open();
    await store.write([["k", entry("v")]]);
    await server.restart();
    await sleep(20);
    expect((await one(store, "k")).found).toBeUndefined();
  });

  it("as one of two: its keys are misses, those of the other are served, writes to it reject", async () => {
    const second = await startMemcached();
    const warnings: string[] = [];
    try {
      const store = open({ servers: [server.host, second.host] }, (message) => warnings.push(message));
      const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
      await store.write(keys.map((key) => [key, entry(key)]));
      const { items, close } = itemsOf(second.host);
      const heads = await Promise.all(keys.map((key) => items.head(`cu:t:e:${key}`)));
      close();
      const theirs = keys.filter((_, i) => heads[i] !== undefined);
      expect(theirs.length).toBeGreaterThan(25);
      expect(theirs.length).toBeLessThan(75);
      await second.kill();
      const reads = await store.read(keys);
      expect(keys.filter((_, i) => reads[i]?.found === undefined)).toEqual(theirs);
      expect((await one(store, theirs[0] ?? "", 1_000)).lease).toBeUndefined();
      expect(warnings).toHaveLength(1);
      await expect(store.remove(theirs)).rejects.toThrow(StoreError);
      await expect(store.write([[theirs[0] ?? "", entry("v")]])).rejects.toThrow(StoreError);
      await store.ping();
      await second.restart();
      await until(() => store.remove(theirs));
      await store.write([[theirs[0] ?? "", entry("again")]]);
      expect(textOf(await one(store, theirs[0] ?? ""))).toBe("again");
      await second.kill();
      await server.kill();
      await expect(store.read(keys)).rejects.toThrow(StoreError);
      await expect(store.ping()).rejects.toThrow(StoreError);
    } finally {
      await second.stop();
    }
  });

  it("with many walks at once, and items of others, lists all keys to each", async () => {
    const store = open();
    const keys = Array.from({ length: 12_000 }, (_, i) => `k${i}`);
    await store.write(keys.map((key) => [key, entry("v")]));
    await raw(server.host, "ms /////w== 1 b\r\nx\r\nms cu:t:e:%zz 1\r\nx\r\nms other 1\r\nx\r\nmn\r\n", /MN/);
    const listings = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const listed: string[] = [];
        for await (const batch of store.keys("k")) listed.push(...batch);
        return listed;
      }),
    );
    for (const listed of listings) expect(listed.sort()).toEqual([...keys].sort());
    expect((await store.stats()).entries).toBeGreaterThanOrEqual(12_000);
  });

  it("that lists nothing (-X) says so instead of listing nothing", async () => {
    const silent = await startMemcached({ args: ["-X"] });
    try {
      const store = open({ servers: silent.host });
      await store.write([["k", entry("v")]]);
      await expect(async () => {
        for await (const _ of store.keys(""));
      }).rejects.toThrow("without -X");
    } finally {
      await silent.stop();
    }
  });

  it("with little memory forgets entries, and never mixes them up", { timeout: 60_000 }, async () => {
    const small = await startMemcached({ memory: 2 });
    try {
      const store = open({ servers: small.host });
      const keys = Array.from({ length: 3_000 }, (_, i) => `k${i}`);
      for (let at = 0; at < keys.length; at += 500)
        await Promise.allSettled(
          keys.slice(at, at + 500).map((key) => store.write([[key, entry(`${key} ${"x".repeat(5_000)}`)]])),
        );
      const reads = await store.read(keys);
      const there = reads.flatMap((read, i) =>
        read.found === undefined ? [] : [[keys[i], textOf(read)?.split(" ")[0]]],
      );
      expect(there.length).toBeGreaterThan(10);
      expect(there.length).toBeLessThan(3_000);
      for (const [key, value] of there) expect(value).toBe(key);
    } finally {
      await small.stop();
    }
  });
});

describe("who may connect", () => {
  it("is asked for a password where the server has a file of them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "caching-universal-memcached-auth-"));
    const file = join(folder, "users");
    writeFileSync(file, "shop:secret\n");
    const locked = await startMemcached({ args: ["-Y", file] });
    try {
      const store = open({ servers: locked.host, auth: { username: "shop", password: "secret" } });
      await store.write([["k", entry("v")]]);
      expect(textOf(await one(store, "k"))).toBe("v");
      const wrong = open({ servers: locked.host, auth: { username: "shop", password: "guess" } });
      await expect(one(wrong, "k")).rejects.toThrow("refused the password");
      await expect(one(open({ servers: locked.host }), "k")).rejects.toThrow("needs a password");
    } finally {
      await locked.stop();
      rmSync(folder, { recursive: true });
    }
  });

  it("may be encrypted, and reached by a socket in the file system", async ({ skip }) => {
    const folder = mkdtempSync(join(tmpdir(), "caching-universal-memcached-tls-"));
    try {
      const made = spawnSync(
        "openssl",
        `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout ${folder}/key -out ${folder}/crt`.split(
          " ",
        ),
      );
      if (made.status !== 0) skip("TLS needs the command `openssl`.");
      const args = ["-Z", "-o", `ssl_chain_cert=${folder}/crt,ssl_key=${folder}/key`];
      const secret = await startMemcached({ args }).catch(() =>
        skip("This Memcached was built without TLS."),
      );
      try {
        const ca = readFileSync(join(folder, "crt"));
        const store = open({ servers: secret.host, tls: { ca } });
        await store.write([["k", entry("v")]]);
        expect(textOf(await one(store, "k"))).toBe("v");
        await expect(one(open({ servers: secret.host, tls: true }), "k")).rejects.toThrow(StoreError);
      } finally {
        await secret.stop();
      }
      const path = join(folder, "socket");
      const relay = createServer((client) => {
        const upstream = connect(server.port, "127.0.0.1");
        client.pipe(upstream).pipe(client);
        client.on("error", () => upstream.destroy());
      }).listen(path);
      await once(relay, "listening");
      const store = open({ servers: path });
      await store.write([["k", entry("v")]]);
      expect(textOf(await one(store, "k"))).toBe("v");
      relay.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([
    ["an old one", "ERROR\r\n"],
    ["no Memcached", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["a line without an end", "x".repeat(20_000)],
    ["a value without a length", "VA x\r\n"],
    ["a value of another length", "VA 1 c1\r\nxxxxx\r\n"],
    ["answers to nothing", "MN\r\nEND\r\nEN\r\nEN\r\nEN\r\n"],
  ])("a server that is %s is refused by name, and nothing is thrown unhandled", async (_, answer) => {
    const fake: Server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.write(answer));
    }).listen(0, "127.0.0.1");
    await once(fake, "listening");
    const address = fake.address();
    const host = typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
    const store = open({ servers: host });
    const outcome = await Promise.allSettled([one(store, "k"), one(store, "l")]);
    if (_ !== "answers to nothing") expect(outcome[0]?.status).toBe("rejected");
    await expect(store.write([["k", entry("v")]])).rejects.toThrow(StoreError);
    fake.close();
  });
});

describe("options of memcached()", () => {
  it("name the server in any usual way", async () => {
    for (const servers of [server.host, [server.host], `memcached://${server.host}`, ` ${server.host} `])
      await open({ servers }).ping();
  });

  it.each([
    [{ servers: [] }, "memcached.servers"],
    [{ servers: "" }, "memcached.servers"],
    [{ servers: "a:99999" }, "memcached.servers"],
    [{ servers: "a b" }, "memcached.servers"],
    [{ servers: ["a", "A:11211"] }, "memcached.servers"],
    [{ servers: 5 }, "memcached.servers"],
    [{ servers: [5] }, "memcached.servers"],
    [{ timeout: "soon" }, "memcached.timeout"],
    [{ name: "" }, "memcached.name"],
    [{ tls: "yes" }, "memcached.tls"],
    [{ auth: { username: "a b", password: "c" } }, "memcached.auth.username"],
    [{ auth: { username: "a", password: "" } }, "memcached.auth.password"],
    [{ auth: { username: "a", password: "b", realm: "c" } }, "memcached.auth.realm"],
    [{ hosts: "a" }, "memcached.hosts"],
  ])("%o are refused by their name", (options, path) => {
    // Reason of the cast: what plain JavaScript may give.
    const make = () => memcached(options as MemcachedOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(`"${path}"`);
  });
});

/** Until it succeeds. */
async function until(work: () => Promise<unknown>): Promise<void> {
  for (let left = 300; ; left--) {
    try {
      await work();
      return;
    } catch (error) {
      if (left <= 1) throw error;
      await sleep(10);
    }
  }
}
