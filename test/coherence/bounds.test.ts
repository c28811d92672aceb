import { describe, expect, it } from "vitest";
import { globMatcher } from "../../src/base/key.ts";
import { Endings } from "../../src/cache/endings.ts";
import { Invalidations } from "../../src/coherence/invalidations.ts";
import { sizeOf } from "../../src/memory/size-of.ts";
import { manualClock, recordingFollower } from "../../src/testing/index.ts";
import { mapLogServer } from "./map-log-server.ts";

const begun = (): Invalidations => {
  const index = new Invalidations(globMatcher);
  index.reset({ generation: "g", position: 0 }, []);
  return index;
};

describe("what is remembered is bounded", () => {
  it("patterns: beyond 1,000 the oldest is forgotten, and nothing older than it is valid any more", () => {
    const index = begun();
    for (let i = 1; i <= 1_001; i++)
      index.apply({ position: i, record: { kind: "prefix", prefix: `p${i}:` } });
    expect(index.verdict("elsewhere", [], 0)).toBe("invalid");
    expect(index.verdict("elsewhere", [], 1)).toBe("valid");
    expect(index.verdict("p7:1", [], 1)).toBe("invalid");
  });

  it("keys: beyond 10,000 the oldest is forgotten, since the stores dealt with it", () => {
    const index = begun();
    for (let i = 1; i <= 10_001; i++) index.apply({ position: i, record: { kind: "keys", keys: [`k${i}`] } });
    expect(index.verdict("k1", [], 0)).toBe("valid");
    expect(index.verdict("k2", [], 0)).toBe("invalid");
  });

  it("tags: beyond 100,000 the oldest quarter is forgotten, and the floor rises", () => {
    const index = begun();
    const tags = Array.from({ length: 100_001 }, (_, i) => `t${i}`);
    for (const [i, tag] of tags.entries())
      index.apply({
        position: i + 1,
        record: { kind: "tags", tags: [tag], ...(i % 2 ? { soft: true } : {}) },
      });
    expect(index.floor).toBe(25_000);
    expect(index.verdict("k", ["t99999"], 99_000)).toBe("stale");
    expect(index.last("k", ["t100000"])?.position).toBe(100_001);
    expect(index.last("k", ["t1", "t100000"])?.position).toBe(100_001);
  });

  it("generations: the last 100 are known, and a clear that is told twice changes nothing", () => {
    const index = begun();
    for (let i = 1; i <= 101; i++)
      index.apply({ position: i, record: { kind: "clear", generation: `g${i}` } });
    expect([index.knows("g"), index.knows("g1"), index.knows("g101")]).toEqual([false, true, true]);
    index.apply({ position: 102, record: { kind: "tags", tags: ["t"] } });
    index.apply({ position: 103, record: { kind: "clear", generation: "g101" } });
    expect(index.verdict("k", ["t"], 50)).toBe("invalid");
  });

  it("endings: of the last 1,000 keys", async () => {
    const clock = manualClock();
    const endings = new Endings(clock);
    endings.tell(
      Array.from({ length: 1_001 }, (_, i) => `k${i}`),
      5,
    );
    let woken = 0;
    void endings.next("k1000", 4, 1_000).then(() => woken++);
    void endings.next("k0", 4, 1_000).then(() => woken++);
    await clock.advance(0);
    expect(woken).toBe(1);
    endings.tellAll();
    await clock.advance(0);
    expect(woken).toBe(2);
  });

  it("generations that a follower has been in, while its log is cleared again and again", async () => {
    const server = mapLogServer();
    const clock = manualClock();
    const log = server.factory({
      cacheName: "t",
      maxLag: 5_000,
      clock,
      random: () => 0.5,
      warn: () => undefined,
    });
    const follower = recordingFollower();
    await log.open(follower);
    for (let i = 0; i < 120; i++) {
      const append = log.append([{ kind: "clear", generation: `c${i}` }]);
      await clock.advance(0);
      await append;
    }
    expect(follower.seen.at(-1)?.record).toEqual({ kind: "clear", generation: "c119" });
    expect(follower.resets).toEqual([]);
    const closed = log.close();
    await clock.advance(2_000);
    await closed;
  });

  it("the look at what a value takes: of very many objects a part stands for the rest", () => {
    const rows = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ id: i, inner: { a: [i, `${i}`] } }));
    const ratio = sizeOf({ a: rows(40_000), b: rows(40_000) }) / sizeOf({ a: rows(4_000), b: rows(4_000) });
    expect(ratio).toBeGreaterThan(5);
    expect(ratio).toBeLessThan(20);
    const bare = new Error("x");
    delete bare.stack;
    expect(sizeOf(bare)).toBeLessThan(sizeOf(new Error("x")));
    expect(sizeOf(new Set(Array.from({ length: 5_000 }, (_, i) => `v${i}`)))).toBeGreaterThan(50_000);
    expect(sizeOf(new Map(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i])))).toBeGreaterThan(50_000);
  });
});
