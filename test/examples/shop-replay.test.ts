import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { drive } from "../../examples/shop/replay/drive.ts";
import { latencyOf, Recording } from "../../examples/shop/replay/recording.ts";
import { closingTable, conclusion, liveLine, verdictOf } from "../../examples/shop/replay/report.ts";
import { findTrace, productIds, readTrace } from "../../examples/shop/replay/trace.ts";

const KEPT = join(import.meta.dirname, "../../traces/orm-busy-8th.u32.gz");
const bytesOf = (keys: readonly number[]) => {
  const bytes = Buffer.alloc(keys.length * 4);
  for (const [at, key] of keys.entries()) bytes.writeUInt32LE(key, at * 4);
  return bytes;
};

describe("the trace reader", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "shop-trace-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("reads the kept trace, whose ceiling is above the target of 90%", async () => {
    const keys = await readTrace(KEPT);
    expect(keys.length).toBe(124_718);
    expect(new Set(keys).size).toBe(5_522);
    expect(verdictOf({ requests: keys.length, hits: 0 }, 5_522).ceiling).toBeCloseTo(0.9557, 4);
  });

  it("gives back any keys, plain or gzip-compressed", async () => {
    const keys = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(keys, fc.boolean(), async (written, compressed) => {
        const file = join(folder, compressed ? "any.u32.gz" : "any.u32");
        writeFileSync(file, compressed ? gzipSync(bytesOf(written)) : bytesOf(written));
        expect([...(await readTrace(file))]).toEqual(written);
      }),
      { numRuns: 30 },
    );
  });

  it("reads xz with the program of that name, or says that it is missing", async () => {
    const plain = join(folder, "packed.u32");
    writeFileSync(plain, bytesOf([7, 8, 7]));
    let packed = true;
    try {
      execFileSync("xz", [plain], { stdio: "ignore" });
    } catch {
      packed = false;
    }
    if (packed) expect([...(await readTrace(`${plain}.xz`))]).toEqual([7, 8, 7]);
    vi.stubEnv("PATH", folder);
    await expect(readTrace(`${plain}.xz`)).rejects.toThrow('the program "xz" is not installed');
    vi.unstubAllEnvs();
  });

  it("refuses what is no trace", async () => {
    const file = join(folder, "odd.u32");
    writeFileSync(file, "abcde");
    await expect(readTrace(file)).rejects.toThrow("5 bytes are not whole 4-byte key numbers");
    writeFileSync(file, "");
    await expect(readTrace(file)).rejects.toThrow("is no trace");
    const broken = join(folder, "broken.u32.gz");
    writeFileSync(broken, "not gzip");
    await expect(readTrace(broken)).rejects.toThrow("cannot be read");
  });

  it("finds a name in the folders in order, a path as it is, and says where it looked otherwise", () => {
    writeFileSync(join(folder, "mine.u32.gz"), "");
    expect(findTrace("mine", [join(folder, "none"), folder])).toBe(join(folder, "mine.u32.gz"));
    expect(findTrace(join(folder, "mine.u32.gz"), [])).toBe(join(folder, "mine.u32.gz"));
    expect(() => findTrace("other", [folder])).toThrow(
      `No trace "other": looked for ${join(folder, "other")}`,
    );
  });

  it("maps every key to a product that exists", () => {
    expect([...productIds(Uint32Array.of(0, 99, 100, 2 ** 32 - 1), 100)]).toEqual([1, 100, 1, 96]);
  });
});

describe("the recording", () => {
  it("counts answers by layer, hits and failures", () => {
    const recording = new Recording(5);
    recording.add("memory", "fresh", 1);
    recording.add("disk", "stale", 2);
    recording.add("loader", "miss", 3);
    recording.add("memory", "fresh", 5);
    recording.fail();
    expect(recording.tally()).toEqual({
      requests: 5,
      hits: 3,
      stale: 1,
      errors: 1,
      layers: new Map([
        ["memory", 2],
        ["disk", 1],
        ["loader", 1],
        ["failed", 1],
      ]),
    });
    expect(recording.latency("memory")).toEqual({ count: 2, p50: 1, p95: 5, p99: 5, max: 5 });
    expect(recording.latency("unheard of")).toEqual({ count: 0, p50: 0, p95: 0, p99: 0, max: 0 });
  });

  it("gives percentiles that were measured: at most that share lies below each", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
        const latency = latencyOf(Float64Array.from(values));
        for (const [share, value] of [
          [0.5, latency.p50],
          [0.95, latency.p95],
          [0.99, latency.p99],
        ] as const) {
          expect(values).toContain(value);
          expect(values.filter((v) => v <= value).length).toBeGreaterThanOrEqual(share * values.length);
          expect(values.filter((v) => v < value).length).toBeLessThan(share * values.length);
        }
        expect(latency.max).toBe(Math.max(...values));
      }),
    );
  });
});

