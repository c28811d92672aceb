import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** A page of the documentation. */
export interface Page {
  /** From the root of the repository: "docs/ttl.md". */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  readonly links: readonly Link[];
  readonly proofs: readonly Proof[];
}

/** A test file that the page names, and the titles in it that it quotes right after. */
export interface Proof {
  readonly file: string;
  readonly titles: readonly string[];
}

/** A code block marked `ts runnable`. */
export interface Block {
  /** Names it in test titles and file names: "docs-ttl-1". */
  readonly id: string;
  readonly code: string;
  /** Type stripping cannot run decorators: such a block is compiled first. */
  readonly decorators: boolean;
  /** What it must print, from a `text output` block that follows; undefined: anything. */
  readonly output: string | undefined;
}

/** A link to another file of the repository. */
export interface Link {
  readonly target: string;
  readonly anchor: string | undefined;
}

interface Fence {
  readonly info: string;
  readonly body: string;
}

/** README.md, CHANGELOG.md and every page under docs/. */
export function pagesOf(root: string): Page[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith(".md"),
  );
  return ["README.md", "CHANGELOG.md", ...docs.map((path) => join("docs", path)).sort()].map((path) =>
    pageOf(root, path),
  );
}

function pageOf(root: string, path: string): Page {
  const text = readFileSync(join(root, path), "utf8");
  const { fences, prose } = split(path, text);
  const name = path.replace(/\.md$/, "").replaceAll("/", "-");
  const blocks: Block[] = [];
  for (const [at, { info, body }] of fences.entries()) {
    if (!/^ts runnable\b/.test(info)) continue;
    const next = fences[at + 1];
    blocks.push({
      id: `${name}-${blocks.length + 1}`,
      code: body,
      decorators: info === "ts runnable decorators",
      output: next?.info === "text output" ? next.body : undefined,
    });
  }
  const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? "")
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link): Link => {
      const [file = "", anchor] = link.split("#");
      return {
        target: relative(root, file === "" ? join(root, path) : resolve(root, dirname(path), file)),
        anchor,
      };
    });
  return { path, text, blocks, links, proofs: proofsIn(prose) };
}

/** Such as: `test/cache/ttl.test.ts`: "expires at its end", "slides" */
function proofsIn(prose: string): Proof[] {
  const named = prose
    .replace(/\s+/g, " ")
    .matchAll(/`((?:test|src\/testing)\/[\w./-]+\.ts)`((?:[,: ]|and )*"[^"]+")*/g);
  return [...named].map(([whole, file = ""]) => ({
    file,
    titles: [...whole.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title),
  }));
}

/** Fenced blocks, and the text around them. */
function split(path: string, text: string): { fences: Fence[]; prose: string } {
  const fences: Fence[] = [];
  const prose: string[] = [];
  let open: { info: string; lines: string[] } | undefined;
  for (const line of text.split("\n")) {
    const fence = /^```(.*)$/.exec(line);
    if (fence === null) (open?.lines ?? prose).push(line);
    else if (open === undefined) open = { info: (fence[1] ?? "").trim(), lines: [] };
    else {
      fences.push({ info: open.info, body: open.lines.map((body) => `${body}\n`).join("") });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${path}: a code block is not closed`);
  return { fences, prose: prose.join("\n") };
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1] ?? "");
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
