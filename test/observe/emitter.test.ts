import { describe, expect, it } from "vitest";
import { Emitter } from "../../src/observe/emitter.ts";
import { Latency } from "../../src/observe/latency.ts";

describe("the emitter", () => {
  it("tells listeners until they stop, and knows whether anyone listens", () => {
    const errors: unknown[] = [];
    const emitter = new Emitter<{ a: number; b: string }>((error) => errors.push(error));
    const seen: unknown[] = [];
    expect(emitter.wants("a")).toBe(false);
    const stop = emitter.on("a", (n) => seen.push(n));
    const stopOther = emitter.on("a", () => {
      throw new Error("listener");
    });
    expect([emitter.wants("a"), emitter.wants("b")]).toEqual([true, false]);
    emitter.emit("a", 1);
    emitter.emit("b", "nobody");
    stop();
    stop();
    emitter.emit("a", 2);
    stopOther();
    expect(emitter.wants("a")).toBe(false);
    expect(seen).toEqual([1]);
    expect(errors).toHaveLength(2);
  });
});

describe("latencies", () => {
  it("are percentiles in milliseconds", () => {
    const latency = new Latency();
    expect(latency.stats()).toEqual({ count: 0, p50: 0, p95: 0, p99: 0, max: 0 });
    for (let i = 1; i <= 100; i++) latency.record(i);
    const { count, p50, p99, max } = latency.stats();
    expect(count).toBe(100);
    expect(p50).toBeCloseTo(50, 0);
    expect(p99).toBeCloseTo(99, 0);
    expect(max).toBeCloseTo(100, 0);
    latency.record(0);
    expect(latency.stats().count).toBe(101);
  });
});
