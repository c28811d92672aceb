import { describe, expect, it, vi } from "vitest";
import { type Answer, ClosedError, memory, OptionError, TimeoutError } from "../../src/index.ts";
import { gate, settle, testCache } from "./setup.ts";

describe("cache-aside", () => {
  it("loads once, then answers from memory", async () => {
    const { cache } = testCache();
    const load = vi.fn(() => ({ id: 1 }));
    const first = await cache.getOrSet("k", load);
    expect(await cache.getOrSet("k", load)).toBe(first);
    expect(load).toHaveBeenCalledTimes(1);
    expect(cache.stats()).toMatchObject({ hits: 1, misses: 1, loads: 1, reads: 2, hitRate: 0.5 });
  });

  it("answers a hit with one promise and without a turn of the event loop", async () => {
    const { cache } = testCache();
    await cache.getOrSet("k", () => 1);
    let seen: unknown;
    void cache.getOrSet("k", () => 2, { ttl: "1m" }).then((value) => (seen = value));
    await Promise.resolve();
    expect(seen).toBe(1);
  });

  it("keeps null as a value and never undefined", async () => {
    const { cache } = testCache();
    const nothing = vi.fn(() => undefined);
    const isNull = vi.fn(() => null);
    await cache.getOrSet("null", isNull);
    await cache.getOrSet("null", isNull);
    await cache.getOrSet("undefined", nothing);
    await cache.getOrSet("undefined", nothing);
    expect(isNull).toHaveBeenCalledTimes(1);
    expect(nothing).toHaveBeenCalledTimes(2);
    expect(await cache.has("null")).toBe(true);
    expect(await cache.has("undefined")).toBe(false);
  });

  it("takes a loader that answers without a promise, and turns one that throws into a rejection", async () => {
    const { cache } = testCache();
    const failing = (): never => {
      throw new Error("no");
    };
    await expect(cache.getOrSet("k", failing)).rejects.toThrow("no");
    expect(await cache.getOrSet("k", () => 7)).toBe(7);
  });

  it("refuses a missing loader by name", async () => {
    const { cache } = testCache();
    // @ts-expect-error a loader is needed
    await expect(cache.getOrSet("k", undefined)).rejects.toThrow(OptionError);
  });

  it("rejects everything after close, and close can be called twice", async () => {
    const { cache } = testCache();
    await cache.getOrSet("k", () => 1);
    await Promise.all([cache.close(), cache.close()]);
    await expect(cache.getOrSet("k", () => 1)).rejects.toThrow(ClosedError);
    await expect(cache.get("k")).rejects.toThrow(ClosedError);
    await expect(cache.set("k", 1)).rejects.toThrow(ClosedError);
    await expect(cache.delete("k")).rejects.toThrow(ClosedError);
    await expect(cache.clear()).rejects.toThrow(ClosedError);
    expect(cache.peek("k")).toBeUndefined();
  });

  it("is disposed of by await using", async () => {
    const outer = testCache();
    {
      await using cache = outer.cache;
      await cache.set("k", 1);
    }
    await expect(outer.cache.get("k")).rejects.toThrow(ClosedError);
  });
});

