import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SignedRecord } from "../../../src/coherence/log-server.ts";
import { linkTarget } from "../../../src/stores/redis/link-options.ts";
import { openLink } from "../../../src/stores/redis/open-link.ts";
import { logBounds, redisLog } from "../../../src/stores/redis/redis-log.ts";
import { RedisLogServer } from "../../../src/stores/redis/redis-log-server.ts";
import { type RedisServer, startRedis } from "../../servers.ts";
import { freshName } from "./redis-log-following.ts";

let redis: RedisServer;
let name = "";
let server: RedisLogServer;
const open: RedisLogServer[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(() => {
  name = freshName();
  server = connect();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

function connect(): RedisLogServer {
  const link = openLink(linkTarget({ url: redis.url }, "redis"), () => undefined);
  const one = new RedisLogServer(link, name, logBounds({}, "redis"), () => link.close());
  open.push(one);
  return one;
}

const key = (part: string): string => `{${name}}:@${part}`;
const signed = (id: string): SignedRecord => ({ id, record: { kind: "keys", keys: [id] } });
const LEASE = 5_000;

/** Puts the stream and the head aside, and back again, as a server does that restarts from an older file. */
const copies = ["log", "head", "followers", "patterns"];
async function save(): Promise<void> {
  for (const part of copies) await redis.call("COPY", key(part), `${key(part)}:old`, "REPLACE");
}
async function goBack(): Promise<void> {
  await redis.call("DEL", ...copies.map(key));
  for (const part of copies) await redis.call("COPY", `${key(part)}:old`, key(part), "REPLACE");
}

describe("the server's side of a log in Redis", () => {
  it("tells how it stands against what a follower applied", async () => {
    const founded = await server.join("n", undefined, LEASE);
    expect(founded.standing).toBe("new");
    expect((await server.join("n", founded, LEASE)).standing).toBe("same");
    await server.append(["a", "b", "c"].map(signed));
    const at = (offset: number, id: string) => ({ position: founded.position + offset, id });
    const stands = async (offset: number, id: string) =>
      (await server.join("n", at(offset, id), LEASE)).standing;
    expect(await stands(0, founded.id)).toBe("same");
    expect(await stands(0, "x")).toBe("other");
    expect(await stands(-1, founded.id)).toBe("other");
    expect(await stands(1, "a")).toBe("same");
    expect(await stands(1, "b")).toBe("other");
    expect(await stands(3, "c")).toBe("same");
    expect(await stands(3, "x")).toBe("other");
    expect(await stands(4, "c")).toBe("other");
    await redis.call("XTRIM", key("log"), "MAXLEN", 1);
    expect(await stands(0, founded.id)).toBe("trimmed");
    expect(await stands(1, "a")).toBe("trimmed");
    expect(await stands(2, "b")).toBe("trimmed");
    expect(await stands(3, "c")).toBe("same");
    await redis.call("DEL", key("log"));
    expect(await stands(2, "b")).toBe("trimmed");
    expect(await stands(3, "c")).toBe("same");
  });

  it("is followed although Redis has no memory left: what is cached stays usable", async () => {
    const founded = await server.join("n", undefined, LEASE);
    await redis.call("CONFIG", "SET", "maxmemory", "1");
    try {
      expect((await server.join("n", founded, LEASE)).standing).toBe("same");
      await expect(server.append([signed("a")])).rejects.toThrow("OOM");
    } finally {
      await redis.call("CONFIG", "SET", "maxmemory", "0");
    }
  });

  it("does not take on trust what was applied elsewhere and is trimmed here", async () => {
    const founded = await server.join("n", undefined, LEASE);
    await server.append(["a", "b", "c"].map(signed));
    const applied = { position: founded.position + 1, id: "a" };
    expect((await server.join("n", applied, LEASE)).standing).toBe("same");
    await redis.call("XTRIM", key("log"), "MAXLEN", 1);
    expect((await server.join("n", applied, LEASE)).standing).toBe("trimmed");
    await redis.call("SAVE");
    await redis.restart({ keepData: true });
    server.reconnect();
    expect((await server.join("n", applied, LEASE)).standing).toBe("other");
    expect((await server.join("n", applied, LEASE)).standing).toBe("other");
  });

  it("does not read on in another history that goes on from the same place", async () => {
    const founded = await server.join("n", undefined, LEASE);
    await save();
    await server.append([signed("a")]);
    const [first] = await server.read(founded.position, 10, 1_000);
    expect(first?.id).toBe("a");
    await goBack();
    await server.append(["x", "y"].map(signed));
    await expect(server.read(founded.position + 1, 10, 1_000)).rejects.toThrow(/another history/);
    const joined = await server.join("n", { position: founded.position + 1, id: "a" }, LEASE);
    expect(joined.standing).toBe("other");
  });

  it("answers in two reads what does not fit into one, and nothing after a wait", async () => {
    const { position } = await server.join("n", undefined, LEASE);
    await server.append(["a", "b", "c"].map(signed));
    expect((await server.read(position, 2, 0.5)).map(({ id }) => id)).toEqual(["a", "b"]);
    expect((await server.read(position + 2, 2, 1.7)).map(({ id }) => id)).toEqual(["c"]);
    expect(await server.read(position + 3, 2, 20)).toEqual([]);
  });

  it("founds one history when many begin at once, above what any of them has seen", async () => {
    const far = { position: Date.now() + 1_000_000_000, id: "x" };
    expect((await server.join("a", far, LEASE)).standing).toBe("other");
    const others = [connect(), connect(), connect()];
    const heads = await Promise.all(others.map((one, i) => one.join(`n${i}`, undefined, LEASE)));
    expect(new Set(heads.map(({ generation }) => generation)).size).toBe(1);
    for (const { position } of heads) expect(position).toBeGreaterThan(far.position);
  });

  it("founds the next history above an earlier one of which only followers or the stream are left", async () => {
    const far = { position: Date.now() + 1_000_000_000, id: "x" };
    const { position } = await server.join("a", far, LEASE);
    await server.append([signed("a")]);
    for (const evicted of [["head"], ["head", "log"]]) {
      await server.join("a", { position: position + 1, id: "a" }, LEASE);
      await redis.call("DEL", ...evicted.map(key));
      const { position: next } = await connect().join("b", undefined, LEASE);
      expect(next).toBeGreaterThan(position);
    }
  });

  it("renounces a generation once, however many ask for it", async () => {
    const { generation, position } = await server.join("n", undefined, LEASE);
    const heads = await Promise.all(
      [server, connect(), connect()].map((one) => one.renounce(generation, position + 5_000_000)),
    );
    expect(new Set(heads.map((head) => `${head.generation} ${head.position}`)).size).toBe(1);
    expect(heads[0]?.generation).not.toBe(generation);
    expect(heads[0]?.position).toBeGreaterThan(position + 5_000_000);
    // Whoever waits for the next record is woken, by one that does not follow on what it knows.
    const [woken] = await connect().read(position, 10, 1_000);
    expect(woken?.position).toBeGreaterThan(position + 1);
    expect(woken?.record).toEqual({ kind: "clear", generation: heads[0]?.generation });
  });

  it("acknowledges nothing for a follower that begins again, until it tells so", async () => {
    const head = await server.join("n", undefined, LEASE);
    const { position } = await server.append([signed("a")]);
    const left = async () => (await server.unacknowledged(position)) > 0;
    // The table is new: all who may be missing in it are waited for, so the marker is made older.
    const marker = String(await redis.call("HGET", key("followers"), "@"));
    await redis.call("HSET", key("followers"), "@", marker.replace(/\d+$/, "1000"));
    expect(await left()).toBe(true);
    expect((await server.join("n", undefined, LEASE)).standing).toBe("new");
    expect(await left()).toBe(true);
    expect((await server.join("n", { position: head.position, id: "x" }, LEASE)).standing).toBe("other");
    expect(await left()).toBe(true);
    expect((await server.join("n", { position, id: "a" }, LEASE)).standing).toBe("same");
    expect(await left()).toBe(false);
    await server.join("late", undefined, LEASE);
    expect(await left()).toBe(false);
  });

  it("does not wait longer than a lease after the server's clock was set back", async () => {
    await server.join("n", undefined, 200);
    const { position } = await server.append([signed("a")]);
    const ahead = Date.now() + 10_000_000;
    const marker = String(await redis.call("HGET", key("followers"), "@"));
    await redis.call(
      "HSET",
      key("followers"),
      "@",
      marker.replace(/\d+$/, String(ahead)),
      "n",
      `0|${ahead}|200`,
    );
    expect(await server.unacknowledged(position)).toBeLessThanOrEqual(200);
    await expect.poll(() => server.unacknowledged(position)).toBe(0);
  });

  it("waits for the whole lease of a follower that says nothing, to the millisecond", async () => {
    await server.join("n", undefined, 300);
    const joined = performance.now();
    const { position } = await server.append([signed("a")]);
    const marker = String(await redis.call("HGET", key("followers"), "@"));
    await redis.call("HSET", key("followers"), "@", marker.replace(/\d+$/, "1000"));
    await expect.poll(() => server.unacknowledged(position), { interval: 2 }).toBe(0);
    // The join was carried out a little before its answer came; whole milliseconds are counted.
    expect(performance.now() - joined).toBeGreaterThan(280);
  });

  it("says nothing of tags by positions of another history, even a lower one", async () => {
    const far = { position: Date.now() + 1_000_000_000, id: "x" };
    await server.join("n", far, LEASE);
    await server.join("n", undefined, LEASE);
    const { position } = await server.append([{ id: "a", record: { kind: "tags", tags: ["t"] } }]);
    expect(await server.tagPositions(["t"])).toMatchObject([{ hard: position }]);
    await redis.call("FLUSHALL");
    const other = connect();
    expect((await other.join("o", undefined, LEASE)).position).toBeLessThan(position);
    for (const { hard, soft } of await server.tagPositions(["t", "u"]))
      expect(Math.min(hard, soft)).toBeGreaterThan(position);
  });

  it("begins anew where somebody else wrote records that the head knows nothing of", async () => {
    const head = await server.join("n", undefined, LEASE);
    await redis.call("XADD", key("log"), `${head.position + 5}-0`, "x", "y");
    expect((await server.join("n", head, LEASE)).standing).toBe("other");
    const next = await server.join("n", undefined, LEASE);
    expect(next.generation).not.toBe(head.generation);
    expect((await server.join("n", next, LEASE)).standing).toBe("same");
  });

  it("does one command's work for an invalidation of a tag, however many entries there are", async () => {
    await server.join("n", undefined, LEASE);
    await server.append([signed("warm")]);
    const calls = async (): Promise<number> => {
      const stats = String(await redis.call("INFO", "commandstats"));
      return [...stats.matchAll(/^cmdstat_(?!info|config)\S+:calls=(\d+)/gm)].reduce(
        (sum, [, count]) => sum + Number(count),
        0,
      );
    };
    const cost = async (id: string): Promise<number> => {
      await redis.call("CONFIG", "RESETSTAT");
      await server.append([{ id, record: { kind: "tags", tags: ["t"] } }]);
      return calls();
    };
    const first = await cost("a");
    await server.append([
      { id: "b", record: { kind: "tags", tags: Array.from({ length: 20_000 }, (_, i) => `t${i}`) } },
    ]);
    expect(await cost("c")).toBe(first);
    expect(first).toBeLessThanOrEqual(8); // the script and what it calls
  });
});

describe("redisLog", () => {
  it("refuses options that cannot be used, by name", () => {
    expect(() => redisLog({ maxRecords: 0 })).toThrow(/redisLog\.maxRecords/);
    expect(() => redisLog({ maxTags: 1.5 })).toThrow(/redisLog\.maxTags/);
    expect(() => redisLog({ maxPatterns: Number.NaN })).toThrow(/redisLog\.maxPatterns/);
    expect(() => redisLog({ url: "http://x" })).toThrow(/redisLog\.url/);
    expect(() => Reflect.apply(redisLog, undefined, [{ maxRecord: 1 }])).toThrow(/redisLog\.maxRecord/);
  });
});
