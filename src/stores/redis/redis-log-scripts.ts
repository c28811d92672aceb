import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Script } from "./redis-link.ts";

const state = lua("log-state");

export const joinScript = script(state, lua("log-join"));
export const appendScript = script(state, lua("log-append"));
export const unacknowledgedScript = script(state, lua("log-unacknowledged"));
export const renounceScript = script(state, lua("log-renounce"));
export const patternsScript = script(state, lua("log-patterns"));
export const sweptScript = script(lua("log-swept"));

function lua(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), "utf8");
}

function script(...parts: readonly string[]): Script {
  const text = parts.join("\n");
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