describe("ttl", () => {
  it("expires at its end, not before", async () => {
    const { cache, clock } = testCache({ ttl: "10s" });
    await cache.set("k", 1);
    await clock.advance(9_999);
    expect(await cache.get("k")).toBe(1);
    await clock.advance(1);
    expect(await cache.get("k")).toBeUndefined();
  });

  it("is shortened by a random share of the jitter", async () => {
    let random = 1;
    const { cache } = testCache({ ttl: "100s", jitter: 0.2, random: () => random });
    await cache.set("short", 1);
    random = 0;
    await cache.set("long", 1);
    expect(cache.peek("short")?.ttl).toBeCloseTo(80_000);
    expect(cache.peek("long")?.ttl).toBe(100_000);
  });

  it("slides with every hit when asked to", async () => {
    const { cache, clock } = testCache();
    await cache.set("slides", 1, { ttl: "10s", sliding: true });
    await cache.set("stays", 1, { ttl: "10s" });
    for (let i = 0; i < 5; i++) {
      await clock.advance(6_000);
      expect(await cache.get("slides")).toBe(1);
    }
    expect(await cache.get("stays")).toBeUndefined();
    await clock.advance(10_000);
    expect(await cache.get("slides")).toBeUndefined();
  });

  it("of 0 does not cache, and longer than a timer can be does not fire at once", async () => {
    const { cache, clock } = testCache();
    await cache.set("zero", 1, { ttl: 0 });
    await cache.set("long", 1, { ttl: "365d" });
    expect(await cache.get("zero")).toBeUndefined();
    await clock.advance(30 * 86_400_000);
    expect(await cache.get("long")).toBe(1);
  });

  it("starts anew by touch", async () => {
    const { cache, clock } = testCache({ ttl: "10s" });
    await cache.set("k", 1);
    await clock.advance(8_000);
    expect(await cache.touch("k")).toBe(true);
    await clock.advance(8_000);
    expect(await cache.get("k")).toBe(1);
    expect(await cache.touch("k", "1h")).toBe(true);
    await clock.advance(3_599_999);
    expect(await cache.get("k")).toBe(1);
    expect(await cache.touch("other")).toBe(false);
  });

  it("warns once of a number that was probably meant in seconds", async () => {
    const { cache, warnings } = testCache();
    await cache.set("k", 1, { ttl: 60 });
    await cache.set("k", 1, { ttl: 60 });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('"60s"');
  });

  it("frees what has expired without being read", async () => {
    const { cache, clock } = testCache({ ttl: "10s" });
    await cache.setMany(Array.from({ length: 1_000 }, (_, i) => [`k${i}`, i] as const));
    expect(cache.stats().layers.memory?.entries).toBe(1_000);
    await clock.advance(15_000);
    expect(cache.stats().layers.memory).toMatchObject({ entries: 0, bytes: 0 });
  });
});

describe("stale-while-revalidate", () => {
  it("serves the stale entry at once and refreshes it in the background, once", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: "20s" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(15_000);
    const next = gate<string>();
    expect(await cache.getOrSet("k", next.load)).toBe("old");
    expect(await cache.getOrSet("k", next.load)).toBe("old");
    expect(next.calls).toBe(1);
    next.open("new");
    await settle();
    expect(await cache.getOrSet("k", next.load)).toBe("new");
    expect(cache.stats()).toMatchObject({ staleHits: 2, loads: 2 });
  });

  it("waits for the load when the stale entry is past swr, even within grace", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: "5s", grace: "1h" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(16_000);
    expect(await cache.getOrSet("k", () => "new")).toBe("new");
  });

  it("covers all of grace when it is true", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: true, grace: "1h" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(3_000_000);
    expect(await cache.getOrSet("k", () => "new")).toBe("old");
  });

  it("does not keep an entry that was invalidated while it was refreshed in the background", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: "1h" });
    await cache.getOrSet("k", () => "v1");
    await clock.advance(15_000);
    const slow = gate<string>();
    expect(await cache.getOrSet("k", slow.load)).toBe("v1");
    await cache.delete("k");
    slow.open("v1 again");
    await settle();
    expect(await cache.getOrSet("k", () => "v2")).toBe("v2");
  });
});

describe("fail-safe", () => {
  it("serves the stale entry when the load fails, and tries again only after retryAfter", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h", retryAfter: "30s" });
    const errors: unknown[] = [];
    cache.on("loadError", (event) => errors.push(event));
    await cache.getOrSet("k", () => "old");
    await clock.advance(11_000);
    const failing = vi.fn(() => Promise.reject(new Error("down")));
    expect(await cache.getOrSet<string, string>("k", failing)).toBe("old");
    await clock.advance(29_000);
    expect(await cache.getOrSet<string, string>("k", failing)).toBe("old");
    expect(failing).toHaveBeenCalledTimes(1);
    await clock.advance(2_000);
    expect(await cache.getOrSet<string, string>("k", failing)).toBe("old");
    expect(failing).toHaveBeenCalledTimes(2);
    expect(errors).toMatchObject([
      { key: "k", servedStale: true },
      { key: "k", servedStale: true },
    ]);
    expect(cache.stats().loadErrors).toBe(2);
  });

  it("passes the error on once grace is used up", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "20s" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(30_000);
    await expect(cache.getOrSet("k", () => Promise.reject(new Error("down")))).rejects.toThrow("down");
  });

  it("never brings back what was invalidated", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h" });
    await cache.getOrSet("key", () => "old");
    await cache.getOrSet("tag", () => "old", { tags: ["t"] });
    await clock.advance(11_000);
    await cache.delete("key");
    await cache.invalidateTags(["t"]);
    const down = (): Promise<string> => Promise.reject(new Error("down"));
    await expect(cache.getOrSet("key", down)).rejects.toThrow("down");
    await expect(cache.getOrSet("tag", down)).rejects.toThrow("down");
  });

  it("never brings back what was invalidated while the load that fails was under way", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h" });
    await cache.getOrSet("k", () => "old", { tags: ["t"] });
    await clock.advance(11_000);
    for (const invalidate of [
      () => cache.delete("k"),
      () => cache.invalidateTags(["t"]),
      () => cache.clear(),
    ]) {
      await cache.set("k", "old", { tags: ["t"] });
      await clock.advance(11_000);
      const slow = gate<string>();
      const read = cache.getOrSet("k", slow.load, { tags: ["t"] });
      await settle();
      await invalidate();
      slow.fail(new Error("down"));
      await expect(read).rejects.toThrow("down");
    }
  });
});

