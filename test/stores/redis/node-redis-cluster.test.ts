import { EventEmitter } from "node:events";
import { createCluster } from "redis";
import { describe, expect, it } from "vitest";
import { createCache, memory, OptionError } from "../../../src/index.ts";
import { redis } from "../../../src/stores/redis/index.ts";
import { linkTarget } from "../../../src/stores/redis/link-options.ts";
import { NodeRedisLink } from "../../../src/stores/redis/node-redis-link.ts";
import { startRedisCluster } from "../../servers.ts";

const silent = (): void => undefined;

describe("a cluster's client of node-redis that the program gives", () => {
  it("carries a store and its log; the client goes on when the caches are closed", async () => {
    const cluster = await startRedisCluster({ masters: 3 });
    const client = createCluster({ rootNodes: cluster.urls.map((url) => ({ url })) });
    client.on("error", silent);
    await client.connect();
    const make = () =>
      createCache({ name: "given", layers: [memory(), redis({ client })], ttl: "1h", logger: false });
    const [one, two] = [make(), make()];
    try {
      const keys = Array.from({ length: 40 }, (_, i) => `key:${i}`);
      for (const key of keys) await one.set(key, key, { tags: ["t"] });
      expect(await two.getMany(keys)).toEqual(keys);
      const listed: string[] = [];
      for await (const key of two.keys()) listed.push(key);
      expect(listed.sort()).toEqual([...keys].sort());
      const { position } = await one.invalidateTags(["t"]);
      expect(await two.get("key:7", { after: position })).toBeUndefined();
      await two.clear();
      expect(await one.getOrSet("key:7", () => "new")).toBe("new");
      await Promise.all([one.close(), two.close()]);
      expect(await client.get("still here")).toBeNull();
    } finally {
      await Promise.all([one.close(), two.close()]);
      client.destroy();
      await cluster.stop();
    }
  }, 60_000);

  it("that knows no nodes, or does not reach one, is an error that says so", async () => {
    const nowhere = Object.assign(new EventEmitter(), {
      isOpen: true,
      masters: [] as object[],
      slots: [] as ({ master: object } | undefined)[],
      connect: async () => undefined,
      destroy: silent,
      duplicate: silent,
      sendCommand: async () => "OK",
      nodeClient: async () => {
        throw new Error("refused");
      },
    });
    const link = new NodeRedisLink(nowhere, silent);
    await expect(link.masters()).rejects.toThrow("where its slots are");
    await expect(link.dedicated("k").send(["ping"])).rejects.toThrow("where its slots are");
    nowhere.slots = Array.from({ length: 16_384 }, () => ({ master: {} }));
    await expect(link.dedicated("k").send(["ping"])).rejects.toThrow("is not reached: refused");
    expect(await link.send("k", ["ping"])).toBe("OK");
    nowhere.emit("error", new Error("away"));
    nowhere.emit("connect");
    await link.close();
    await link.close();
  });

  it("that was never connected says what to do", async () => {
    const idle = Object.assign(new EventEmitter(), {
      isOpen: false,
      isReady: false,
      connect: async () => undefined,
      destroy: silent,
      duplicate: silent,
      sendCommand: async () => "OK",
    });
    const link = new NodeRedisLink(idle, silent);
    await expect(link.send("k", ["ping"])).rejects.toThrow("await client.connect()");
    await link.close();
  });
});

describe("options of a link", () => {
  it("that contradict one another, or are no addresses, are refused by name and without secrets", () => {
    const refused: [object, string][] = [
      [{ url: "redis://h", cluster: ["redis://h"] }, "redis.cluster"],
      [{ url: "http://user:secret@h" }, "redis.url"],
      [{ url: "redis://:secret@h/one" }, "redis.url"],
      [{ url: "redis://h?x=1" }, "redis.url"],
      [{ url: 7 }, "redis.url"],
      [{ cluster: [7] }, "redis.cluster[0]"],
      [{ cluster: [{ port: 1 }] }, "redis.cluster[0].host"],
      [{ cluster: [{ host: "h", port: 70_000 }] }, "redis.cluster[0].port"],
      [{ client: {} }, "redis.client"],
      [{ client: null }, "redis.client"],
    ];
    for (const [options, path] of refused) {
      let error: unknown;
      try {
        linkTarget(options, "redis");
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(OptionError);
      expect(String(error)).toContain(path);
      expect(String(error)).not.toContain("secret");
    }
    const client = { duplicate: silent, sendCommand: silent };
    expect(() => linkTarget({ client, url: "redis://h" } as object, "redis")).toThrow("redis.");
    expect(() => linkTarget({ client, db: 3 } as object, "redis")).toThrow("redis.db");
    for (const prefixed of [
      { _keyPrefix: "p:" },
      { options: { keyPrefix: "p:" } },
      { options: { keyPrefix: Buffer.from("p") } },
    ])
      expect(() => linkTarget({ client: { ...client, ...prefixed } } as object, "redis")).toThrow(
        "keyPrefix",
      );
    expect(
      linkTarget({ client: { ...client, options: { keyPrefix: "" } } } as object, "redis"),
    ).toBeDefined();
  });
});
