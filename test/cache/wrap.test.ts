import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { cached, KeyError, OptionError } from "../../src/index.ts";
import { testCache } from "./setup.ts";

describe("wrap", () => {
  it("caches by arguments, and deletes one result", async () => {
    const { cache } = testCache();
    const add = vi.fn((a: number, b: number) => a + b);
    const wrapped = cache.wrap(add, { name: "add", ttl: "5m" });
    expect(await wrapped(1, 2)).toBe(3);
    expect(await wrapped(1, 2)).toBe(3);
    expect(await wrapped(2, 1)).toBe(3);
    expect(add).toHaveBeenCalledTimes(2);
    await wrapped.delete(1, 2);
    await wrapped(1, 2);
    await wrapped(2, 1);
    expect(add).toHaveBeenCalledTimes(3);
  });

  it("names keys after the function, or as told; an anonymous one needs a name", async () => {
    const { cache } = testCache();
    async function quote(sku: string): Promise<string> {
      return sku;
    }
    expect(cache.wrap(quote).keyOf("a")).toEqual(["quote", '"a"']);
    const byKey = cache.wrap(quote, { key: (sku) => `q:${sku}` });
    await byKey("x");
    expect(await cache.get("q:x")).toBe("x");
    expect(() => cache.wrap(() => 1)).toThrow("name");
    // @ts-expect-error a function is needed
    expect(() => cache.wrap(5)).toThrow(OptionError);
    // @ts-expect-error a function is needed
    expect(() => cache.wrap(quote, { key: "q" })).toThrow("key");
  });

  it("never mixes up different arguments", async () => {
    const value = fc.oneof(
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom("0", "1", "1,2", "", null, undefined, true, 0, -0, Number.NaN),
    );
    const args = fc.array(fc.oneof(value, fc.array(value, { maxLength: 2 }), fc.record({ a: value })), {
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(args, args, async (one, two) => {
        const { cache } = testCache();
        const echo = cache.wrap((...given: unknown[]) => ({ given }), { name: "echo" });
        expect((await echo(...one)).given).toEqual(one);
        expect((await echo(...two)).given).toEqual(two);
      }),
      { numRuns: 300 },
    );
  });

  it("tags results by their arguments", async () => {
    const { cache } = testCache();
    const load = vi.fn((id: string) => id);
    const wrapped = cache.wrap(load, { name: "load", tags: (id) => [`t:${id}`] });
    await wrapped("a");
    await wrapped("b");
    await cache.invalidateTags(["t:a"]);
    await wrapped("a");
    await wrapped("b");
    expect(load).toHaveBeenCalledTimes(3);
  });

  it("rejects, and does not throw, for arguments that no key can be made of", async () => {
    const { cache } = testCache();
    const wrapped = cache.wrap((fn: () => void) => fn, { name: "f" });
    await expect(wrapped(() => undefined)).rejects.toThrow(KeyError);
  });

  it("keeps this, passes errors on, and does not cache them", async () => {
    const { cache } = testCache();
    let calls = 0;
    const service = {
      base: 10,
      get: cache.wrap(
        function (this: { base: number }, n: number) {
          if (++calls === 1) throw new Error("first");
          return this.base + n;
        },
        { name: "service.get" },
      ),
    };
    await expect(service.get(1)).rejects.toThrow("first");
    expect(await service.get(1)).toBe(11);
  });
});

describe("@cached", () => {
  it("caches a method's results by its arguments, with its this", async () => {
    const { cache } = testCache();
    let calls = 0;
    class Quotes {
      readonly base = 100;
      async quote(sku: string, qty: number): Promise<string> {
        calls++;
        return `${sku} ${this.base * qty}`;
      }
    }
    // What the compiler makes of `@cached(cache, { ttl: "5m" }) async quote(...)`.
    const decorated = cached<Quotes, [string, number], string>(cache, { ttl: "5m" })(Quotes.prototype.quote, {
      kind: "method",
      name: "quote",
    } as ClassMethodDecoratorContext<Quotes>);
    Quotes.prototype.quote = decorated;
    const quotes = new Quotes();
    expect(await quotes.quote("a", 2)).toBe("a 200");
    expect(await quotes.quote("a", 2)).toBe("a 200");
    expect(await new Quotes().quote("a", 2)).toBe("a 200");
    expect(await quotes.quote("a", 3)).toBe("a 300");
    expect(calls).toBe(2);
  });
});