describe("timeouts", () => {
  it("soft: serves stale after it, and the load goes on and is stored", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h", timeout: "100ms" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(11_000);
    const slow = gate<string>();
    const read = cache.getOrSet("k", slow.load);
    await clock.advance(99);
    slow.calls satisfies number;
    await clock.advance(1);
    expect(await read).toBe("old");
    slow.open("new");
    await settle();
    expect(await cache.getOrSet("k", slow.load)).toBe("new");
    expect(slow.calls).toBe(1);
  });

  it("soft: without a stale entry waits for the load", async () => {
    const { cache, clock } = testCache({ timeout: "100ms" });
    const slow = gate<string>();
    const read = cache.getOrSet("k", slow.load);
    await clock.advance(10_000);
    slow.open("value");
    expect(await read).toBe("value");
  });

  it("hard: rejects, aborts the load, and frees the key", async () => {
    const { cache, clock } = testCache({ hardTimeout: "1s" });
    let signal: AbortSignal | undefined;
    const read = cache.getOrSet("k", (context) => {
      signal = context.signal;
      return new Promise<string>(() => undefined);
    });
    const rejected = expect(read).rejects.toThrow(TimeoutError);
    await clock.advance(1_000);
    await rejected;
    expect(signal?.aborted).toBe(true);
    expect(await cache.getOrSet("k", () => "next")).toBe("next");
  });

  it("hard: serves the stale entry where grace allows", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h", hardTimeout: "1s" });
    await cache.getOrSet("k", () => "old");
    await clock.advance(11_000);
    const read = cache.getOrSet("k", () => new Promise<string>(() => undefined));
    await clock.advance(1_000);
    expect(await read).toBe("old");
  });

  it("leave no timers behind", async () => {
    const { cache, clock } = testCache({ timeout: "1s", hardTimeout: "2s" });
    await cache.getOrSet("k", async () => 1, { ttl: Number.POSITIVE_INFINITY });
    expect(clock.pending).toBe(0);
  });

  it("a load that never ends does not keep its key for ever", async () => {
    const { cache, clock } = testCache();
    void cache.getOrSet("k", () => new Promise<string>(() => undefined));
    await clock.advance(301_000);
    expect(await cache.getOrSet("k", () => "next")).toBe("next");
  });
});

