import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run, type Service, start } from "./shop-process.ts";

let data = "";
let service: Service | undefined;

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), "shop-restart-"));
});
afterEach(async () => {
  await service?.end("SIGKILL");
  service = undefined;
  await rm(data, { recursive: true, force: true });
});

// Each test starts several processes, and each makes a database of its own.
describe("the shop's process", { timeout: 60_000 }, () => {
  it("killed and started again, answers from the disk what it had cached, and has every write", async () => {
    service = await start(data);
    await service.ask("GET", "/products/42");
    await service.ask("PATCH", "/products/43", { price_cents: 777 });
    await service.ask("GET", "/products/44");
    await service.ask("DELETE", "/cache/keys/product:44");
    await service.end("SIGKILL");

    service = await start(data);
    expect(service.output()).not.toContain("generated");
    const cached = await service.ask("GET", "/products/42");
    expect(cached.cache).toMatch(/^caching-universal; hit; ttl=\d+; detail=disk$/);
    expect((await service.ask("GET", "/products/42")).cache).toContain("detail=memory");
    expect((await service.ask("GET", "/products/43")).body).toMatchObject({ price_cents: 777 });
    expect((await service.ask("GET", "/products/44")).cache).toContain("detail=database");

    await service.ask("DELETE", "/cache/tags/products");
    expect((await service.ask("GET", "/products/42")).cache).toContain("detail=database");
  });

  it("ends in order on SIGTERM, and the next start finds everything closed properly", async () => {
    service = await start(data);
    await service.ask("GET", "/products/42");
    expect(await service.end("SIGTERM")).toBe(0);
    expect(service.output()).toContain("Closed.");
    service = await start(data);
    expect((await service.ask("GET", "/products/42")).cache).toContain("detail=disk");
    expect(await service.end("SIGINT")).toBe(0);
  });

  it("killed while it makes its data, makes it anew at the next start", async () => {
    await start(data, { until: "Generating 500 products", kill: true });
    service = await start(data);
    expect(service.output()).toContain("generated 500 products");
    expect((await service.ask("GET", "/products/500")).status).toBe(200);
  });

  it("killed before its database was even made, makes it anew", async () => {
    await mkdir(join(data, "database"));
    await writeFile(join(data, "database/PG_VERSION"), "half");
    service = await start(data);
    expect((await service.ask("GET", "/products/500")).status).toBe(200);
  });

  it("refuses a folder that another process works on", async () => {
    service = await start(data);
    const second = await run(data, []);
    expect(second.code).toBe(1);
    expect(second.output).toContain("Another process works on");
    expect((await service.ask("GET", "/products/42")).status).toBe(200);
  });

  it("replays a trace from cold, in this process or through HTTP, and tells the ceiling", async () => {
    for (const more of [[], ["--http"]]) {
      const { code, output } = await run(data, ["--replay", "orm-busy-8th", "--requests", "3000", ...more]);
      expect(output).toMatch(/orm-busy-8th: 3,000 requests for \d+ keys in/);
      expect(output).toMatch(/\nmemory +[\d,]+ +\d/);
      expect(output).toMatch(/\ndisk +[\d,]+ +\d/);
      expect(output).toMatch(/\ndatabase +[\d,]+ +\d/);
      // Each key was loaded once: nothing that fits on the disk is asked for twice.
      const [, keys] = /(\d+) compulsory first reads/.exec(output) ?? [];
      expect(output).toContain(
        `database calls saved: ${(3_000 - Number(keys)).toLocaleString("en-US")} of 3,000`,
      );
      expect(code).toBe(0);
    }
  });

  it("says what is wrong with its arguments", async () => {
    const { code, output } = await run(data, ["--replay", "no-such-trace"]);
    expect(code).toBe(1);
    expect(output).toContain('No trace "no-such-trace"');
    expect((await run(data, ["--help"])).output).toContain("--requests <n>");
  });
});
