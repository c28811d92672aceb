import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { type Cache, createCache, type InvalidationReport, type PeekedEntry } from "../src/index.ts";

interface User {
  readonly id: number;
  readonly name: string;
}

describe("without a type map", () => {
  const cache = createCache();
  it("infers from the loader", () => {
    expectTypeOf(cache.getOrSet("k", () => 5)).resolves.toEqualTypeOf<number>();
    expectTypeOf(cache.getOrSet("k", async () => ({ a: 1 }))).resolves.toEqualTypeOf<{ a: number }>();
    expectTypeOf(
      cache.getOrSet("k", async (): Promise<User | undefined> => undefined),
    ).resolves.toEqualTypeOf<User | undefined>();
    expectTypeOf(cache.getOrSet("k", () => 5, { onlyCached: true })).resolves.toEqualTypeOf<
      number | undefined
    >();
    expectTypeOf(cache.getOrSet("k", ({ skip }) => skip("text"))).resolves.toEqualTypeOf<string>();
  });
  it("takes a type for get, and unknown without one", () => {
    expectTypeOf(cache.get<User>("k")).resolves.toEqualTypeOf<User | undefined>();
    expectTypeOf(cache.get("k")).resolves.toEqualTypeOf<unknown>();
    expectTypeOf(cache.getMany<User>(["k"])).resolves.toEqualTypeOf<(User | undefined)[]>();
    expectTypeOf(cache.peek("k")).toEqualTypeOf<PeekedEntry<unknown> | undefined>();
  });
  it("infers many, wrap and collections", () => {
    expectTypeOf(
      cache.getOrSetMany(["a"], async (keys) => new Map(keys.map((key) => [key, 1]))),
    ).resolves.toEqualTypeOf<(number | undefined)[]>();
    const wrapped = cache.wrap(async (a: number, b: string) => ({ a, b }), { name: "f" });
    expectTypeOf(wrapped).parameters.toEqualTypeOf<[a: number, b: string]>();
    expectTypeOf(wrapped).returns.resolves.toEqualTypeOf<{ a: number; b: string }>();
    expectTypeOf(wrapped.delete).returns.resolves.toEqualTypeOf<InvalidationReport>();
    const users = cache.collection("user", { load: async (id: number): Promise<User> => ({ id, name: "" }) });
    expectTypeOf(users.get).parameter(0).toEqualTypeOf<number>();
    expectTypeOf(users.get(1)).resolves.toEqualTypeOf<User | undefined>();
  });
  it("infers from a schema", () => {
    const schema = z.object({ n: z.number() });
    expectTypeOf(cache.getOrSet("k", () => ({ n: 1 }), { schema })).resolves.toEqualTypeOf<{ n: number }>();
  });
  it("refuses what cannot be meant", () => {
    // @ts-expect-error no duration
    void cache.getOrSet("k", () => 1, { ttl: "5 minutes" });
    // @ts-expect-error no key
    void cache.get({});
    // @ts-expect-error no such event
    cache.on("hits", () => undefined);
  });
});

describe("with a type map", () => {
  const cache: Cache<{ [key: `user:${string}`]: User; config: { dark: boolean } }> = createCache();
  it("gives each key its type", () => {
    expectTypeOf(cache.get("user:1")).resolves.toEqualTypeOf<User | undefined>();
    expectTypeOf(cache.get("config")).resolves.toEqualTypeOf<{ dark: boolean } | undefined>();
    expectTypeOf(cache.getOrSet("config", () => ({ dark: true }))).resolves.toEqualTypeOf<{
      dark: boolean;
    }>();
  });
  it("refuses other keys and values", () => {
    // @ts-expect-error no such key
    void cache.get("other");
    // @ts-expect-error another value
    void cache.set("config", { dark: 5 });
    // @ts-expect-error another value
    void cache.getOrSet("user:1", () => ({ id: "1" }));
  });
});
