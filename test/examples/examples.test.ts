import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisServer, startRedis } from "../servers.ts";

const FOLDER = join(import.meta.dirname, "../../examples");

/** What each example prints, in full. */
const PRINTS: Readonly<Record<string, string>> = {
  "hello.ts": `  (loading for Ada)
Hello, Ada!
Hello, Ada!
  (loading for Grace)
Hello, Grace!
  (loading for Ada)
Hello, Ada!
`,
  "wrap.ts": `10 quotes of 1000 cents, computed 1 time
after the price change: computed 3 times
`,
  "collection.ts": `  (one query for ghent, porto)
Ghent Porto
  (one query for ghent)
268000 in the cache and 268000 in the table
`,
  "tags.ts": `page 1, page 2, page 3
page 1, (gone), page 3
"news" would reach 2 entries
(gone), (gone), (gone)
`,
  "grace.ts": `4200 from the database
4200 ten minutes later, database down: stale, inside its grace
The database does not answer.
`,
  "redis.ts": `  (loading)
Ada Ada loaded once for both
Ada is in the memory of the second
(gone) after the first deleted it
  (loading)
Ada Ada and loaded once more
`,
  "strict.ts": `4200 4200 each has it in its own memory
(gone) 3900 after a strict invalidation
3500 after the position of the write, wherever it was made
`,
};

let redis: RedisServer;
let folder = "";
beforeAll(async () => {
  redis = await startRedis();
  folder = await mkdtemp(join(tmpdir(), "examples-"));
});
afterAll(async () => {
  await redis?.stop();
  expect(await readdir(folder), "nothing is left behind").toEqual([]);
  await rm(folder, { recursive: true });
});

describe("the examples", () => {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".ts"));

  it("are all run here", () => {
    expect(files.toSorted()).toEqual(Object.keys(PRINTS).toSorted());
  });

  it.each(files)("%s runs by itself and prints what it says", async (file) => {
    const env = { PATH: process.env.PATH, REDIS_URL: redis.url };
    const options = { timeout: 15_000, cwd: folder, env };
    const run = await promisify(execFile)(process.execPath, [join(FOLDER, file)], options);
    expect(run.stdout).toContain(PRINTS[file] ?? "(not listed)");
    expect(run.stderr).toBe("");
  });

  it.each(files)("%s has at most 30 lines", (file) => {
    expect(readFileSync(join(FOLDER, file), "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(30);
  });
});
