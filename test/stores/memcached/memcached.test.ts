import { afterAll, beforeAll, describe, it } from "vitest";
import { memcached } from "../../../src/stores/memcached/index.ts";
import { logContract } from "../../../src/testing/log-contract.ts";
import { storeContract } from "../../../src/testing/store-contract.ts";
import { type MemcachedServer, startMemcached } from "../../servers.ts";

let server: MemcachedServer;
beforeAll(async () => {
  server = await startMemcached({ args: ["-I", "8m"] });
});
afterAll(() => server.stop());

/** A layer on the emptied server. */
async function emptied() {
  await server.stop();
  server = await startMemcached({ port: server.port, args: ["-I", "8m"] });
  return memcached({ servers: server.host });
}

storeContract({ describe, it }, "memcached", emptied, { injectedClock: false });
logContract({ describe, it }, "memcached", async () => {
  const { log } = await emptied();
  if (log === undefined) throw new Error("memcached() brings a log");
  return log;
});
