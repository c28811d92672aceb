import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { globMatcher } from "../../src/base/key.ts";
import { Invalidations } from "../../src/coherence/invalidations.ts";
import type { LogRecord } from "../../src/coherence/log.ts";

const key = fc.stringMatching(/^[ab]:[cd]$/);
const tag = fc.constantFrom("t", "u", "v");
const soft = fc.constantFrom({}, { soft: true } as const);
const record: fc.Arbitrary<LogRecord> = fc.oneof(
  fc
    .record({ tags: fc.uniqueArray(tag, { minLength: 1 }), s: soft })
    .map(({ tags, s }) => ({ kind: "tags" as const, tags, ...s })),
  fc
    .record({ prefix: fc.constantFrom("", "a", "a:", "b:c"), s: soft })
    .map(({ prefix, s }) => ({ kind: "prefix" as const, prefix, ...s })),
  fc
    .record({ glob: fc.constantFrom("*:c", "a*", "?:d"), s: soft })
    .map(({ glob, s }) => ({ kind: "glob" as const, glob, ...s })),
  fc
    .record({ k: key, s: soft, p: fc.constantFrom({}, { pending: true } as const) })
    .map(({ k, s, p }) => ({ kind: "keys" as const, keys: [k], ...s, ...p })),
);

type Concerning = Exclude<LogRecord, { kind: "clear" | "ended" }>;

/** The definition: look at every record that came after the load. */
function expected(records: readonly LogRecord[], k: string, tags: readonly string[], asOf: number): string {
  let verdict = "valid";
  for (const [i, one] of records.entries()) {
    if (i + 1 <= asOf || one.kind === "clear" || one.kind === "ended") continue;
    const hit = isHit(one, k, tags);
    if (one.kind === "keys" && !one.pending && one.soft) continue; // stale in its store already
    if (hit && one.soft !== true) return "invalid";
    if (hit) verdict = "stale";
  }
  return verdict;
}

function isHit(one: Concerning, k: string, tags: readonly string[]): boolean {
  if (one.kind === "tags") return one.tags.some((t) => tags.includes(t));
  if (one.kind === "prefix") return k.startsWith(one.prefix);
  return one.kind === "keys" ? one.keys.includes(k) : globMatcher(one.glob)(k);
}

describe("the index of invalidations", () => {
  it("is not set back by a list of patterns that is older than what it heard since", () => {
    const index = new Invalidations(globMatcher);
    index.reset({ generation: "g", position: 2 }, []);
    index.apply({ position: 3, record: { kind: "prefix", prefix: "a", soft: true } });
    index.load([{ position: 1, record: { kind: "prefix", prefix: "a", soft: true } }]);
    expect(index.verdict("a:1", [], 2)).toBe("stale");
  });

  it("judges as a look at all records would", () => {
    fc.assert(
      fc.property(
        fc.array(record, { maxLength: 12 }),
        key,
        fc.uniqueArray(tag),
        fc.nat(12),
        (records, k, tags, asOf) => {
          const index = new Invalidations(globMatcher);
          index.reset({ generation: "g", position: 0 }, []);
          for (const [i, one] of records.entries()) index.apply({ position: i + 1, record: one });
          expect(index.verdict(k, tags, asOf)).toBe(expected(records, k, tags, asOf));
          const last = index.last(k, tags);
          // Of keys the index tells only what a store may still hold.
          const told = records.every((one) => one.kind !== "keys" || one.pending === true);
          if (told && index.verdict(k, tags, asOf) !== "valid") expect(last?.position).toBeGreaterThan(asOf);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("grows its version with every record that an entry must be checked against, and only those", () => {
    const index = new Invalidations(globMatcher);
    index.reset({ generation: "g", position: 0 }, []);
    const before = index.version;
    index.apply({ position: 1, record: { kind: "keys", keys: ["k"] } });
    expect(index.version).toBe(before);
    index.apply({ position: 2, record: { kind: "tags", tags: ["t"] } });
    index.apply({ position: 3, record: { kind: "clear", generation: "h" } });
    expect(index.version).toBe(before + 2);
    expect(index.generation).toBe("h");
  });

  it("stays bounded: beyond 100,000 tags or 1,000 patterns it forgets the oldest, and believes no entry that these may concern", () => {
    const index = new Invalidations(globMatcher);
    index.reset({ generation: "g", position: 0 }, []);
    for (let i = 1; i <= 100_001; i++)
      index.apply({ position: i, record: { kind: "tags", tags: [`t${i}`] } });
    expect(index.floor).toBe(25_000);
    expect(index.verdict("k", ["t25001"], 0)).toBe("invalid");
    for (let i = 1; i <= 1_001; i++)
      index.apply({ position: 200_000 + i, record: { kind: "prefix", prefix: `p${i}` } });
    expect(index.verdict("anything", [], 200_000)).toBe("invalid");
    expect(index.verdict("anything", [], 200_001)).toBe("valid");
  });

  it("a repeated pattern takes the place of the older one", () => {
    const index = new Invalidations(globMatcher);
    index.reset({ generation: "g", position: 0 }, []);
    for (let i = 1; i <= 5_000; i++) index.apply({ position: i, record: { kind: "prefix", prefix: "p" } });
    expect(index.verdict("q", [], 0)).toBe("valid");
    expect(index.verdict("p", [], 4_999)).toBe("invalid");
    expect(index.verdict("p", [], 5_000)).toBe("valid");
  });
});