describe("eager refresh", () => {
  it("at a threshold: serves the fresh entry and refreshes it in the background", async () => {
    const { cache, clock } = testCache({ ttl: "10s", eager: 0.8 });
    const load = vi.fn(() => Promise.resolve(`v${load.mock.calls.length}`));
    expect(await cache.getOrSet("k", load)).toBe("v1");
    await clock.advance(7_999);
    expect(await cache.getOrSet("k", load)).toBe("v1");
    expect(load).toHaveBeenCalledTimes(1);
    await clock.advance(1);
    expect(await cache.getOrSet("k", load)).toBe("v1");
    await settle();
    expect(load).toHaveBeenCalledTimes(2);
    expect(await cache.getOrSet("k", load)).toBe("v2");
    await clock.advance(7_999);
    expect(await cache.getOrSet("k", load)).toBe("v2");
    expect(load).toHaveBeenCalledTimes(2);
  });

  it("that fails keeps the fresh entry and is not repeated at every hit", async () => {
    const { cache, clock } = testCache({ ttl: "100s", eager: 0.5, retryAfter: "10s" });
    await cache.getOrSet("k", () => "v");
    await clock.advance(50_000);
    const failing = vi.fn(() => Promise.reject<string>(new Error("down")));
    for (let i = 0; i < 5; i++) {
      expect(await cache.getOrSet("k", failing)).toBe("v");
      await settle();
    }
    expect(failing).toHaveBeenCalledTimes(1);
    await clock.advance(10_000);
    expect(await cache.getOrSet("k", failing)).toBe("v");
    await settle();
    expect(failing).toHaveBeenCalledTimes(2);
  });

  it("probabilistic (XFetch): earlier for costly loads and unlucky draws", async () => {
    let random = 0.999;
    const { cache, clock } = testCache({ ttl: "100s", eager: "xfetch", random: () => random });
    const slow = gate<string>();
    const first = cache.getOrSet("k", slow.load);
    await clock.advance(5_000); // the load takes 5 s
    slow.open("v1");
    await first;
    await clock.advance(90_000);
    await cache.getOrSet("k", slow.load);
    expect(slow.calls).toBe(1); // 5 s before expiry: 5 s * -ln(0.999) is 5 ms
    random = 0.01; // 5 s * -ln(0.01) is 23 s
    expect(await cache.getOrSet("k", slow.load)).toBe("v1");
    expect(slow.calls).toBe(2);
  });

  it("does not bring back an old value over an invalidation", async () => {
    const { cache, clock } = testCache({ ttl: "10s", eager: 0.5 });
    await cache.getOrSet("k", () => "v1");
    await clock.advance(6_000);
    const slow = gate<string>();
    await cache.getOrSet("k", slow.load);
    expect(slow.calls).toBe(1);
    await cache.delete("k");
    slow.open("v1 again");
    await settle();
    expect(await cache.get("k")).toBeUndefined();
  });
});

describe("the loader's context", () => {
  it("tells of the stale entry, and renews it with notModified", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h" });
    await cache.getOrSet("k", () => ({ etag: "a" }), { tags: ["t"] });
    await clock.advance(12_000);
    const value = await cache.getOrSet<string, { etag: string }>("k", (context) => {
      expect(context.stale).toMatchObject({ value: { etag: "a" }, age: 12_000, tags: ["t"] });
      return context.notModified();
    });
    expect(value).toEqual({ etag: "a" });
    expect(cache.peek("k")).toMatchObject({ state: "fresh", ttl: 10_000, tags: ["t"] });
  });

  it("notModified without a stale entry is an error that says what to do", async () => {
    const { cache } = testCache();
    await expect(cache.getOrSet("k", (context) => context.notModified())).rejects.toThrow("context.stale");
  });

  it("adapts ttl, grace and tags from the value", async () => {
    const { cache, clock } = testCache({ ttl: "1h" });
    await cache.getOrSet(
      "k",
      (context) => {
        context.ttl("5s");
        context.grace("1m");
        context.tags("from-value");
        return 1;
      },
      { tags: ["given"] },
    );
    expect(cache.peek("k")).toMatchObject({ ttl: 5_000, expiresIn: 65_000, tags: ["given", "from-value"] });
    await cache.invalidateTags(["from-value"]);
    expect(await cache.get("k")).toBeUndefined();
    await clock.advance(0);
  });

  it("skips caching, also by a ttl of 0, and works taken apart", async () => {
    const { cache } = testCache();
    expect(await cache.getOrSet("a", ({ skip }) => skip("private"))).toBe("private");
    expect(
      await cache.getOrSet("b", ({ ttl }) => {
        ttl(0);
        return "private";
      }),
    ).toBe("private");
    expect(await cache.has("a")).toBe(false);
    expect(await cache.has("b")).toBe(false);
  });

  it("names the key as it is stored", async () => {
    const { cache } = testCache();
    expect(await cache.getOrSet(["user", 7], ({ key }) => key)).toBe("user:7");
  });

  it("refuses a bad ttl or tag with the option's name", async () => {
    const { cache } = testCache();
    // @ts-expect-error not a duration
    await expect(cache.getOrSet("k", ({ ttl }) => ttl("soon"))).rejects.toThrow('"ttl"');
    await expect(cache.getOrSet("k", ({ tags }) => tags(""))).rejects.toThrow("tags");
  });
});

