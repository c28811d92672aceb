import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lruEngine } from "../../src/memory/lru-engine.ts";
import { sizeOf } from "../../src/memory/size-of.ts";
import { manualClock } from "../../src/testing/index.ts";

describe("the size of values", () => {
  it("grows with what they hold", () => {
    expect(sizeOf("x".repeat(10_000))).toBeGreaterThanOrEqual(10_000);
    expect(sizeOf("ж".repeat(10_000))).toBeGreaterThanOrEqual(20_000);
    expect(sizeOf(Buffer.alloc(50_000))).toBeGreaterThanOrEqual(50_000);
    expect(sizeOf(new ArrayBuffer(50_000))).toBeGreaterThanOrEqual(50_000);
    expect(sizeOf({ text: "x".repeat(10_000) })).toBeGreaterThanOrEqual(10_000);
    expect(sizeOf(new Map([["k", "x".repeat(10_000)]]))).toBeGreaterThanOrEqual(10_000);
    expect(sizeOf(new Set(["x".repeat(10_000)]))).toBeGreaterThanOrEqual(10_000);
    expect(sizeOf(new Error("x".repeat(10_000)))).toBeGreaterThanOrEqual(10_000);
    expect(sizeOf([1n, 1.5, 2, null, undefined, true])).toBeGreaterThan(sizeOf([]));
    expect([sizeOf(1), sizeOf(null), sizeOf(undefined), sizeOf(true)]).toEqual([8, 8, 8, 8]);
  });

  it("counts shared and circular references once", () => {
    const shared = { text: "x".repeat(1_000) };
    const list: unknown[] = [shared, shared, shared];
    list.push(list);
    expect(sizeOf(list)).toBeLessThan(2_000);
  });

  it("estimates huge values from a part of them", () => {
    const rows = Array.from({ length: 100_000 }, (_, i) => ({ i, text: "x".repeat(100) }));
    expect(sizeOf(rows)).toBeGreaterThan(5_000_000);
    expect(sizeOf(new Map(rows.map((row) => [row.i, row])))).toBeGreaterThan(5_000_000);
  });
});

describe("the L1 engine", () => {
  type Value = { readonly n: number; readonly bytes: number; readonly staleUntil: number };
  const engine = (maxEntries = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY) => {
    const clock = manualClock();
    const events: string[] = [];
    return {
      clock,
      events,
      cache: lruEngine<Value>({
        clock,
        maxEntries,
        maxBytes,
        onEvict: (key, _value, cause) => events.push(`${key} ${cause}`),
      }),
    };
  };

  it("never exceeds its bounds, and loses nothing without an event", () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant("set" as const),
        key: fc.integer({ min: 0, max: 12 }),
        bytes: fc.integer({ min: 1, max: 60 }),
      }),
      fc.record({
        do: fc.constant("get" as const),
        key: fc.integer({ min: 0, max: 12 }),
        bytes: fc.constant(0),
      }),
      fc.record({
        do: fc.constant("delete" as const),
        key: fc.integer({ min: 0, max: 12 }),
        bytes: fc.constant(0),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { cache, events } = engine(5, 100);
        const model = new Map<string, Value>();
        for (const [n, one] of steps.entries()) {
          const key = `k${one.key}`;
          events.length = 0;
          if (one.do === "set") {
            const value = { n, bytes: one.bytes, staleUntil: Number.POSITIVE_INFINITY };
            if (cache.set(key, value)) model.set(key, value);
            else model.delete(key);
          } else if (one.do === "get") cache.get(key);
          else expect(cache.delete(key)).toBe(model.delete(key));
          for (const event of events)
            if (event !== `${key} capacity`) model.delete(event.split(" ")[0] ?? "");
          expect(cache.size).toBeLessThanOrEqual(5);
          expect(cache.bytes).toBeLessThanOrEqual(100);
          expect(new Map(cache.entries())).toEqual(model);
          for (const [held, value] of model) expect(cache.peek(held)).toBe(value);
        }
      }),
    );
  });

  it("sweeps large numbers of expired entries in steps", () => {
    const { cache, clock, events } = engine();
    for (let i = 0; i < 5_000; i++)
      cache.set(`k${i}`, { n: i, bytes: 1, staleUntil: clock.now() + (i % 2 === 0 ? 500 : 1e9) });
    clock.tick(1_000);
    expect(cache.size).toBeLessThan(5_000);
    expect(cache.size).toBeGreaterThan(2_500);
    clock.tick(10_000);
    expect(cache.size).toBe(2_500);
    expect(events).toHaveLength(2_500);
    cache.clear();
    expect(cache.size).toBe(0);
    cache.set("later", { n: 1, bytes: 1, staleUntil: clock.now() + 60_000 });
    cache.set("sooner", { n: 1, bytes: 1, staleUntil: clock.now() + 5_000 });
    clock.tick(7_000);
    expect([...cache.entries()].map(([key]) => key)).toEqual(["later"]);
    cache.close();
    expect(clock.pending).toBe(0);
  });
});
