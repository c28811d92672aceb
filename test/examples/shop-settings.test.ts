import { describe, expect, it } from "vitest";
import { commandOf, ROOT, settingsOf } from "../../examples/shop/settings.ts";

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

  it.each([
    [["--replay", "x", "--memory", "0%"], '--memory is "0%"'],
    [["--replay", "x", "--rate", "-1"], "--rate"],
    [["--replay", "x", "--requests", "many"], '--requests is "many": expected a whole number of at least 1'],
    [["--requests", "5"], "--requests needs --replay"],
    [["--nonsense"], "--nonsense"],
  ])("say what is wrong with %j", (args, message) => {
    expect(() => commandOf(args)).toThrow(message);
  });
});
