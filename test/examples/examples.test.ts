import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

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
};

describe("the examples", () => {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".ts"));

  it("are all run here", () => {
    expect(files.toSorted()).toEqual(Object.keys(PRINTS).toSorted());
  });

  it.each(files)("%s runs by itself and prints what it says", async (file) => {
    const run = await promisify(execFile)(process.execPath, [join(FOLDER, file)], { timeout: 15_000 });
    expect(run.stdout).toContain(PRINTS[file] ?? "(not listed)");
    expect(run.stderr).toBe("");
  });

  it.each(files)("%s has at most 30 lines", (file) => {
    expect(readFileSync(join(FOLDER, file), "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(30);
  });
});
