/** A process whose files may grow to a few megabytes only: it fills a disk store (see disk-trouble.test.ts). */

import { randomBytes } from "node:crypto";
import { systemClock } from "../../src/base/clock.ts";
import { disk } from "../../src/stores/disk/index.ts";
import { storedEntry } from "../../src/testing/index.ts";

const unhandled: string[] = [];
process.on("unhandledRejection", (error) => void unhandled.push(String(error)));
const store = disk({ path: process.argv[2] ?? "" }).open({
  cacheName: "t",
  maxLag: 5_000,
  clock: systemClock(),
  random: Math.random,
  warn: () => undefined,
});
let written = 0;
let failed: { code: unknown; message: string } | undefined;
for (let i = 0; i < 40; i++) {
  const entry = storedEntry({ value: randomBytes(200_000), ttl: 3_600_000 });
  await store.write([[`k${i}`, entry]]).then(
    () => written++,
    (error: Error & { code?: unknown }) => {
      failed ??= { code: error.code, message: error.message };
    },
  );
}
const [first] = await store.read(["k0"]);
await new Promise((resolve) => setTimeout(resolve, 100)); // what nobody handles is told a turn later
process.stdout.write(JSON.stringify({ written, failed, read: first?.found !== undefined, unhandled }));
process.exit(0);