describe("negative and error caching", () => {
  it("caches that nothing is there for negativeTtl", async () => {
    const { cache, clock } = testCache({ ttl: "1h", negativeTtl: "5s" });
    const load = vi.fn(() => undefined);
    expect(await cache.getOrSet("k", load)).toBeUndefined();
    expect(await cache.getOrSet("k", load)).toBeUndefined();
    expect(load).toHaveBeenCalledTimes(1);
    expect(cache.peek("k")).toMatchObject({ state: "negative", value: undefined });
    await clock.advance(5_000);
    await cache.getOrSet("k", load);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it("a value that vanished at its source does not live on as a stale copy", async () => {
    const { cache, clock } = testCache({ ttl: "10s", grace: "1h" });
    await cache.getOrSet<string, string | undefined>("k", () => "there");
    await clock.advance(11_000);
    expect(await cache.getOrSet("k", () => undefined)).toBeUndefined();
    expect(await cache.get("k", { stale: true })).toBeUndefined();
    await expect(cache.getOrSet("k", () => Promise.reject(new Error("down")))).rejects.toThrow("down");
  });

  it("shares a failed load among its waiters and does not cache it", async () => {
    const { cache } = testCache();
    const failing = gate<string>();
    const reads = [1, 2, 3].map(() => cache.getOrSet("k", failing.load));
    failing.fail(new Error("down"));
    const ended = await Promise.allSettled(reads);
    expect(ended.map((one) => one.status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(failing.calls).toBe(1);
    expect(await cache.getOrSet("k", () => "up")).toBe("up");
  });

  it("a caller that tries again at once after a failure starts a new load", async () => {
    const { cache } = testCache();
    let calls = 0;
    const load = async (): Promise<string> => {
      calls++;
      if (calls === 1) throw new Error("first");
      return "second";
    };
    const value = await cache.getOrSet("k", load).catch(() => cache.getOrSet("k", load));
    expect(value).toBe("second");
  });

  it("caches a failure for errorTtl when asked to", async () => {
    const { cache, clock } = testCache({ errorTtl: "2s" });
    const failing = vi.fn(() => Promise.reject(new Error("down")));
    await expect(cache.getOrSet("k", failing)).rejects.toThrow("down");
    await expect(cache.getOrSet("k", failing)).rejects.toThrow("down");
    expect(failing).toHaveBeenCalledTimes(1);
    expect(await cache.get("k")).toBeUndefined();
    await clock.advance(2_000);
    await expect(cache.getOrSet("k", failing)).rejects.toThrow("down");
    expect(failing).toHaveBeenCalledTimes(2);
  });
});

describe("cancellation", () => {
  it("one caller's abort ends its own wait only", async () => {
    const { cache } = testCache();
    const slow = gate<string>();
    let signal: AbortSignal | undefined;
    const one = new AbortController();
    const first = cache.getOrSet(
      "k",
      (context) => {
        signal = context.signal;
        return slow.load();
      },
      { signal: one.signal },
    );
    const second = cache.getOrSet("k", slow.load);
    one.abort(new Error("gone"));
    await expect(first).rejects.toThrow("gone");
    expect(signal?.aborted).toBe(false);
    slow.open("value");
    expect(await second).toBe("value");
    expect(await cache.get("k")).toBe("value");
  });

  it("aborts the load once the last caller has gone, and the next caller starts a new one", async () => {
    const { cache } = testCache();
    const [one, two] = [new AbortController(), new AbortController()];
    let signal: AbortSignal | undefined;
    const load = (context: { signal: AbortSignal }): Promise<string> => {
      signal = context.signal;
      return new Promise((_, reject) =>
        context.signal.addEventListener("abort", () => reject(context.signal.reason)),
      );
    };
    const reads = [
      cache.getOrSet("k", load, { signal: one.signal }),
      cache.getOrSet("k", load, { signal: two.signal }),
    ];
    const ended = Promise.allSettled(reads);
    one.abort();
    expect(signal?.aborted).toBe(false);
    two.abort();
    expect(signal?.aborted).toBe(true);
    expect((await ended).map((end) => end.status)).toEqual(["rejected", "rejected"]);
    expect(await cache.getOrSet("k", () => "next")).toBe("next");
    expect(cache.stats().loadErrors).toBe(0);
  });

  it("a load that resolves after its abort is not stored", async () => {
    const { cache } = testCache();
    const controller = new AbortController();
    const slow = gate<string>();
    const read = cache.getOrSet("k", slow.load, { signal: controller.signal });
    controller.abort(new Error("gone"));
    await expect(read).rejects.toThrow("gone");
    slow.open("late");
    await settle();
    expect(await cache.get("k")).toBeUndefined();
  });

  it("rejects at once for a signal that is aborted already, without a load", async () => {
    const { cache } = testCache();
    const load = vi.fn();
    await expect(cache.getOrSet("k", load, { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow(
      "no",
    );
    await expect(cache.get("k", { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
    await expect(
      cache.getOrSetMany(["k"], async () => new Map(), { signal: AbortSignal.abort(new Error("no")) }),
    ).rejects.toThrow("no");
    expect(load).not.toHaveBeenCalled();
  });

  it("close aborts loads under way and rejects their callers", async () => {
    const { cache } = testCache();
    const read = cache.getOrSet("k", () => new Promise<string>(() => undefined));
    const rejected = expect(read).rejects.toThrow(ClosedError);
    await cache.close();
    await rejected;
  });
});

describe("per-call choices", () => {
  it("fresh loads whatever is cached, stores the result, and shares a load that has not begun", async () => {
    const { cache } = testCache();
    await cache.set("k", "old");
    expect(await cache.getOrSet("k", () => "new", { fresh: true })).toBe("new");
    expect(await cache.get("k")).toBe("new");
  });

  it("an older load cannot overwrite what a fresh one stored", async () => {
    const { cache } = testCache();
    const slow = gate<string>();
    const first = cache.getOrSet("k", slow.load);
    expect(await cache.getOrSet("k", () => "newer", { fresh: true })).toBe("newer");
    slow.open("older");
    expect(await first).toBe("older");
    expect(await cache.get("k")).toBe("newer");
  });

  it("onlyCached never loads", async () => {
    const { cache } = testCache();
    const load = vi.fn(() => 1);
    expect(await cache.getOrSet("k", load, { onlyCached: true })).toBeUndefined();
    await cache.set("k", 2);
    expect(await cache.getOrSet("k", load, { onlyCached: true })).toBe(2);
    expect(load).not.toHaveBeenCalled();
  });

  it("l1: false leaves memory alone", async () => {
    const { cache } = testCache();
    const load = vi.fn(() => 1);
    await cache.getOrSet("k", load, { l1: false });
    expect(cache.peek("k")).toBeUndefined();
    await cache.getOrSet("k", load, { l1: false });
    expect(load).toHaveBeenCalledTimes(2);
  });

  it("report tells which layer answered", async () => {
    const { cache, clock } = testCache({ ttl: "10s", swr: "10s" });
    const answers: Answer[] = [];
    const report = (answer: Answer): void => void answers.push(answer);
    await cache.getOrSet("k", () => 1, { report });
    await clock.advance(3_000);
    await cache.getOrSet("k", () => 1, { report });
    await clock.advance(10_000);
    await cache.getOrSet("k", () => 1, { report });
    await cache.get("missing", { report });
    expect(answers).toEqual([
      { layer: "loader", state: "miss", age: 0, ttl: 10_000 },
      { layer: "memory", state: "fresh", age: 3_000, ttl: 7_000 },
      { layer: "memory", state: "stale", age: 13_000, ttl: -3_000 },
      { layer: "none", state: "miss", age: 0, ttl: 0 },
    ]);
  });

  it("policies are chosen by name, and an unknown one is refused with the names there are", async () => {
    const { cache } = testCache({
      ttl: "1h",
      policies: { auth: { ttl: "1m", grace: 0 }, catalog: { ttl: "10m", grace: "1d" } },
    });
    await cache.set("a", 1, { policy: "auth" });
    await cache.set("c", 1, { policy: "catalog", ttl: "5m" });
    expect(cache.peek("a")).toMatchObject({ ttl: 60_000, expiresIn: 60_000 });
    expect(cache.peek("c")).toMatchObject({ ttl: 300_000, expiresIn: 300_000 + 86_400_000 });
    await expect(cache.set("x", 1, { policy: "nope" })).rejects.toThrow("auth, catalog");
  });

  it("refuses options that do not exist, so that a typing error is not silent", async () => {
    const { cache } = testCache();
    // @ts-expect-error no such option
    await expect(cache.getOrSet("k", () => 1, { tll: "5m" })).rejects.toThrow('"tll"');
    // @ts-expect-error no such option
    expect(() => testCache({ ttk: 1 })).toThrow(OptionError);
  });
});

describe("single-flight", () => {
  it("10,000 concurrent callers of a cold key make one load and share its value", async () => {
    const { cache } = testCache();
    const slow = gate<object>();
    const reads = Array.from({ length: 10_000 }, () => cache.getOrSet("k", slow.load));
    const value = {};
    slow.open(value);
    expect(new Set(await Promise.all(reads))).toEqual(new Set([value]));
    expect(slow.calls).toBe(1);
    expect(cache.stats()).toMatchObject({ loads: 1, joined: 9_999 });
  });

  it("joiners unite their tags, and the shortest ttl wins", async () => {
    const { cache } = testCache();
    const slow = gate<number>();
    const reads = [
      cache.getOrSet("k", slow.load, { ttl: "1h", tags: ["a"] }),
      cache.getOrSet("k", slow.load, { ttl: "1m", tags: ["b"] }),
      cache.getOrSet("k", slow.load, { ttl: "2h", tags: ["a", "c"] }),
    ];
    slow.open(1);
    await Promise.all(reads);
    expect(cache.peek("k")).toMatchObject({ ttl: 60_000, tags: ["a", "b", "c"] });
  });

  it("callers who come after an invalidation start a new load and never join the old", async () => {
    const { cache } = testCache();
    const old = gate<string>();
    const first = cache.getOrSet("k", old.load);
    await cache.delete("k");
    const second = cache.getOrSet("k", () => "new");
    expect(await second).toBe("new");
    old.open("old");
    expect(await first).toBe("old");
    expect(await cache.get("k")).toBe("new");
  });

  it("callers who come after an invalidation of a tag that only the loader knows do not get the old value", async () => {
    const { cache } = testCache();
    const slow = gate<string>();
    const first = cache.getOrSet("k", async (context) => {
      const value = await slow.load();
      context.tags("found");
      return value;
    });
    await cache.invalidateTags(["found"]);
    const second = cache.getOrSet("k", () => "new");
    slow.open("old");
    expect(await first).toBe("old");
    expect(await second).toBe("new");
    expect(await cache.get("k")).toBe("new");
    expect(cache.stats().refused).toBe(1);
  });

  it.each([
    ["a key", "delete"],
    ["a tag", "tag"],
    ["a prefix", "prefix"],
    ["a glob", "glob"],
    ["everything", "clear"],
    ["a write", "set"],
  ])("a value loaded before an invalidation by %s is not stored after it", async (_what, how) => {
    const { cache } = testCache();
    const slow = gate<string>();
    const read = cache.getOrSet("user:1:name", slow.load, { tags: ["users"] });
    if (how === "delete") await cache.delete("user:1:name");
    if (how === "tag") await cache.invalidateTags(["users"]);
    if (how === "prefix") await cache.invalidatePattern("user:*");
    if (how === "glob") await cache.invalidatePattern("user:*:name");
    if (how === "clear") await cache.clear();
    if (how === "set") await cache.set("user:1:name", "written");
    slow.open("old");
    expect(await read).toBe("old");
    expect(await cache.get("user:1:name")).toBe(how === "set" ? "written" : undefined);
    expect(cache.stats().refused).toBe(1);
  });
});

describe("bounds", () => {
  it("by entries", async () => {
    const { cache } = testCache({ layers: [memory({ maxEntries: 10 })] });
    const evicted: string[] = [];
    cache.on("evict", ({ key, cause }) => evicted.push(`${key} ${cause}`));
    for (let i = 0; i < 15; i++) await cache.set(`k${i}`, i);
    expect(cache.stats().layers.memory?.entries).toBe(10);
    expect(evicted).toEqual(["k0", "k1", "k2", "k3", "k4"].map((key) => `${key} capacity`));
    expect(cache.stats().evictions).toBe(5);
  });

  it("by bytes, and a value larger than the bound is simply not kept", async () => {
    const { cache } = testCache({ layers: [memory({ maxBytes: "64kb" })] });
    for (let i = 0; i < 100; i++) await cache.set(`k${i}`, "x".repeat(4_000));
    expect(cache.stats().layers.memory?.bytes).toBeLessThanOrEqual(65_536);
    expect(cache.stats().layers.memory?.entries).toBeGreaterThan(10);
    expect(await cache.getOrSet("huge", () => "y".repeat(100_000))).toHaveLength(100_000);
    expect(cache.peek("huge")).toBeUndefined();
  });
});
