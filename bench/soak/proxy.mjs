/** The proxy in a process of its own: what the parent does must not delay what passes through. */
import { startProxy } from "../../test/proxy.ts";

const proxy = await startProxy(Number(process.argv[2]));
process.on("message", async ({ id, call, args }) => {
  await proxy[call](...args);
  process.send({ done: id });
});
process.on("disconnect", () => process.exit());
process.send({ port: proxy.port });
