// When the database is down, a stale value serves inside its grace. Run: node examples/grace.ts
import { createCache } from "caching-universal";
import { manualClock } from "caching-universal/testing";

const clock = manualClock(); // so that nothing here has to wait
await using cache = createCache({ name: "prices", clock, logger: false });

let up = true;
const price = () =>
  cache.getOrSet(
    "price:chair",
    async () => {
      if (!up) throw new Error("The database does not answer.");
      return 4_200;
    },
    { ttl: "1m", grace: "1h" },
  );

console.log(await price(), "from the database");
up = false;
await clock.advance(10 * 60_000);
console.log(await price(), "ten minutes later, database down: stale, inside its grace");
await clock.advance(2 * 3_600_000);
console.log(await price().catch((error: Error) => error.message));
