import assert from "node:assert/strict";

/** Watches versions written and read, to assert that no read goes back behind what was promised. */
export interface StaleReads {
  /** Says that a write or invalidation has resolved: from now on, reads of the key see this version or a later one. */
  resolved(key: string, version: number): void;
  /** Does a read and notes what it was allowed to see. */
  read(key: string, read: () => Promise<number | undefined>): Promise<number | undefined>;
  readonly reads: number;
  readonly stale: readonly string[];
  /** @throws {AssertionError} listing the stale reads, if there was one. */
  assertNone(): void;
}

/** A checker of stale reads: a read that begins after version n was promised must not answer with less than n. */
export function staleReads(): StaleReads {
  const promised = new Map<string, number>();
  const stale: string[] = [];
  let reads = 0;
  return {
    resolved(key, version) {
      promised.set(key, Math.max(version, promised.get(key) ?? version));
    },
    async read(key, read) {
      const least = promised.get(key);
      const version = await read();
      reads++;
      if (least !== undefined && version !== undefined && version < least)
        stale.push(`${key}: read ${version}, promised ${least}`);
      return version;
    },
    get reads() {
      return reads;
    },
    stale,
    assertNone() {
      assert.deepEqual(stale, [], `${stale.length} of ${reads} reads were stale`);
    },
  };
}
