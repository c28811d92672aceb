import { randomBytes } from "node:crypto";
import type { Follower, Log, LogFactory } from "./log.ts";

/** A random name of a generation: 48 bits, no separators. Short, since every stored entry carries it. */
export function newGeneration(): string {
  return randomBytes(6).toString("base64url");
}

/**
 * The log of a cache that shares nothing with other processes: appending is applying. Entries that its
 * index no longer covers cannot be proved valid (it keeps no table besides the follower's), so they count as invalidated.
 */
export function localLog(): LogFactory {
  return (): Log => {
    let position = 0;
    let follower: Follower | undefined;
    return {
      name: "local",
      shared: false,
      open(to) {
        follower = to;
        return { generation: newGeneration(), position };
      },
      append(records) {
        const appended = records.map((record) => ({ position: ++position, record }));
        const last = position; // a listener of these records may append more before `apply` returns
        follower?.apply(appended);
        return last;
      },
      tagPositions: (tags) => tags.map(() => ({ hard: position, soft: position })),
      patterns: () => [],
      swept: () => undefined,
      lag: () => 0,
      settled: () => undefined,
      catchUp: () => undefined,
      close() {
        follower = undefined;
      },
    };
  };
}
