import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { anchorsOf, type Block, pagesOf } from "./docs/pages.ts";
import { type RedisServer, startRedis } from "./servers.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
/** Examples run at the same time. */
const AT_ONCE = 2;

const pages = pagesOf(ROOT);
const blocks = pages.flatMap((page) => page.blocks);
/** Inside the repository, so that `caching-universal` is the package that is tested. */
let folder = "";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { ...process.env, ...env }, timeout: 60_000 };
    const child = execFile(process.execPath, [...args], options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (child.exitCode ?? 1), stdout, stderr }),
    );
  });
}

function newestIn(path: string): number {
  const files = readdirSync(path, { recursive: true, encoding: "utf8" }).map((file) =>
    statSync(join(path, file)),
  );
  return Math.max(...files.map((file) => file.mtimeMs));
}

/** Slots for child processes: whoever wants one waits for its turn. */
let free = AT_ONCE;
const queue: (() => void)[] = [];
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (free > 0) free--;
  else await new Promise<void>((resolve) => queue.push(resolve));
  try {
    return await work();
  } finally {
    const next = queue.shift();
    if (next === undefined) free++;
    else next();
  }
}

const ran = new Map<string, Promise<Ran>>();

/** Each example has caches and temporary files of its own, so that none sees what another left. */
function runBlock({ id, decorators }: Block): Promise<Ran> {
  if (ended) return Promise.resolve({ code: 1, stdout: "", stderr: "not run" });
  const own = join(folder, `${id}.tmp`);
  mkdirSync(own);
  const file = join(folder, decorators ? `js/${id}.js` : `${id}.ts`);
  return run(["--disable-warning=ExperimentalWarning", file], {
    TMPDIR: own,
    XDG_CACHE_HOME: own,
    REDIS_URL: server?.url,
  });
}

let types: Promise<Ran> | undefined;
let ended = false;
/** For the examples that read `REDIS_URL`. */
let server: RedisServer | undefined;

beforeAll(async () => {
  server = await startRedis();
  const entry = join(ROOT, "dist/index.js");
  if (!existsSync(entry) || statSync(entry).mtimeMs < newestIn(join(ROOT, "src"))) {
    const built = await run([TSC, "-p", "tsconfig.build.json"]);
    expect(built.stdout + built.stderr).toBe("");
  }
  mkdirSync(join(ROOT, ".cache/docs-test"), { recursive: true });
  folder = mkdtempSync(join(ROOT, ".cache/docs-test/run-"));
  for (const { id, code } of blocks) writeFileSync(join(folder, `${id}.ts`), code);
  const compilerOptions = { rootDir: ".", outDir: "js", noEmit: false };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: join(ROOT, "tsconfig.json"), compilerOptions, include: ["*.ts"] }),
  );
  const checking = inTurn(() => run([TSC, "-p", folder]));
  types = checking;
  for (const block of blocks) {
    const first = block.decorators ? checking : Promise.resolve();
    ran.set(
      block.id,
      first.then(() => inTurn(() => runBlock(block))),
    );
  }
}, 120_000);

afterAll(async () => {
  // With a filter (`-t`) nobody waits for most examples: those that have not begun are left out.
  ended = true;
  await Promise.allSettled([types, ...ran.values()]);
  await server?.stop();
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
});

describe("the examples of the documentation", () => {
  it("type-check together, as strictly as the source", { timeout: 120_000 }, async () => {
    const result = await types;
    expect(result).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it.each(blocks)(
    "$id runs, says nothing on stderr, and prints what the page shows",
    { timeout: 120_000 },
    async (block) => {
      const result = await ran.get(block.id);
      expect(result?.stderr).toBe("");
      expect(result?.code).toBe(0);
      if (block.output !== undefined) expect(result?.stdout).toBe(block.output);
    },
  );

  it("are on every page that is about a feature", () => {
    const without = pages.filter((page) => page.blocks.length === 0).map((page) => page.path);
    expect(without.filter((path) => path !== "CHANGELOG.md" && !path.startsWith("docs/decisions/"))).toEqual(
      [],
    );
  });
});

describe("the pages", () => {
  it("start with a hello-world of at most ten lines", () => {
    const hello = pages.find((page) => page.path === "README.md")?.blocks[0];
    expect(hello?.code.trimEnd().split("\n").length).toBeLessThanOrEqual(10);
  });

  it("are each linked from README.md or from another page", () => {
    const linked = new Set(
      pages.flatMap((page) =>
        page.links.filter((link) => link.target !== page.path).map((link) => link.target),
      ),
    );
    const lonely = pages.map((page) => page.path).filter((path) => path !== "README.md" && !linked.has(path));
    expect(lonely).toEqual([]);
  });

  it("link only to files and headings that exist", () => {
    const broken: string[] = [];
    for (const page of pages) {
      for (const { target, anchor } of page.links) {
        const there = pages.find((other) => other.path === target);
        if (!existsSync(join(ROOT, target))) broken.push(`${page.path}: ${target}`);
        else if (anchor !== undefined && there !== undefined && !anchorsOf(there.text).has(anchor))
          broken.push(`${page.path}: ${target}#${anchor}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it("name only tests that exist, by their titles", () => {
    const missing: string[] = [];
    for (const { path, proofs } of pages) {
      for (const { file, titles } of proofs) {
        const code = existsSync(join(ROOT, file)) ? readFileSync(join(ROOT, file), "utf8") : undefined;
        if (code === undefined) missing.push(`${path}: ${file}`);
        for (const title of titles)
          if (code?.includes(title) === false) missing.push(`${path}: ${file}: "${title}"`);
      }
    }
    expect(missing).toEqual([]);
    expect(
      pages.find((page) => page.path === "docs/guarantees.md")?.proofs.flatMap(({ titles }) => titles).length,
    ).toBeGreaterThan(10);
  });

  it("tell of every option, event, counter and error code there is", () => {
    const source = (path: string): string => readFileSync(join(ROOT, "src", path), "utf8");
    const names = [
      ...["cache/options.ts", "cache/api.ts", "memory/memory.ts", "stores/disk/index.ts"].flatMap((path) =>
        [...source(path).matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, name = ""]) => name),
      ),
      ...[...source("base/errors.ts").matchAll(/"(ERR_CACHE_\w+)"/g)].map(([, code = ""]) => code),
      ...[...source("cache/api.ts").matchAll(/^ {2}(\w+): \{ readonly/gm)].map(([, event = ""]) => event),
    ];
    expect(names.length).toBeGreaterThan(80);
    const code = pages.flatMap(({ text }) => text.match(/^```[\s\S]*?^```|`[^`\n]+`/gm) ?? []).join("\n");
    const untold = [...new Set(names)].filter((name) => !new RegExp(`\\b${name}\\b`).test(code));
    expect(untold).toEqual([]);
  });
});
