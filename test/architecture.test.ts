import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cruise, type ICruiseOptions, type IFlattenedRuleSet } from "dependency-cruiser";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
// Reason of the cast: the file is what `npm run check:imports` reads too, and is plain JavaScript for it.
const config = createRequire(import.meta.url)("../.dependency-cruiser.cjs") as IFlattenedRuleSet & {
  readonly options: ICruiseOptions;
};

/** Names of the rules that the files under `folder/src` break, with the files. */
async function violations(folder: string): Promise<{ modules: number; broken: string[] }> {
  const { forbidden } = config;
  if (forbidden === undefined) throw new Error("The configuration has no rules.");
  const options = { ...config.options, baseDir: folder, validate: true, ruleSet: { forbidden } };
  const { output } = await cruise(["src"], options);
  if (typeof output === "string") throw new Error(output);
  return {
    modules: output.modules.filter(({ source }) => source.startsWith("src/")).length,
    broken: output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
  };
}

describe("the house", () => {
  it("has no import that points up, and no cycle", { timeout: 60_000 }, async () => {
    const { modules, broken } = await violations(root);
    expect(broken).toEqual([]);
    expect(modules).toBeGreaterThan(20);
  });

  describe("notices", () => {
    let folder: string;
    beforeEach(async () => {
      folder = await realpath(await mkdtemp(join(tmpdir(), "caching-universal-house-")));
    });
    afterEach(() => rm(folder, { recursive: true, force: true }));

    /** Rules broken by a house of these files, each with what it imports. */
    async function rulesBroken(files: Readonly<Record<string, string>>): Promise<string[]> {
      await writeFile(join(folder, "package.json"), JSON.stringify({ name: "house", type: "module" }));
      for (const [file, imported] of Object.entries(files)) {
        const path = join(folder, "src", file);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, `${imported === "" ? "" : `import "${imported}";\n`}export const here = 1;\n`);
      }
      const { broken } = await violations(folder);
      return broken.map((line) => line.slice(0, line.indexOf(":"))).sort();
    }

    it.each([
      ["nothing where all is well", { "cache/cache.ts": "../stores/store.ts", "stores/store.ts": "" }, []],
      [
        "a base that imports a room",
        { "base/clock.ts": "../memory/engine.ts", "memory/engine.ts": "" },
        ["base-imports-down-only"],
      ],
      [
        "a memory that imports the cache",
        { "memory/memory.ts": "../cache/cache.ts", "cache/cache.ts": "" },
        ["memory-imports-down-only"],
      ],
      [
        "a driver that imports the cache",
        { "stores/disk/index.ts": "../../cache/cache.ts", "cache/cache.ts": "" },
        ["stores-imports-down-only"],
      ],
      [
        "a source that imports the cache",
        { "sources/postgres.ts": "../cache/cache.ts", "cache/cache.ts": "" },
        ["sources-imports-down-only"],
      ],
      [
        "a cache that imports a driver",
        { "cache/cache.ts": "../stores/disk/index.ts", "stores/disk/index.ts": "" },
        ["cache-imports-down-only"],
      ],
      [
        "a cache that imports a source's driver",
        { "cache/cache.ts": "../sources/postgres.ts", "sources/postgres.ts": "" },
        ["cache-imports-down-only"],
      ],
      [
        "a driver that imports another driver",
        { "stores/redis/index.ts": "../disk/index.ts", "stores/disk/index.ts": "" },
        ["stores-drivers-know-only-their-contract"],
      ],
      [
        "testing that imports a driver",
        { "testing/index.ts": "../sources/postgres.ts", "sources/postgres.ts": "" },
        ["testing-imports-down-only"],
      ],
      ["a cycle", { "cache/reader.ts": "./writer.ts", "cache/writer.ts": "./reader.ts" }, ["no-cycles"]],
      [
        "a room without a place in the house",
        { "cli/main.ts": "../utils/all.ts", "utils/all.ts": "" },
        ["no-unknown-rooms"],
      ],
      ["a package that is not declared", { "base/clock.ts": "left-out" }, ["only-declared-packages"]],
    ])("%s", async (_name, files, rules) => {
      expect(await rulesBroken(files)).toEqual(rules);
    });
  });
});
