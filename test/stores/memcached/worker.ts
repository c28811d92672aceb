// A store in a thread of its own: to it, entries of the test are those of another process.
import { parentPort, workerData } from "node:worker_threads";
import { memcached } from "../../../src/stores/memcached/index.ts";
import { context } from "./setup.ts";

const store = memcached({ servers: workerData }).open(context());
parentPort?.on(
  "message",
  async ({ what, args }: { what: "read" | "write" | "expire" | "touch"; args: never[] }) => {
    // Reason of the cast: the test names methods and gives what they take.
    const call = store[what] as (...given: unknown[]) => Promise<unknown>;
    parentPort?.postMessage(await call.apply(store, args));
  },
);
