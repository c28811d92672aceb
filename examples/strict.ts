// An invalidation that every process has heard of, and a read that sees a write of another. Run: node examples/strict.ts
import { mkdtemp, rm } from "node:fs/promises";
import { createCache, memory } from "caching-universal";
import { disk } from "caching-universal/disk";

const path = await mkdtemp("strict-example-"); // two processes of one machine would name the same folder
const open = () => createCache({ name: "prices", layers: [memory(), disk({ path })], ttl: "1h" });
const [here, there] = [open(), open()];

let price = 4_200;
const read = (cache: typeof here, after?: string) => cache.getOrSet("chair", () => price, { after });
console.log(await read(here), await read(there), "each has it in its own memory");

price = 3_900;
await here.delete("chair", { wait: "all" }); // done once no process can serve the old price
console.log(there.peek("chair")?.value ?? "(gone)", await read(there), "after a strict invalidation");

const { position } = await here.set("chair", 3_500);
console.log(await read(there, position), "after the position of the write, wherever it was made");

await Promise.all([here.close(), there.close()]);
await rm(path, { recursive: true });
