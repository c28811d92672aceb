import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerOf, cacheStatus } from "../../examples/shop/cache-status.ts";

const fresh = (layer: string, ttl = 5_000) => ({ layer, state: "fresh" as const, ttl });
const loaded = { layer: "loader", state: "miss" as const, ttl: 60_000 };

/** A list member of RFC 9211 as far as the shop writes it: name and parameters, or a failed expectation. */
function parse(header: string): { name: string; params: Map<string, string | true> } {
  const bare = String.raw`(?:[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_\x60|~:/]*|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|-?\d{1,15})`;
  expect(header).toMatch(new RegExp(`^${bare}(?:; [a-z-]+(?:=${bare})?)*$`));
  const [name = ""] = new RegExp(`^${bare}`).exec(header) ?? [];
  const params = new Map<string, string | true>();
  for (const [, key = "", value] of header
    .slice(name.length)
    .matchAll(new RegExp(`; ([a-z-]+)(?:=(${bare}))?`, "g")))
    params.set(key, value ?? true);
  return { name, params };
}

describe("Cache-Status", () => {
  it("says hit, the seconds left and the layer", () => {
    expect(cacheStatus("shop", { answers: [fresh("memory")] })).toBe("shop; hit; ttl=5; detail=memory");
    expect(cacheStatus("shop", { answers: [fresh("disk", 61_999)] })).toBe("shop; hit; ttl=61; detail=disk");
  });

  it("says why a value came from the database, and that it was stored", () => {
    expect(cacheStatus("shop", { answers: [loaded] })).toBe(
      "shop; fwd=miss; stored; ttl=60; detail=database",
    );
  });

  it("shows a stale hit by a ttl below 0, however little", () => {
    const stale = { layer: "memory", state: "stale" as const, ttl: -1 };
    expect(cacheStatus("shop", { answers: [stale] })).toBe("shop; hit; ttl=-1; detail=memory");
  });

  it("leaves the ttl out when there is none", () => {
    expect(cacheStatus("shop", { answers: [fresh("memory", Infinity)] })).toBe("shop; hit; detail=memory");
  });

  it("counts the layers of a batch, and is partial when some values were missing", () => {
    expect(cacheStatus("shop", { answers: [fresh("memory"), fresh("memory", 900)] })).toBe(
      'shop; hit; ttl=0; detail="memory 2"',
    );
    expect(cacheStatus("shop", { answers: [fresh("memory"), loaded, loaded] })).toBe(
      'shop; fwd=partial; stored; ttl=5; detail="memory 1, database 2"',
    );
  });

  it("says method for a write, and nothing when no cache took part", () => {
    expect(cacheStatus("shop", { answers: [], write: true })).toBe(
      "shop; fwd=method; stored; detail=database",
    );
    expect(cacheStatus("shop", { answers: [] })).toBeUndefined();
  });

  it("does not say stored for what is not there", () => {
    expect(cacheStatus("shop", { answers: [{ layer: "none", state: "miss", ttl: 0 }] })).toBe(
      "shop; fwd=miss",
    );
  });

  it("is always one well-formed list member, with either hit or fwd", () => {
    const answer = fc.record({
      layer: fc.oneof(fc.constantFrom("memory", "disk", "loader", "none"), fc.string({ unit: "binary" })),
      state: fc.constantFrom("fresh" as const, "stale" as const, "miss" as const),
      ttl: fc.oneof(fc.double({ noNaN: true }), fc.integer()),
    });
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.array(answer, { minLength: 1 }), (name, answers) => {
        const { params } = parse(cacheStatus(name, { answers }) ?? "");
        expect(params.has("hit")).not.toBe(params.has("fwd"));
        if (params.has("ttl")) expect(params.get("ttl")).toMatch(/^-?\d{1,15}$/);
      }),
    );
  });

  it("is read back as it was written", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("memory", "disk", "redis"),
        fc.integer({ min: -1_000_000, max: 1_000_000 }),
        (layer, ttl) => {
          const state = ttl < 0 ? "stale" : "fresh";
          const status = cacheStatus("shop", { answers: [{ layer, state, ttl }] }) ?? "";
          expect(answerOf(status)).toEqual({ layer, state });
        },
      ),
    );
    expect(answerOf(cacheStatus("shop", { answers: [loaded] }) ?? "")).toEqual({
      layer: "loader",
      state: "miss",
    });
    expect(() => answerOf("")).toThrow("tells no layer");
  });
});