describe("the closing table", () => {
  it("names the ceiling, and tells a trace that cannot reach the target from a cache that does not", () => {
    expect(conclusion(verdictOf({ requests: 1_000, hits: 950 }, 50))).toBe("Target of 90.00%: reached.");
    expect(conclusion(verdictOf({ requests: 76_118, hits: 55_634 }, 20_484))).toBe(
      "Target of 90.00%: out of reach of any cache on this trace from cold: it asks for each key 3.7 times on " +
        "average, and the first time is always a miss.",
    );
    expect(conclusion(verdictOf({ requests: 1_000, hits: 800 }, 50))).toBe(
      "Target of 90.00%: missed, though 95.00% was possible: 15.00% of the requests missed again.",
    );
  });

  it("counts only requests that could have hit when first reads are left out", () => {
    expect(verdictOf({ requests: 100, hits: 45 }, 10).withoutFirstReads).toBe(0.5);
    expect(verdictOf({ requests: 10, hits: 0 }, 10).withoutFirstReads).toBe(0);
    expect(verdictOf({ requests: 0, hits: 0 }, 0)).toMatchObject({ hitRate: 0, ceiling: 0 });
  });

  it("shows layers from near to far with their shares, and what was saved", () => {
    const recording = new Recording(4);
    recording.add("loader", "miss", 2);
    for (let i = 0; i < 2; i++) recording.add("memory", "fresh", 0.002);
    recording.add("disk", "fresh", 0.05);
    const facts = {
      trace: "mine",
      keys: 1,
      memoryEntries: 1,
      seconds: 2,
      loads: 1,
      statements: 1,
      how: "asked by a test",
    };
    const lines = closingTable(recording, facts).split("\n");
    expect(lines[0]).toBe("mine: 4 requests for 1 keys in 2.0 s (2/s), asked by a test.");
    expect(lines.slice(3, 7).map((line) => line.split(/ {2,}/).slice(0, 4))).toEqual([
      ["layer", "answers", "share", "p50 ms"],
      ["memory", "2", "50.00%", "0.0020"],
      ["disk", "1", "25.00%", "0.0500"],
      ["database", "1", "25.00%", "2.00"],
    ]);
    expect(lines).toContain("hit rate 75.00% (memory and disk together)");
    expect(lines).toContain("ceiling 75.00%: 1 compulsory first reads; of all others, 100.00% hit");
    expect(lines).toContain("database calls saved: 3 of 4; statements made: 1");
    const joined = closingTable(recording, { ...facts, loads: 0 }).split("\n");
    expect(joined).toContain(
      "1 of the requests answered by the database waited for a load that another had begun",
    );
    expect(liveLine(recording.tally(), 8, 2)).toBe(
      "50.00%  4 requests  2/s  hit rate 75.00%  memory 50.00%  disk 25.00%  database 25.00%",
    );
  });
});

describe("driving", () => {
  const pace = { concurrency: 1, rate: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

  it("asks in order, at most as many at a time as allowed, and goes on after a failure", async () => {
    const asked: number[] = [];
    let under = 0;
    let most = 0;
    const recording = new Recording(50);
    const ask = async (id: number) => {
      asked.push(id);
      most = Math.max(most, ++under);
      await Promise.resolve();
      under--;
      if (id === 13) throw new Error("broken");
      return { layer: "memory", state: "fresh" as const };
    };
    const ids = Uint32Array.from({ length: 50 }, (_, at) => at);
    await drive(ids, ask, { ...pace, concurrency: 4 }, recording);
    expect(asked).toEqual([...ids]);
    expect(most).toBe(4);
    expect(recording.tally()).toMatchObject({ requests: 50, hits: 49, errors: 1 });
  });

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    const recording = new Recording(100);
    const ask = async (id: number) => {
      if (id === 9) stop.abort();
      return { layer: "memory", state: "fresh" as const };
    };
    await drive(
      Uint32Array.from({ length: 100 }, (_, at) => at),
      ask,
      { ...pace, signal: stop.signal },
      recording,
    );
    expect(recording.tally().requests).toBe(10);
  });
});
