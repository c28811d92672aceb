// Two caches on one Redis, as two processes would have: what one changes the other sees.
// Run: REDIS_URL=redis://127.0.0.1:6379 node examples/redis.ts
import { createCache, memory } from "caching-universal";
import { redis } from "caching-universal/redis";

const open = () =>
  createCache({ name: "example", layers: [memory(), redis({ url: process.env.REDIS_URL })], ttl: "1h" });
await using here = open();
await using there = open();
await here.clear({ wait: "all" }); // of an earlier run

const user = (cache: typeof here) =>
  cache.getOrSet("user:1", () => {
    console.log("  (loading)");
    return "Ada";
  });
console.log(await user(here), await user(there), "loaded once for both");
console.log(there.peek("user:1")?.value, "is in the memory of the second");

await here.delete("user:1", { wait: "all" });
console.log(there.peek("user:1")?.value ?? "(gone)", "after the first deleted it");
console.log(await user(there), await user(here), "and loaded once more");
