import { describe, expect, it } from "vitest";
import { faulty, manualClock, mapStore, staleReads, storedEntry } from "../../src/testing/index.ts";

describe("the manual clock", () => {
  it("fires timers in their order and lets promise jobs run in between", async () => {
    const clock = manualClock(0);
    const seen: string[] = [];
    clock.setTimer(20, () => seen.push(`b at ${clock.now()}`));
    clock.setTimer(10, () => {
      seen.push(`a at ${clock.now()}`);
      void Promise.resolve().then(() => clock.setTimer(5, () => seen.push(`c at ${clock.now()}`)));
    });
    clock.setTimer(10, () => seen.push("a2")).cancel();
    expect(clock.pending).toBe(2);
    await clock.advance(30);
    expect(seen).toEqual(["a at 10", "c at 15", "b at 20"]);
    const wall = clock.wall();
    clock.step(-500);
    expect(clock.wall()).toBe(wall - 500);
    expect(clock.now()).toBe(30);
  });
});

describe("faults", () => {
  it("delay, fail, hang and heal, count calls, and close what they wrap", async () => {
    const clock = manualClock();
    const faults = faulty(mapStore());
    const store = faults.layer.open({
      cacheName: "t",
      maxLag: 5_000,
      clock,
      random: Math.random,
      warn: () => undefined,
    });
    await store.write([["k", storedEntry({ ttl: Number.POSITIVE_INFINITY })]]);
    faults.delay(100);
    let answered = false;
    const read = store.read(["k"]).then(() => (answered = true));
    await clock.advance(99);
    expect(answered).toBe(false);
    await clock.advance(1);
    await read;
    faults.fail();
    await expect(store.read(["k"])).rejects.toThrow("injected");
    await expect(store.keys("")[Symbol.asyncIterator]().next()).rejects.toThrow("injected");
    faults.hang();
    void store.read(["k"]).then(() => (answered = false));
    await clock.advance(1_000_000);
    expect(answered).toBe(true);
    faults.heal();
    expect((await store.read(["k"]))[0]?.found).toBeDefined();
    expect(faults.calls).toMatchObject({ write: 1, read: 4, keys: 1 });
    await store.close();
    await expect(store.read(["k"])).rejects.toThrow("closed");
  });
});

describe("stale reads", () => {
  it("are those that answer with less than was promised before they began", async () => {
    const checker = staleReads();
    checker.resolved("k", 2);
    checker.resolved("k", 1);
    await checker.read("k", async () => 2);
    await checker.read("k", async () => undefined);
    await checker.read("other", async () => 0);
    await checker.read("k", async () => {
      checker.resolved("k", 3);
      return 2; // promised only after this read began
    });
    expect(checker.reads).toBe(4);
    checker.assertNone();
    await checker.read("k", async () => 2);
    expect(checker.stale).toEqual(["k: read 2, promised 3"]);
    expect(() => checker.assertNone()).toThrow("1 of 5");
  });
});
