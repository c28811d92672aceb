/** A process with a cache on Redis, driven by messages: see processes.test.ts. */
import { createCache, memory } from "../../../src/index.ts";
import { redis } from "../../../src/stores/redis/index.ts";

const { url, lease } = JSON.parse(process.argv[2] ?? "{}") as { url: string; lease: string };
const cache = createCache({
  name: "processes",
  layers: [memory(), redis({ url })],
  lease: lease as "10s",
  ttl: "1h",
  logger: false,
});

const send = (message: object): void => {
  process.send?.(message);
};

/** Asks the parent, who counts the loads and decides when they end. */
const asked = new Map<string, (value: unknown) => void>();
const load = (key: string): Promise<unknown> =>
  new Promise((resolve) => {
    asked.set(key, resolve);
    send({ loading: key });
  });

process.on(
  "message",
  async (message: { do: string; id: number; key: string; count: number; value: unknown }) => {
    const { id, key } = message;
    if (message.do === "loaded") asked.get(key)?.(message.value);
    if (message.do === "read") {
      const reads = Array.from({ length: message.count }, () => cache.getOrSet(key, () => load(key)));
      const values = new Set(await Promise.all(reads));
      send({ done: id, values: [...values] });
    }
    if (message.do === "delete") send({ done: id, values: [(await cache.delete(key)).position] });
  },
);
process.on("disconnect", () => process.exit());
await cache.get("ready?");
send({ ready: true });
