import { describe, expect, it } from "vitest";
import { TurnoverMap } from "../../src/cache/turnover-map.ts";

describe("a map whose entries come and go", () => {
  it("holds what it was given, however often the map behind it is replaced", () => {
    const map = new TurnoverMap<string, number>();
    map.delete("never there");
    for (let i = 0; i < 5_000; i++) {
      map.set(`k${i}`, i);
      if (i >= 10) map.delete(`k${i - 10}`);
    }
    expect(map.size).toBe(10);
    expect(map.get("k4999")).toBe(4_999);
    expect(map.get("k4989")).toBeUndefined();
    for (let i = 4_990; i < 5_000; i++) map.delete(`k${i}`);
    for (let i = 0; i < 200; i++) {
      map.set("one", i);
      map.delete("one");
    }
    expect(map.size).toBe(0);
  });
});
