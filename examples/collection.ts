// Keys bound to where their values come from: reads batch, writes go through. Run: node examples/collection.ts
import { createCache, source } from "caching-universal";

type City = { readonly name: string; readonly people: number };
const table = new Map<string, City>()
  .set("ghent", { name: "Ghent", people: 267_000 })
  .set("porto", { name: "Porto", people: 248_000 });

await using cache = createCache({ name: "atlas" });
const cities = cache.collection("city", {
  source: source<City>({
    load(keys) {
      console.log(`  (one query for ${keys.join(", ")})`);
      return keys.map((key) => table.get(key));
    },
    save(entries) {
      for (const [key, city] of entries) table.set(key, city);
    },
  }),
  ttl: "1h",
});

const [ghent, porto] = await Promise.all([cities.get("ghent"), cities.get("porto")]);
console.log(ghent?.name, porto?.name);
await cities.update("ghent", () => ({ name: "Ghent", people: 268_000 }));
const cached = await cities.get("ghent");
console.log(cached?.people, "in the cache and", table.get("ghent")?.people, "in the table");
