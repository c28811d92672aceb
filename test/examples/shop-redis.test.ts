import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort, type RedisServer, startMemcached, startRedis } from "../servers.ts";
import { expectOneStatement, type Fleet, startFleet, stepsIn } from "./shop-fleet.ts";
import { run, type Service, start } from "./shop-process.ts";

const PASSWORD = "hush-hush";

let redis: RedisServer;
let data = "";
let service: Service | undefined;
let fleet: Fleet | undefined;

beforeAll(async () => {
  redis = await startRedis({ auth: { password: PASSWORD } });
});
afterAll(async () => {
  await redis?.stop();
});
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), "shop-redis-"));
});
afterEach(async () => {
  await service?.end("SIGKILL");
  await fleet?.end("SIGKILL");
  service = undefined;
  fleet = undefined;
  await rm(data, { recursive: true, force: true, maxRetries: 5 });
});

const onRedis = () => ({ env: { REDIS_URL: redis.url } });

// Each test starts one or more processes, some with a database to fill.
describe("the shop on Redis", { timeout: 120_000 }, () => {
  it("keeps in Redis what it cached, says so, and never shows the password", async () => {
    service = await start(data, onRedis());
    expect(service.output()).toContain(`Layers: memory, redis (redis://127.0.0.1:${redis.port})\n`);
    expect((await service.ask("GET", "/")).text).toContain("in memory, then redis.");
    await service.ask("GET", "/products/42");
    await service.ask("PATCH", "/products/43", { price_cents: 777 });
    await service.end("SIGKILL");
    const outputs = service.output();

    service = await start(data, onRedis());
    const first = await service.ask("GET", "/products/42");
    expect(first.cache).toMatch(/^caching-universal; hit; ttl=\d+; detail=redis$/);
    expect((await service.ask("GET", "/products/42")).cache).toContain("detail=memory");
    expect((await service.ask("GET", "/products/43")).body).toMatchObject({ price_cents: 777 });
    expect(outputs + service.output()).not.toContain(PASSWORD);
  });

  it("does not pick up what Redis kept while the shop worked without it", async () => {
    service = await start(data, onRedis());
    await service.ask("PATCH", "/products/42", { price_cents: 111 });
    await service.end("SIGTERM");
    service = await start(data);
    await service.ask("PATCH", "/products/42", { price_cents: 222 });
    await service.end("SIGTERM");
    service = await start(data, onRedis());
    const read = await service.ask("GET", "/products/42");
    expect(read.body).toMatchObject({ price_cents: 222 });
    expect(read.cache).toContain("detail=database");
    await service.ask("PATCH", "/products/42", { price_cents: 333 });
    await service.end("SIGTERM");
    service = await start(data);
    expect((await service.ask("GET", "/products/42")).body).toMatchObject({ price_cents: 333 });
  });

  it("shows the coherence of three processes", async () => {
    fleet = await startFleet(data, 3, { REDIS_URL: redis.url });
    const output = fleet.output();
    expect(output).toContain(`Layers of each process: memory, redis (redis://127.0.0.1:${redis.port})\n`);
    const steps = stepsIn(output);
    expect(steps.length).toBe(4);
    for (const { price, rows } of steps) expect(rows.map((row) => row.price)).toEqual([price, price, price]);
    expect(steps[3]?.old, "no old answer after a strict invalidation").toBe(0);
    expectOneStatement(output, 750);
    expect(output).not.toContain(PASSWORD);
  });

  it("answers while Redis is frozen, refuses what it could not tell others, and uses it when it is back", async () => {
    service = await start(data, onRedis());
    await service.ask("GET", "/products/42");
    await redis.pause();
    try {
      const answers = [];
      for (const id of [42, 50, 51, 52]) answers.push(await service.ask("GET", `/products/${id}`));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      const stock = ((await service.ask("GET", "/products/52")).body as { stock: number }).stock;
      const lines = [{ product_id: 52, quantity: 1 }];
      const order = await service.ask("POST", "/orders", { user_id: 3, lines });
      expect(order).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
      expect(order.text).toContain("The layer redis does not answer");
      expect((await service.ask("GET", "/products/52")).body).toMatchObject({ stock });
      await service.printed(/\nWarning: .*[Rr]edis/);
    } finally {
      await redis.resume();
    }
    await service.printed("Layer redis answers again");
    expect((await service.ask("PATCH", "/products/50", { price_cents: 999 })).status).toBe(200);
    expect((await service.ask("GET", "/products/50")).body).toMatchObject({ price_cents: 999 });
  });

  it("starts and answers when nothing is where REDIS_URL points to", async () => {
    const port = await freePort();
    const env = { REDIS_URL: `redis://shop:${PASSWORD}@127.0.0.1:${port}` };
    service = await start(data, { env });
    const read = await service.ask("GET", "/products/42");
    expect(read).toMatchObject({ status: 200, body: { id: 42 } });
    expect(read.cache).toContain("detail=database");
    expect((await service.ask("GET", "/cache/health")).status).toBe(503);
    await service.printed(new RegExp(`\nWarning: .*127.0.0.1:${port}.*ECONNREFUSED`));
    expect(service.output()).not.toContain(PASSWORD);
    expect(await service.end("SIGTERM")).toBe(0);

    fleet = await startFleet(data, 2, env);
    expect(fleet.output()).toMatch(/Not answering: .*log redis/);
    for (const { ask } of fleet.processes) expect((await ask("GET", "/products/42")).status).toBe(200);
    expect(fleet.output()).not.toContain(PASSWORD);
  });

  it("says what is wrong with a URL without showing it", async () => {
    for (const name of ["REDIS_URL", "MEMCACHED_URL"]) {
      const { code, output } = await run(data, [], { [name]: `http://shop:${PASSWORD}@127.0.0.1` });
      expect(code).toBe(1);
      expect(output).toContain(`${name} cannot be used: expected`);
      expect(output).not.toContain(PASSWORD);
    }
  });

  it("puts Memcached before Redis when both are given", async () => {
    const memcached = await startMemcached();
    try {
      const env = { REDIS_URL: redis.url, MEMCACHED_URL: memcached.url };
      service = await start(data, { env });
      expect(service.output()).toMatch(/Layers: memory, memcached \(\S+\), redis \(\S+\)\n/);
      await service.ask("GET", "/products/42");
      await service.end("SIGTERM");
      service = await start(data, { env });
      expect((await service.ask("GET", "/products/42")).cache).toContain("detail=memcached");
      await service.end("SIGTERM");
      await memcached.restart();
      service = await start(data, { env });
      expect((await service.ask("GET", "/products/42")).cache).toContain("detail=redis");
    } finally {
      await memcached.stop();
    }
  });
});
