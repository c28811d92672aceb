import { fork } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { createCache, memory, OptionError, StoreError, systemClock } from "../../src/index.ts";
import { openEnvironment } from "../../src/stores/disk/environment.ts";
import { defaultFolder } from "../../src/stores/disk/folder.ts";
import { decodeRecord, encodeRecord, orderOf } from "../../src/stores/disk/format.ts";
import { disk } from "../../src/stores/disk/index.ts";
import {
  logContract,
  manualClock,
  recordingFollower,
  storeContract,
  storedEntry,
} from "../../src/testing/index.ts";

const folders: string[] = [];
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "cu-disk-"));
  folders.push(path);
  return path;
}
afterAll(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

storeContract({ describe, it }, "disk", () => disk({ path: folder() }));
logContract({ describe, it }, "disk", () => {
  const { log } = disk({ path: folder() });
  if (log === undefined) throw new Error("disk() brings a log");
  return log;
});

const context = (clock = manualClock(), warn: (message: string) => void = () => undefined) => ({
  cacheName: "t",
  maxLag: 5_000,
  clock,
  random: Math.random,
  warn,
});

describe("the disk store", () => {
  it("keeps entries when it is closed and opened again", async () => {
    const layer = disk({ path: folder() });
    const clock = manualClock();
    const first = layer.open(context(clock));
    await first.write([["k", storedEntry({ value: Buffer.from("value") })]]);
    await first.close();
    const second = layer.open(context(clock));
    expect(Buffer.from((await second.read(["k"]))[0]?.found?.entry.value ?? []).toString()).toBe("value");
    await second.close();
  });

  it("stays within its bound: the oldest written go first, and the sum is exact", async () => {
    const store = disk({ path: folder(), maxBytes: "64kb" }).open(context());
    for (let i = 0; i < 100; i++) {
      await store.write([[`k${i}`, storedEntry({ value: Buffer.alloc(1_000) })]]);
      expect((await store.stats()).bytes).toBeLessThanOrEqual(65_536);
    }
    const { entries, bytes } = await store.stats();
    expect(entries).toBeGreaterThan(50);
    const reads = await store.read(Array.from({ length: 100 }, (_, i) => `k${i}`));
    expect(reads.map((read) => read.found !== undefined)).toEqual(
      Array.from({ length: 100 }, (_, i) => i >= 100 - entries),
    );
    for (let i = 0; i < 100; i++) await store.remove([`k${i}`]);
    expect(await store.stats()).toEqual({ entries: 0, bytes: 0 });
    expect(bytes).toBeGreaterThan(50_000);
    await store.close();
  });

  it("evicts more than one step's worth when a big value comes", async () => {
    const store = disk({ path: folder(), maxBytes: "400kb" }).open(context());
    await store.write(
      Array.from({ length: 3_000 }, (_, i) => [`k${i}`, storedEntry({ value: Buffer.alloc(20) })] as const),
    );
    await store.write([["big", storedEntry({ value: Buffer.alloc(90_000) })]]);
    expect((await store.stats()).bytes).toBeLessThanOrEqual(409_600);
    expect((await store.read(["big"]))[0]?.found).toBeDefined();
    await store.close();
  });

  it("refuses a value larger than a quarter of its bound, by name", async () => {
    const store = disk({ path: folder(), maxBytes: "64kb" }).open(context());
    await expect(store.write([["huge", storedEntry({ value: Buffer.alloc(20_000) })]])).rejects.toThrow(
      '"huge"',
    );
    await store.close();
  });

  it("sweeps what has expired, without reads", async () => {
    const clock = manualClock();
    const store = disk({ path: folder() }).open(context(clock));
    await store.write(
      Array.from(
        { length: 1_200 },
        (_, i) => [`k${i}`, storedEntry({ ttl: i < 1_100 ? 1_000 : 1e9 })] as const,
      ),
    );
    for (let i = 0; i < 6; i++) {
      clock.tick(5_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await store.stats();
      await store.renew("none", "none", 1); // waits for the write before it
    }
    expect((await store.stats()).entries).toBe(100);
    await store.close();
  });

  it("takes keys longer than LMDB's", async () => {
    const store = disk({ path: folder() }).open(context());
    const long = "long:".repeat(1_000);
    await store.write([
      [long, storedEntry({ value: Buffer.from("a"), grace: 1_000 })],
      [`${long}!`, storedEntry({ value: Buffer.from("b") })],
      ["short", storedEntry()],
    ]);
    expect(
      (await store.read([long, `${long}!`])).map((read) =>
        Buffer.from(read.found?.entry.value ?? []).toString(),
      ),
    ).toEqual(["a", "b"]);
    const listed: string[] = [];
    for await (const batch of store.keys("long:")) listed.push(...batch);
    expect(listed.sort()).toEqual([long, `${long}!`].sort());
    expect(await store.expire([long])).toBe(1);
    expect(await store.remove([long, `${long}!`])).toBe(2);
    await store.close();
  });

  it("a wall clock set back makes neither entries nor leases live for ever", async () => {
    const clock = manualClock();
    const store = disk({ path: folder() }).open(context(clock));
    await store.write([["k", storedEntry({ ttl: 1_000 })]]);
    const [first] = await store.read(["l"], { lease: 1_000 });
    clock.step(-3_600_000);
    expect((await store.read(["k"]))[0]?.found).toBeUndefined();
    const [second] = await store.read(["l"], { lease: 1_000 });
    expect(second?.lease).not.toBe("busy");
    expect(await store.fill("l", storedEntry(), String(first?.lease))).toBe("refused");
    await store.close();
  });

  it("refuses options by name", () => {
    expect(() => disk({ path: "" })).toThrow(OptionError);
    // @ts-expect-error not a size
    expect(() => disk({ maxBytes: "big" })).toThrow("disk.maxBytes");
    // @ts-expect-error not a duration
    expect(() => disk({ timeout: "soon" })).toThrow("disk.timeout");
  });
});

describe("the disk store's folder", () => {
  const write = async (path: string): Promise<void> => {
    const store = disk({ path }).open(context());
    await store.write(
      Array.from(
        { length: 200 },
        (_, i) => [`k${i}`, storedEntry({ value: Buffer.alloc(2_000, i) })] as const,
      ),
    );
    await store.close();
  };
  const reopened = async (path: string): Promise<{ entries: number; warnings: string[] }> => {
    const warnings: string[] = [];
    const store = disk({ path }).open(context(manualClock(), (message) => warnings.push(message)));
    const { entries } = await store.stats();
    await store.write([["new", storedEntry()]]);
    expect((await store.read(["new"]))[0]?.found).toBeDefined();
    await store.close();
    return { entries, warnings };
  };

  it("is for its owner alone", async () => {
    const path = join(folder(), "made");
    await write(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  it("of somebody else's files is refused and left alone", async () => {
    const path = folder();
    writeFileSync(join(path, "thesis.txt"), "precious");
    expect(() => disk({ path }).open(context())).toThrow(StoreError);
    expect(readFileSync(join(path, "thesis.txt"), "utf8")).toBe("precious");
  });

  it("that cannot be made is refused with the option to use", () => {
    const file = join(folder(), "file");
    writeFileSync(file, "");
    expect(() => disk({ path: join(file, "below") }).open(context())).toThrow("disk({ path })");
  });

  it("whose data is a link is refused", async () => {
    const path = folder();
    await write(path);
    rmSync(join(path, "cache.lmdb"));
    const target = join(folder(), "target");
    writeFileSync(target, "precious");
    symlinkSync(target, join(path, "cache.lmdb"));
    expect(() => disk({ path }).open(context())).toThrow("not a plain file");
    expect(readFileSync(target, "utf8")).toBe("precious");
  });

  it.each([
    ["garbage at the start", (file: number) => void writeSync(file, Buffer.alloc(8_192, 0xab), 0, 8_192, 0)],
    [
      "garbage in the second page",
      (file: number) => void writeSync(file, Buffer.alloc(4_096, 0xab), 0, 4_096, 4_096),
    ],
    ["a cut in the middle", (file: number, size: number) => ftruncateSync(file, Math.floor(size / 2))],
    ["a cut to a few bytes", (file: number) => ftruncateSync(file, 100)],
    ["a cut to one page", (file: number) => ftruncateSync(file, 4_096)],
  ])("with %s is rebuilt with a warning", async (_what, damage) => {
    const path = folder();
    await write(path);
    const data = join(path, "cache.lmdb");
    const file = openSync(data, "r+");
    damage(file, statSync(data).size);
    closeSync(file);
    const { entries, warnings } = await reopened(path);
    expect(entries).toBe(0);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("rebuilt");
  });

  it("of another layout is rebuilt with a warning, and an emptied file is simply new", async () => {
    const path = folder();
    await write(path);
    writeFileSync(
      join(path, "caching-universal.json"),
      '{"what":"disk store of caching-universal","layout":99}',
    );
    expect((await reopened(path)).warnings[0]).toContain("another version");
    ftruncateFile(join(path, "cache.lmdb"));
    expect(await reopened(path)).toMatchObject({ entries: 0, warnings: [] });
  });

  it("may be used by two caches of one process", async () => {
    const path = folder();
    mkdirSync(path, { recursive: true });
    const layer = disk({ path });
    const [one, two] = [layer.open(context()), layer.open({ ...context(), cacheName: "other" })];
    await one.write([["k", storedEntry()]]);
    await one.close();
    await two.write([["k", storedEntry()]]);
    expect((await two.read(["k"]))[0]?.found).toBeDefined();
    await two.close();
  });
});

function ftruncateFile(path: string): void {
  const file = openSync(path, "r+");
  ftruncateSync(file, 0);
  closeSync(file);
}

/** Another process that uses the same folder: it does what it is told and answers. */
async function other(path: string) {
  const child = fork(new URL("./disk-process.ts", import.meta.url), [path], {
    execArgv: [],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  await once(child, "message");
  let asked = 0;
  return {
    child,
    async ask(what: string, ...args: unknown[]): Promise<unknown> {
      const id = ++asked;
      child.send({ id, what, args });
      for (;;) {
        const [answer] = (await once(child, "message")) as [{ id: number; value: unknown }]; // disk-process.ts sends nothing else
        if (answer.id === id) return answer.value;
      }
    },
    async kill(): Promise<void> {
      if (child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

describe("two processes on one disk store", () => {
  it("see each other's entries, and an invalidation reaches the other's memory", async () => {
    const path = folder();
    const they = await other(path);
    const cache = createCache({
      name: "shared",
      layers: [memory(), disk({ path })],
      ttl: "1h",
      logger: false,
    });
    try {
      await cache.getOrSet("k", () => "v1", { tags: ["t"] });
      await cache.set("flush", 1); // the fill of k was begun before it
      expect(await they.ask("getOrSet", "k", "other")).toBe("v1");
      for (const [how, ...args] of [["delete", "k"], ["tags", "t"], ["pattern", "k*"], ["clear"]]) {
        const written = await cache.set("k", "cached", { tags: ["t"] });
        expect(await they.ask("get", "k", written.position)).toBe("cached");
        const position = await they.ask(String(how), ...args);
        expect(await cache.get("k", { after: String(position) })).toBeUndefined();
      }
    } finally {
      await they.kill();
      await cache.close();
    }
  });

  it("acknowledge a strict invalidation at once; one that was killed is waited for until it lost its trust (P3)", async () => {
    const path = folder();
    const they = await other(path);
    const cache = createCache({
      name: "shared",
      layers: [memory(), disk({ path })],
      maxLag: "2s",
      ttl: "1h",
      logger: false,
    });
    try {
      const { position } = await cache.set("k", "cached");
      expect(await they.ask("get", "k", position)).toBe("cached");
      await cache.delete("k", { wait: "all" });
      expect(await they.ask("get", "k")).toBeUndefined();
      await cache.set("k", "again");
      const began = performance.now();
      await cache.delete("k", { wait: "all" });
      const alive = performance.now() - began;
      await they.kill();
      const killed = performance.now();
      await cache.delete("k", { wait: "all" });
      // The other trusts itself for 5 s; a machine that is busy makes both longer, never the first the longer one.
      expect(performance.now() - killed).toBeGreaterThan(alive);
    } finally {
      await they.kill();
      await cache.close();
    }
  });

  it("load a cold key once between them", async () => {
    const path = folder();
    const they = await other(path);
    const cache = createCache({
      name: "shared",
      layers: [memory(), disk({ path })],
      ttl: "1h",
      logger: false,
    });
    try {
      const slow = Promise.withResolvers<string>();
      const ours = cache.getOrSet("cold", () => slow.promise);
      while ((await they.ask("leased", "cold")) !== true); // until our lease is in the store
      const theirs = they.ask("getOrSet", "cold", "theirs");
      slow.resolve("ours");
      expect(await ours).toBe("ours");
      expect(await theirs).toBe("ours");
    } finally {
      await they.kill();
      await cache.close();
    }
  });

  it("killed in the middle of writes leaves a store that works, its sum exact", async () => {
    const path = folder();
    for (let round = 0; round < 3; round++) {
      const they = await other(path);
      they.child.send({ id: 0, what: "storm", args: [] });
      await once(they.child, "message");
      await they.kill();
      const warnings: string[] = [];
      const store = disk({ path }).open({
        ...context(manualClock(), (message) => warnings.push(message)),
        clock: systemClock(), // the other process's entries are stamped with the real time
        cacheName: "shared",
        maxLag: 5_000,
      });
      const keys: string[] = [];
      for await (const batch of store.keys("")) keys.push(...batch);
      expect(warnings).toEqual([]);
      expect((await store.stats()).entries).toBe(keys.length);
      expect(keys.length).toBeGreaterThan(0);
      expect(await store.remove(keys)).toBe(keys.length);
      expect(await store.stats()).toEqual({ entries: 0, bytes: 0 });
      await store.close();
    }
  });

  it("an invalidated tag stays invalidated after a restart", async () => {
    const path = folder();
    const make = () =>
      createCache({ name: "shared", layers: [memory(), disk({ path })], ttl: "1h", logger: false });
    const first = make();
    await first.set("tagged", 1, { tags: ["t"] });
    await first.set("prefixed:1", 1);
    await first.set("kept", 1, { tags: ["u"] });
    await first.invalidateTags(["t"]);
    await first.close();
    const second = make();
    expect(await second.getMany(["tagged", "kept"])).toEqual([undefined, 1]);
    await second.close();
  });
});

describe("the disk log", () => {
  const open = async (path: string, clock = manualClock()) => {
    const { log } = disk({ path });
    if (log === undefined) throw new Error("disk() brings a log");
    const opened = log(context(clock));
    const follower = recordingFollower();
    return { log: opened, follower, head: await opened.open(follower), clock };
  };

  it("is kept over a restart: positions go on, tags and patterns are remembered", async () => {
    const path = folder();
    const first = await open(path);
    const tag = "t".repeat(5_000);
    const position = await first.log.append([
      { kind: "tags", tags: [tag, "u"] },
      { kind: "prefix", prefix: "p:" },
    ]);
    await first.log.close();
    await first.log.close();
    const second = await open(path);
    expect(second.head).toEqual({ generation: first.head.generation, position });
    expect(await second.log.tagPositions([tag, "u", "none"])).toMatchObject([
      { hard: position - 1 },
      { hard: position - 1 },
      { hard: 0 },
    ]);
    expect(await second.log.patterns()).toHaveLength(1);
    await second.log.close();
  });

  it("is looked at every 25 ms, and says how long ago", async () => {
    const path = folder();
    const clock = manualClock();
    const [one, two] = [await open(path, clock), await open(path, clock)];
    await one.log.append([{ kind: "keys", keys: ["k"] }]);
    expect(two.follower.seen).toHaveLength(0);
    clock.tick(10);
    expect(two.log.lag()).toBe(10);
    clock.tick(15);
    expect(two.follower.seen).toHaveLength(1);
    expect(two.log.lag()).toBe(25); // since it was last registered
    clock.tick(1_000);
    await expect.poll(() => two.log.lag()).toBe(0);
    await one.log.close();
    await two.log.close();
    clock.tick(1_000);
  });

  it("keeps 10,000 records; who was away longer starts again (P7)", async () => {
    const path = folder();
    const [one, two] = [await open(path), await open(path)];
    for (let i = 0; i < 110; i++)
      await one.log.append(
        Array.from({ length: 100 }, (_, n) => ({ kind: "keys" as const, keys: [`k${i}:${n}`] })),
      );
    await two.log.catchUp();
    expect(two.follower.seen).toHaveLength(0);
    expect(two.follower.resets).toMatchObject([
      { head: { position: 11_000 }, reason: expect.stringContaining("away") },
    ]);
    await one.log.append([{ kind: "keys", keys: ["after"] }]);
    await two.log.catchUp();
    expect(two.follower.seen).toMatchObject([{ position: 11_001 }]);
    await one.log.close();
    await two.log.close();
  });

  it("that went back, or is another, makes its followers start again (P7)", async () => {
    const path = folder();
    const one = await open(path);
    await one.log.append([{ kind: "keys", keys: ["k"] }]);
    const env = openEnvironment(path, () => undefined);
    const head = Buffer.from("head");
    for (const [stored, why] of [
      ['{"generation":"other","position":1}', "another"],
      ['{"generation":"other","position":0}', "went back"],
    ] as const) {
      await env.write(() => env.table("t/log").put(head, Buffer.from(stored)));
      await one.log.catchUp();
      expect(one.follower.resets.at(-1)).toMatchObject({
        head: { generation: "other" },
        reason: expect.stringContaining(why),
      });
    }
    await env.write(() => env.table("t/log").remove(head));
    await one.log.catchUp();
    expect(one.follower.resets.at(-1)?.head).toEqual({ generation: "", position: 0 });
    await env.release();
    await one.log.close();
  });

  it("that cannot be read is said, and grows old", async () => {
    const path = folder();
    const warnings: string[] = [];
    const clock = manualClock();
    const { log } = disk({ path });
    const opened = log?.(context(clock, (message) => warnings.push(message)));
    await opened?.open(recordingFollower());
    const env = openEnvironment(path, () => undefined);
    await env.write(() => env.table("t/log").put(Buffer.from("head"), Buffer.from("not JSON")));
    clock.tick(100);
    expect(warnings[0]).toContain("could not be read");
    expect(opened?.lag()).toBe(100);
    await env.release();
    await opened?.close();
  });
});

describe("records of the disk store", () => {
  it("of another version, cut short, or of nonsense are a miss", () => {
    const entry = storedEntry({ tags: ["a", "b"], value: Buffer.from("value") });
    const record = encodeRecord({ entry, storedAt: 5, order: 7 });
    expect(decodeRecord(record)).toMatchObject({ storedAt: 5, order: 7, entry: { tags: ["a", "b"] } });
    expect(orderOf(record)).toBe(7);
    expect(orderOf(Buffer.alloc(3))).toBe(0);
    const other = Buffer.from(record);
    other[0] = 99;
    expect(decodeRecord(other)).toBeUndefined();
    for (let length = 0; length < record.length - 5; length++)
      expect(decodeRecord(record.subarray(0, length))).toBeUndefined();
  });

  it("has a folder of its own for each user and cache when none is given", async () => {
    const home = folder();
    vi.stubEnv("XDG_CACHE_HOME", home);
    const store = disk().open(context());
    expect(statSync(join(home, "caching-universal", "t", "cache.lmdb")).isFile()).toBe(true);
    await store.close();
    vi.stubEnv("XDG_CACHE_HOME", "");
    expect(defaultFolder("t")).toBe(join(homedir(), ".cache", "caching-universal", "t"));
    vi.unstubAllEnvs();
    const unbounded = disk({ path: folder(), maxBytes: Number.POSITIVE_INFINITY }).open(context());
    await unbounded.write([["k", storedEntry({ value: Buffer.alloc(1_000_000) })]]);
    await unbounded.close();
    await unbounded.close();
  });
});

describe("a disk store whose file goes away underneath", () => {
  it("is believed no more: reads load from the source, invalidations fail by name (P7)", async () => {
    const path = folder();
    const clock = manualClock();
    const warnings: string[] = [];
    const cache = createCache({
      name: "shared",
      clock,
      layers: [memory(), disk({ path })],
      ttl: "1h",
      logger: (message) => warnings.push(message),
    });
    await cache.set("k", "old");
    rmSync(join(path, "cache.lmdb"));
    clock.tick(2_000);
    expect(warnings.join()).toContain("deleted or replaced");
    expect(cache.peek("k")).toBeUndefined();
    expect(await cache.getOrSet("k", () => "source")).toBe("source");
    expect(cache.health()).toMatchObject({ ok: false, log: { state: "down" } });
    await expect(cache.delete("k")).rejects.toThrow("restart the process");
    await cache.close();
  });

  it("lets writes under way end before it closes", async () => {
    for (let round = 0; round < 5; round++) {
      const cache = createCache({
        name: "shared",
        layers: [memory(), disk({ path: folder() })],
        logger: false,
      });
      const work = Promise.allSettled([
        cache.set("a", 1),
        cache.delete("b"),
        cache.invalidateTags(["t"]),
        cache.clear(),
      ]);
      await cache.close();
      expect((await work).map((one) => one.status)).toEqual([
        "fulfilled",
        "fulfilled",
        "fulfilled",
        "fulfilled",
      ]);
    }
  });
});
