import { describe, expect, it } from "vitest";
import { withoutLogin } from "../../examples/shop/layers.ts";
import { commandOf, ROOT, settingsOf, WORKER } from "../../examples/shop/settings.ts";

describe("the shop's settings", () => {
  it("have defaults that work on a machine with nothing set up", () => {
    expect(settingsOf({})).toEqual({
      data: `${ROOT}/.cache/shop`,
      products: 100_000,
      databaseUrl: undefined,
      port: undefined,
      host: "127.0.0.1",
      adminToken: undefined,
    });
  });

  it("take the port 0 for any free one, and name a variable that cannot be used", () => {
    expect(settingsOf({ PORT: "0" }).port).toBe(0);
    expect(() => settingsOf({ PORT: "eighty" })).toThrow(
      'PORT is "eighty": expected a whole number from 0 to 65535',
    );
    expect(() => settingsOf({ SHOP_PRODUCTS: "3" })).toThrow("SHOP_PRODUCTS");
  });
});

describe("the URLs of the shop's layers", () => {
  it("are taken as they are, and refused without being shown", () => {
    const given = { REDIS_URL: "rediss://:pa@ss@cache:6380/2", MEMCACHED_URL: "memcached://a:11211,b" };
    expect(settingsOf({ ...given, REDIS_URL: "redis://:pass@cache" })).toMatchObject({
      redisUrl: "redis://:pass@cache",
      memcachedUrl: given.MEMCACHED_URL,
    });
    expect(withoutLogin(given.REDIS_URL)).toBe("rediss://cache:6380/2");
    for (const [name, url] of [
      ["REDIS_URL", "http://user:secret@cache"],
      ["REDIS_URL", "secret"],
      ["MEMCACHED_URL", "memcached://user:secret@cache"],
    ] as const) {
      const refused = () => settingsOf({ [name]: url });
      expect(refused).toThrow(`${name} cannot be used`);
      expect(refused).not.toThrow("secret");
    }
  });
});

describe("the shop's arguments", () => {
  it("serve without any, and replay a trace with the memory bounded to 10% of its keys", () => {
    expect(commandOf([])).toBe("serve");
    expect(commandOf(["-h"])).toBe("help");
    expect(commandOf(["--replay", "web07"])).toEqual({
      trace: "web07",
      requests: Infinity,
      rate: Infinity,
      memory: { share: 0.1 },
      concurrency: 1,
      http: false,
    });
  });

  it("bound the memory by a share or by entries, and make several HTTP requests at a time", () => {
    expect(commandOf(["--replay", "x", "--memory", "500", "--http"])).toMatchObject({
      memory: { entries: 500 },
      concurrency: 8,
      http: true,
    });
    expect(commandOf(["--replay", "x", "--memory", "2.5%", "--requests", "1_000"])).toMatchObject({
      memory: { share: 0.025 },
      requests: 1_000,
    });
  });

  it("ask for one to sixteen processes", () => {
    expect(commandOf(["--processes", "4"])).toEqual({ processes: 4 });
    expect(commandOf([WORKER])).toBe("worker");
    for (const count of ["0", "17", "two", ""])
      expect(() => commandOf(["--processes", count])).toThrow("a whole number from 1 to 16");
  });

  it.each([
    [["--processes", "4", "--http"], "--http does not go with --processes"],
    [["--replay", "x", "--memory", "0%"], '--memory is "0%"'],
    [["--replay", "x", "--rate", "-1"], "--rate"],
    [["--replay", "x", "--requests", "many"], '--requests is "many": expected a whole number of at least 1'],
    [["--requests", "5"], "--requests needs --replay"],
    [["--nonsense"], "--nonsense"],
  ])("say what is wrong with %j", (args, message) => {
    expect(() => commandOf(args)).toThrow(message);
  });
});
