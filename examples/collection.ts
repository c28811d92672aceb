// Keys bound to where their values come from: reads batch, writes go through. Run: node examples/collection.ts
import { createCache, type Source } from "caching-universal";

interface City {
  readonly name: string;
  readonly people: number;
}
const table = new Map([
  ["ghent", { name: "Ghent", people: 267_000 }],
  ["porto", { name: "Porto", people: 248_000 }],
]);
const source: Source<string, City> = {
  name: "table",
  async load(keys) {
    console.log(`  (one query for ${keys.join(", ")})`);
    return new Map([...table].filter(([key]) => keys.includes(key)));
  },
  async save(entries) {
    for (const [key, city] of entries) table.set(key, city);
  },
  delete: async (keys) => keys.filter((key) => table.delete(key)).length,
};

await using cache = createCache({ name: "atlas" });
const cities = cache.collection<City>("city", { source, ttl: "1h" });

const [ghent, porto] = await Promise.all([cities.get("ghent"), cities.get("porto")]);
console.log(ghent?.name, porto?.name);
await cities.update("ghent", () => ({ name: "Ghent", people: 268_000 }));
console.log(
  (await cities.get("ghent"))?.people,
  "in the cache and",
  table.get("ghent")?.people,
  "in the table",
);
