// Entries with labels, taken out together in one step. Run: node examples/tags.ts
import { createCache } from "caching-universal";

await using cache = createCache({ name: "pages", ttl: "1h" });

for (const id of [1, 2, 3])
  await cache.set(["page", id], `page ${id}`, { tags: id === 2 ? ["news", "sport"] : ["news"] });

const shown = async () => {
  const pages = await cache.getMany<string>([
    ["page", 1],
    ["page", 2],
    ["page", 3],
  ]);
  return pages.map((page) => page ?? "(gone)").join(", ");
};

console.log(await shown());
await cache.invalidateTags(["sport"]);
console.log(await shown());

const reach = await cache.invalidateTags(["news"], { dryRun: true });
console.log(`"news" would reach ${reach.layers.memory} entries`);
await cache.invalidateTags(["news"]);
console.log(await shown());
console.log((await cache.explain(["page", 1])).layers[0]?.why);
