import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connectPostgres } from "../../examples/shop/database.ts";
import { startPostgres } from "../servers.ts";
import { expectOneStatement, type Fleet, startFleet, stepsIn } from "./shop-fleet.ts";
import { asker, launch, run } from "./shop-process.ts";

let data = "";
let fleet: Fleet | undefined;

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), "shop-processes-"));
});
afterEach(async () => {
  await fleet?.end("SIGKILL");
  fleet = undefined;
  await rm(data, { recursive: true, force: true, maxRetries: 5 });
});

// Each test starts several processes.
describe("the shop in several processes", { timeout: 120_000 }, () => {
  it("shows that a change through one is seen by all, and that a stampede is one statement", async () => {
    fleet = await startFleet(data, 3);
    const output = fleet.output();
    expect(output).toContain(`Layers of each process: memory, disk (${join(data, "cache")})`);
    expect(output).not.toContain("broke off");
    // At first one asks the database, the others the disk; then all have it in memory.
    const [, warm = ""] = /has it in memory:\n.*\n((?: +\d.*\n)+)/.exec(output) ?? [];
    const layers = [...warm.matchAll(/^ +\d+ +[\d.]+ +(\w+) /gm)].map(([, layer]) => layer);
    expect(layers).toEqual(["database", "disk", "disk", "memory", "memory", "memory"]);

    const steps = stepsIn(output);
    expect(steps.length).toBe(4);
    for (const { price, rows, last } of steps) {
      expect(rows.map((row) => row.price)).toEqual([price, price, price]);
      expect(rows.filter(({ layer }) => layer === "database").length).toBeLessThanOrEqual(1);
      expect(last).toBeLessThan(5_000);
    }
    expect(new Set(steps.map(({ price }) => price)).size).toBe(4);
    expect(output).toContain('The same strictly, invalidateTags(["products"], { wait: "all" })');
    expect(steps[3]?.old, "no old answer after a strict invalidation").toBe(0);
    expectOneStatement(output, 750);

    for (const { ask } of fleet.processes) {
      expect((await ask("GET", "/products/42")).body).toMatchObject({ id: 42 });
    }
  });

  it("serves orders through every process: one transaction each, in the database of the first", async () => {
    fleet = await startFleet(data, 3);
    const [one, two, three] = fleet.processes;
    if (one === undefined || two === undefined || three === undefined) throw new Error("Three were started.");
    await one.ask("PATCH", "/products/60", { stock: 40 });
    const lines = [{ product_id: 60, quantity: 2 }];
    const placed = await Promise.all(
      Array.from({ length: 30 }, (_, at) =>
        (fleet?.processes[at % 3] ?? one).ask("POST", "/orders", { user_id: 3, lines }),
      ),
    );
    // There is enough for 20 of the 30, whatever their order.
    expect(placed.filter(({ status }) => status === 201).length).toBe(20);
    expect(placed.filter(({ status }) => status === 409).length).toBe(10);
    await two.ask("DELETE", "/cache/tags/products?wait=all");
    expect((await three.ask("GET", "/products/60")).body).toMatchObject({ stock: 0 });
    // A date is one after its way between the processes too.
    expect(placed.find(({ status }) => status === 201)?.body).toMatchObject({
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  it("starts one that was killed again, on its port, with what the others changed meanwhile", async () => {
    fleet = await startFleet(data, 2);
    const [one, two] = fleet.processes;
    if (one === undefined || two === undefined) throw new Error("Two were started.");
    process.kill(one.pid, "SIGKILL");
    await fleet.printed(/Process 1 \(pid \d+\) is gone: it ended with SIGKILL. It is started again in 1 s./);
    expect(fleet.output()).toContain(`Process 1 (pid ${one.pid}) is gone`);
    const patched = await two.ask("PATCH", "/products/42", { price_cents: 77_777 });
    expect(patched.status, patched.text + fleet.output()).toBe(200);
    const again = await fleet.printed(/Process 1 serves again: pid (\d+), (\S+)\n/);
    expect(again[2]).toBe(one.address);
    const read = await asker(one.address)("GET", "/products/42");
    expect(read.body).toMatchObject({ price_cents: 77_777 });
    expect(read.cache).toContain("detail=disk");
    // And it is one of those who hear of changes.
    await two.ask("PATCH", "/products/42", { price_cents: 88_888 });
    await two.ask("DELETE", "/cache/keys/product:42?wait=all");
    expect((await asker(one.address)("GET", "/products/42")).body).toMatchObject({ price_cents: 88_888 });

    expect(await fleet.end("SIGTERM")).toBe(0);
    expect(fleet.output()).toContain("Closed.");
    await expect(fetch(one.address)).rejects.toThrow();
  });

  it("lets each process connect to a PostgreSQL server by itself", async () => {
    const server = await startPostgres();
    try {
      fleet = await startFleet(data, 2, { DATABASE_URL: server.url });
      expect(fleet.output()).toContain("(generated 500 products, PostgreSQL)");
      const steps = stepsIn(fleet.output());
      expect(steps.length, fleet.output()).toBe(4);
      for (const { price, rows } of steps) expect(rows.map((row) => row.price)).toEqual([price, price]);
      expectOneStatement(fleet.output(), 500);
      const lines = [{ product_id: 60, quantity: 1 }];
      for (const { ask } of fleet.processes)
        expect((await ask("POST", "/orders", { user_id: 3, lines })).status).toBe(201);
      // A worker's statements do not go through the first process, which can be seen from the server.
      const database = await connectPostgres(server.url, 1);
      try {
        const { rows } = await database.query<{ clients: number }>(
          "select count(distinct client_port)::int as clients from pg_stat_activity where datname = current_database()",
        );
        expect(rows[0]?.clients).toBeGreaterThanOrEqual(3);
        await database.query(
          "drop table shop_seed, shop_order_items, shop_orders, shop_users, shop_products",
        );
      } finally {
        await database.close();
      }
      expect(await fleet.end("SIGTERM")).toBe(0);
    } finally {
      await fleet?.end("SIGKILL");
      await server.stop();
    }
  });

  it("leaves no process behind when the first is killed, and the next start works on the same data", async () => {
    fleet = await startFleet(data, 2);
    const { processes } = fleet;
    await fleet.end("SIGKILL");
    for (const { address } of processes) await expect(fetch(address)).rejects.toThrow();
    fleet = await startFleet(data, 1);
    expect(fleet.output()).not.toContain("generated");
    expectOneStatement(fleet.output(), 250);
    expect(await fleet.end("SIGINT")).toBe(0);
  });

  it("ends in order when it is told to while it starts", async () => {
    const early = launch(data, ["--processes", "2"]);
    await early.printed("Opening the shop's data");
    expect(await early.end("SIGTERM").then(() => early.output())).not.toContain("Ctrl-C ends");
  });

  it("says why when it cannot start, and ends", async () => {
    const other = launch(data, []);
    const [, port = ""] = await other.printed(/Listening on \S+:(\d+)\n/);
    const elsewhere = await mkdtemp(join(tmpdir(), "shop-processes-"));
    try {
      const { code, output } = await run(elsewhere, ["--processes", "2"], { PORT: port });
      // The first port is taken for certain, the second may be, and either may be told first.
      expect(output).toMatch(/Process [12] does not start: Cannot listen on 127.0.0.1:\d+/);
      expect(code).toBe(1);
    } finally {
      await other.end("SIGTERM");
      await rm(elsewhere, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});
