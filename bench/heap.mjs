/** Bytes of heap that one entry of 100,000 takes in the contender of the given index. */
import { contenders } from "./contenders.mjs";

const COUNT = 100_000;
const contender = contenders[Number(process.argv[2])](COUNT);
await contender.get("warm", () => 1);
globalThis.gc();
const before = process.memoryUsage().heapUsed;
for (let i = 0; i < COUNT; i++) await contender.get(`product:${i}`, () => ({ id: i, name: "A thing" }));
globalThis.gc();
console.log(Math.round((process.memoryUsage().heapUsed - before) / COUNT));
// Used after the measurement, so that it could not be collected before it.
await contender.get("warm", () => 1);
process.exit(0);
