import { describe, expect, it } from "vitest";
import { SeenKeys } from "../../../src/stores/redis/seen-keys.ts";

describe("keys seen on a walk", () => {
  it("are new once, among very many of one kind", () => {
    const seen = new SeenKeys(1_000_000);
    const keys = Array.from({ length: 200_000 }, (_, i) => `shop:user:${i}`);
    expect(keys.every((key) => seen.add(key))).toBe(true);
    expect(keys.some((key) => seen.add(key))).toBe(false);
    expect(seen.add("")).toBe(true);
    expect(seen.add("")).toBe(false);
    expect(seen.add("shop:user:200000")).toBe(true);
  });

  it("are remembered up to a bound, and told again beyond it", () => {
    const seen = new SeenKeys(2);
    expect(["a", "b", "c", "a", "c"].map((key) => seen.add(key))).toEqual([true, true, true, false, true]);
  });
});
