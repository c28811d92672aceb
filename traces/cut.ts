// Cuts a trace by keys: keeps every request for the keys whose hash falls into one of 8 slices, and numbers
// the keys anew in order of first use. Sampling keys (not requests) keeps how often each key is asked for.
// Usage: node traces/cut.ts <trace.u32[.xz|.gz]> <slice 0-7> <out.u32.gz>
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { readTrace } from "../examples/shop/replay/trace.ts";

const [from = "", slice = "", to = ""] = process.argv.slice(2);
const wanted = Number(slice);
const ids = new Map<number, number>();
const kept: number[] = [];
for (const key of await readTrace(from)) {
  // Fibonacci hashing: the top 3 bits of the product choose the slice.
  if (Math.imul(key, 0x9e3779b1) >>> 29 !== wanted) continue;
  const id = ids.get(key) ?? ids.size;
  ids.set(key, id);
  kept.push(id);
}
const bytes = Buffer.alloc(kept.length * 4);
for (const [at, id] of kept.entries()) bytes.writeUInt32LE(id, at * 4);
writeFileSync(to, gzipSync(bytes, { level: 9 }));
console.log(`${kept.length} requests, ${ids.size} keys`);
