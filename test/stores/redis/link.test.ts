// The link to Redis without trouble of servers: options, what a process is left with, hostile records.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linkTarget } from "../../../src/stores/redis/link-options.ts";
import { openLink } from "../../../src/stores/redis/open-link.ts";
import { decodeRecord, encodeRecord, type Layout } from "../../../src/stores/redis/record.ts";
import { lookScript, readScript } from "../../../src/stores/redis/scripts.ts";
import type { StoredEntry } from "../../../src/stores/store.ts";
import { storedEntry } from "../../../src/testing/index.ts";
import { type RedisServer, startRedis } from "../../servers.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

describe("the address", () => {
  it("is read from a URL, and from options", () => {
    expect(linkTarget({ url: "redis://us%40er:p%3Ass@[::1]:7000/3" }, "redis")).toEqual({
      kind: "single",
      address: { host: "::1", port: 7_000 },
      username: "us@er",
      password: "p:ss",
      db: 3,
      tls: undefined,
    });
    expect(linkTarget({ url: "rediss://x" }, "redis")).toMatchObject({ tls: {}, address: { port: 6_379 } });
    expect(linkTarget({}, "redis")).toMatchObject({ address: { host: "127.0.0.1", port: 6_379 } });
    expect(linkTarget({ url: "redis://x", password: "p", db: 2 }, "redis")).toMatchObject({
      password: "p",
      db: 2,
    });
    expect(linkTarget({ cluster: ["rediss://u:p@a:1", { host: "b" }] }, "redis")).toMatchObject({
      kind: "cluster",
      nodes: [
        { host: "a", port: 1 },
        { host: "b", port: 6_379 },
      ],
      password: "p",
      tls: {},
    });
  });
});

describe("a process that used Redis", () => {
  const run = (body: string) => {
    const source = (name: string) => JSON.stringify(new URL(`../../../src/${name}`, import.meta.url).href);
    const code = `
      import { redis } from ${source("stores/redis/index.ts")};
      import { storedEntry } from ${source("testing/index.ts")};
      import { systemClock } from ${source("base/clock.ts")};
      const open = (url) => redis({ url }).open({ cacheName: "shop", clock: systemClock(), random: Math.random, maxLag: 1000, warn() {} });
      ${body}`;
    const node = promisify(execFile);
    return node(process.execPath, ["--input-type=module", "--no-warnings", "-e", code], { timeout: 10_000 });
  };

  it("ends by itself once the store is closed, whatever the server does", async () => {
    const { stdout } = await run(`
      const store = open(${JSON.stringify(server.url)});
      await store.write([["k", storedEntry()]]);
      await store.close();
      const nobody = open("redis://127.0.0.1:1");
      console.log(await nobody.read(["k"]).then(String, (error) => error.message));
      await nobody.close();`);
    expect(stdout).toContain("ECONNREFUSED");
  });

  it("is not ended by connections that fail", async () => {
    const { stdout } = await run(`
      process.on("unhandledRejection", (error) => { console.log("unhandled", error); process.exit(1); });
      const store = open("redis://127.0.0.1:1");
      setTimeout(async () => { console.log("alive"); await store.close(); }, 500);`);
    expect(stdout).toBe("alive\n");
  });
});

it("without ioredis says what to install", async () => {
  const code = `
    import { registerHooks } from "node:module";
    registerHooks({ resolve(name, context, next) { if (name === "ioredis") throw new Error("not here"); return next(name, context); } });
    const { redis } = await import(${JSON.stringify(new URL("../../../src/stores/redis/index.ts", import.meta.url).href)});
    try { redis().open({ cacheName: "shop", warn() {} }); } catch (error) { console.log(error.name, error.message); }`;
  const node = promisify(execFile);
  const { stdout } = await node(process.execPath, ["--input-type=module", "--no-warnings", "-e", code]);
  expect(stdout).toContain("StoreError");
  expect(stdout).toContain("npm install ioredis");
});

describe("records", () => {
  const span = fc.oneof(fc.integer({ min: 0, max: 2 ** 39 }), fc.constant(Number.POSITIVE_INFINITY));
  const entries: fc.Arbitrary<StoredEntry> = fc.record({
    value: fc.oneof(
      fc.uint8Array(),
      fc.json().map((json) => Buffer.from([1, 0, 0, ...Buffer.from(json)])),
      fc.string({ unit: "grapheme" }).map((text) => Buffer.from([1, 0, 1, ...Buffer.from(text)])),
      fc.json().map((json) => Buffer.from([2, 0, ...Buffer.from(json)])),
    ),
    ttl: span,
    grace: span,
    asOf: fc.oneof(fc.integer({ min: 0, max: 2 ** 48 }), fc.maxSafeNat()),
    generation: fc.oneof(fc.string({ unit: "grapheme", maxLength: 20 }), fc.base64String({ maxLength: 20 })),
    tags: fc.array(fc.string({ unit: "grapheme" })),
    cost: fc.constantFrom(0, 0.5, 12.5, 1_024),
    sliding: fc.integer({ min: 0, max: 2 ** 39 }),
    shape: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });

  for (const layout of ["binary", "json"] as const satisfies readonly Layout[])
    it(`give back what was put in (${layout})`, () => {
      fc.assert(
        fc.property(entries, (entry) => {
          const living = { ...entry, ttl: entry.ttl + 1 };
          const { record } = encodeRecord(living, layout);
          // As long ago as the placeholder of the beginning says: now.
          const found = decodeRecord(record, 0)?.entry;
          expect({ ...found, value: Buffer.from(found?.value ?? "none") }).toEqual({
            ...living,
            value: Buffer.from(living.value),
          });
        }),
      );
    });

  it("of any bytes neither throw here nor break a script there, and mean the same to both", async () => {
    const link = openLink(linkTarget({ url: server.url }, "redis"), () => undefined);
    const raw = new Redis(server.url);
    const now = Date.now();
    const samples = (["binary", "json"] as const).map((layout) => {
      const { record } = encodeRecord(storedEntry({ tags: ["t"], grace: 9, generation: "gen" }), layout);
      if (layout === "binary") record.writeUIntBE(now, 2, 6);
      else record.write(String(now), 12);
      return record;
    });
    const lease = Buffer.from("0200010000000000000474657374", "hex");
    const damaged = fc
      .record({
        base: fc.constantFrom(...samples, ...samples.map((record) => Buffer.concat([lease, record])), lease),
        cut: fc.nat(200),
        flips: fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
      })
      .map(({ base, cut, flips }) => {
        const record = Buffer.from(base);
        for (const [at, byte] of flips) if (at < record.length) record[at] = byte;
        return record.subarray(0, Math.max(0, record.length - (cut > 60 ? 0 : cut)));
      });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(damaged, fc.uint8Array({ maxLength: 60 }).map(Buffer.from)),
        async (record) => {
          await raw.set("k", record);
          const reply = await link.run(lookScript, ["k"], []);
          const found = decodeRecord(record, Date.now());
          // What the client can use, the server knows to be there; the server alone may be wrong about damaged tags or values.
          if (found !== undefined) expect(String(Array.isArray(reply) ? reply[0] : reply)).toBe("1");
          await link.run(readScript, ["k"], ["1000", "1", "token", "binary"]);
        },
      ),
      { numRuns: 500 },
    );
    raw.disconnect();
    await link.close();
  });
});
