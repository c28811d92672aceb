// Writes src/stores/redis/scripts.ts from the .lua files beside it: `node scripts/embed-lua.mjs`.
// With `--check` it writes nothing and fails when the file is not up to date.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("../src/stores/redis/", import.meta.url);
const target = new URL("scripts.ts", folder);

/** A script without comments and indentation; `-- @include name` stands for lua/parts/name.lua. */
function embedded(path) {
  return readFileSync(new URL(path, folder), "utf8")
    .split("\n")
    .flatMap((line) => {
      const part = /^-- @include (\S+)$/.exec(line.trim())?.[1];
      return part === undefined ? [line.trim()] : embedded(`lua/parts/${part}.lua`).split("\n");
    })
    .filter((line) => line !== "" && !line.startsWith("--"))
    .join("\n");
}

/** `log-append.lua` is `logAppendScript`. */
function constant(file) {
  return `${file.slice(0, -".lua".length).replace(/-(.)/g, (_, letter) => letter.toUpperCase())}Script`;
}

/** A template literal keeps lines apart and quotes as they are. */
function literal(text) {
  return `\`${text.replace(/[\\`]|\$\{/g, (found) => `\\${found}`)}\``;
}

const files = readdirSync(new URL("lua/", folder)).filter((name) => name.endsWith(".lua"));
const scripts = files.sort().map((file) => {
  const text = embedded(`lua/${file}`);
  const sha = createHash("sha1").update(text).digest("hex");
  return `/** lua/${file} */\nexport const ${constant(file)}: Script = {\n  sha: "${sha}",\n  text: ${literal(text)},\n};\n`;
});
const source = `// Written by scripts/embed-lua.mjs from lua/*.lua: change those, and run it again.
import type { Script } from "./redis-link.ts";

${scripts.join("\n")}`;

if (!process.argv.includes("--check")) writeFileSync(target, source);
else if (!existsSync(target) || readFileSync(target, "utf8") !== source) {
  console.error(`${fileURLToPath(target)} is not up to date: run \`node scripts/embed-lua.mjs\`.`);
  process.exitCode = 1;
}
