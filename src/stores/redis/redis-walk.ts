import { StoreError } from "../../base/errors.ts";
import type { RedisLink, RedisNode, Reply } from "./redis-link.ts";
import { SeenKeys } from "./seen-keys.ts";

/** Keys that one SCAN looks at. */
export const SCAN_COUNT = 250;
/** Keys told already, so that none is told twice; beyond that, Redis may repeat some. */
const MOST_SEEN = 1_000_000;

/** One step of a walk. */
export interface WalkStep {
  readonly keys: string[];
  /** Whether the walk over all keys is at its end. */
  readonly ended: boolean;
}

/**
 * Walks over the keys that begin with `prefix`, on every master.
 * @throws {StoreError} when a server was restarted or replaced meanwhile: its walk may have skipped keys.
 */
export async function* walk(
  link: RedisLink,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<readonly string[]> {
  for (const master of await link.masters()) {
    const server = await serverId(master);
    for await (const { keys } of walkMaster(master, prefix)) {
      signal?.throwIfAborted();
      if (keys.length > 0) yield keys;
      signal?.throwIfAborted();
    }
    if ((await serverId(master)) !== server)
      throw new StoreError("Redis was restarted or replaced during a walk over its keys; begin it anew.");
  }
}

/** Walks over one master's keys, in steps of about `SCAN_COUNT` keys of any kind. */
export async function* walkMaster(master: RedisNode, prefix: string): AsyncGenerator<WalkStep> {
  const seen = new SeenKeys(MOST_SEEN);
  let cursor = "0";
  do {
    const reply = await master.send([
      "scan",
      cursor,
      "match",
      `${escapeGlob(prefix)}*`,
      "count",
      String(SCAN_COUNT),
    ]);
    const [next, found] = Array.isArray(reply) ? reply : [];
    if (next === undefined || !Array.isArray(found)) throw new StoreError("Redis gave no answer to SCAN.");
    cursor = String(next);
    const keys = found.map(String).filter((key) => seen.add(key));
    yield { keys, ended: cursor === "0" };
  } while (cursor !== "0");
}

async function serverId(master: RedisNode): Promise<string | undefined> {
  const reply: Reply = await master.send(["info", "server"]);
  return /^run_id:(\w+)/m.exec(String(reply))?.[1];
}

/** What `MATCH` would take for more than itself. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}
