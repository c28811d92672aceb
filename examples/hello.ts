// The first time the value is loaded, then it comes from memory. Run: node examples/hello.ts
import { createCache } from "caching-universal";

await using cache = createCache();

const slowGreeting = async (name: string) => {
  console.log(`  (loading for ${name})`);
  return `Hello, ${name}!`;
};

for (const name of ["Ada", "Ada", "Grace"])
  console.log(await cache.getOrSet(`greeting:${name}`, () => slowGreeting(name), { ttl: "10m" }));

await cache.delete("greeting:Ada");
console.log(await cache.getOrSet("greeting:Ada", () => slowGreeting("Ada"), { ttl: "10m" }));
