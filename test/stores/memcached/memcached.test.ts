import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, it } from "vitest";
import type { LogFactory } from "../../../src/coherence/log.ts";
import { memcached } from "../../../src/stores/memcached/index.ts";
import { logContract } from "../../../src/testing/log-contract.ts";
import { storeContract } from "../../../src/testing/store-contract.ts";
import { logServerContract } from "../../coherence/log-server-contract.ts";
import { type MemcachedServer, startMemcached } from "../../servers.ts";
import { flushed, logOf, logServer } from "./setup.ts";

let server: MemcachedServer;
beforeAll(async () => {
  server = await startMemcached({ args: ["-I", "8m"] });
});
afterAll(() => server.stop());

storeContract(
  { describe, it },
  "memcached",
  async () => {
    await flushed(server);
    return memcached({ servers: server.host });
  },
  { injectedClock: false },
);

logContract({ describe, it }, "memcached", async (): Promise<LogFactory> => {
  await flushed(server);
  return (context) => {
    const log = logOf(memcached({ servers: server.host }), context);
    const { catchUp } = log;
    // The server tells nobody: others see a record at their next look.
    log.catchUp = async () => {
      await catchUp.call(log);
      await sleep(50);
    };
    return log;
  };
});

describe("log server contract", () => {
  logServerContract("memcached", async () => {
    await flushed(server);
    // Who followed an earlier history is waited for, for one lease: let that be over.
    const maxLag = 50;
    const first = logServer(server.host, { maxLag });
    await first.join("earlier", undefined, maxLag);
    await first.leave("earlier");
    await first.close();
    await sleep(100);
    return { connect: () => logServer(server.host, { maxLag }), end: async () => undefined };
  });
});
