/** A process that uses a disk store as told by its parent (see disk.test.ts). */

import { systemClock } from "../../src/base/clock.ts";
import { createCache, memory } from "../../src/index.ts";
import { disk } from "../../src/stores/disk/index.ts";

const path = process.argv[2] ?? "";
const layer = disk({ path });
const cache = createCache({ name: "shared", layers: [memory(), layer], ttl: "1h", logger: false });
const store = layer.open({
  cacheName: "shared",
  maxLag: 5_000,
  clock: systemClock(),
  random: Math.random,
  warn: () => undefined,
});

async function act(what: string, args: string[]): Promise<unknown> {
  const [key = "", value] = args;
  switch (what) {
    case "get":
      return cache.get(key, { after: value });
    case "getOrSet":
      return cache.getOrSet(key, () => value);
    case "delete":
      return (await cache.delete(key)).position;
    case "tags":
      return (await cache.invalidateTags([key])).position;
    case "pattern":
      return (await cache.invalidatePattern(key)).position;
    case "clear":
      return (await cache.clear()).position;
    case "leased": {
      const [read] = await store.read([key], { lease: 1 });
      if (read?.lease !== undefined && read.lease !== "busy") await store.release(key, read.lease);
      return read?.lease === "busy";
    }
    case "storm":
      for (let i = 0; ; i++) {
        void cache.set(`storm:${i % 5_000}`, "x".repeat(i % 3_000));
        if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (i === 2_000) process.send?.({ id: -1 });
      }
  }
  return undefined;
}

process.on("message", async ({ id, what, args }: { id: number; what: string; args: string[] }) => {
  process.send?.({ id, value: await act(what, args) });
});
process.send?.({ id: -1 });
