import { reason } from "../../base/errors.ts";
import type { Reply, Script } from "./redis-link.ts";

/**
 * Runs a script by its digest; a server that does not have it (restarted, flushed, promoted, new in the cluster)
 * gets its text, and has it from then on.
 */
export async function runScript(
  send: (command: readonly (string | Buffer)[]) => Promise<Reply>,
  script: Script,
  keys: readonly string[],
  args: readonly (string | Buffer)[],
): Promise<Reply> {
  const count = String(keys.length);
  try {
    return await send(["evalsha", script.sha, count, ...keys, ...args]);
  } catch (error) {
    if (!reason(error).includes("NOSCRIPT")) throw error;
    return send(["eval", script.text, count, ...keys, ...args]);
  }
}
