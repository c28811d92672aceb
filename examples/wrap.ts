// A function whose results are cached by its arguments. Run: node examples/wrap.ts
import { createCache } from "caching-universal";

await using cache = createCache({ name: "quotes" });

let computed = 0;
async function computeQuote(sku: string, quantity: number): Promise<{ sku: string; cents: number }> {
  computed += 1;
  return { sku, cents: sku.length * 100 * quantity };
}

const quote = cache.wrap(computeQuote, { ttl: "5m", tags: (sku) => [`sku:${sku}`] });

// Ten callers at once: one computation, and they all get it.
const quotes = await Promise.all(Array.from({ length: 10 }, () => quote("chair", 2)));
console.log(`${quotes.length} quotes of ${quotes[0]?.cents} cents, computed ${computed} time`);

await quote("table", 1);
await cache.invalidateTags(["sku:chair"]); // the price of chairs changed
await quote("chair", 2);
await quote("table", 1);
console.log(`after the price change: computed ${computed} times`);
