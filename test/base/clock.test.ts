import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/base/clock.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** The machine's two clocks, moved by the test. */
function machine() {
  const at = { mono: 1_000, wall: 1_700_000_000_000 };
  vi.spyOn(performance, "now").mockImplementation(() => at.mono);
  vi.spyOn(Date, "now").mockImplementation(() => at.wall);
  return at;
}

describe("the machine's clock", () => {
  it("goes by the monotonic clock; small and backward steps of the wall clock do not matter", () => {
    const at = machine();
    const clock = systemClock();
    expect(clock.now()).toBe(1_000);
    at.mono += 500;
    at.wall -= 3_600_000;
    expect(clock.now()).toBe(1_500);
    at.mono += 5_000;
    at.wall += 5_900;
    expect(clock.now()).toBe(6_500);
    expect(clock.wall()).toBe(at.wall);
  });

  it("counts the time that a suspended machine slept through", () => {
    const at = machine();
    const clock = systemClock();
    at.mono += 2_000;
    at.wall += 2_000 + 3_600_000;
    expect(clock.now()).toBe(3_000 + 3_600_000);
    at.mono += 2_000;
    at.wall += 2_000;
    expect(clock.now()).toBe(5_000 + 3_600_000);
  });

  it("gives a recent reading to 64 uses, and a new one in the next turn of the event loop", async () => {
    const at = machine();
    const clock = systemClock();
    const recent = clock.recent ?? clock.now;
    expect(recent()).toBe(1_000);
    at.mono = 2_000;
    for (let i = 0; i < 63; i++) expect(recent()).toBe(1_000);
    expect(recent()).toBe(2_000);
    at.mono = 3_000;
    expect(recent()).toBe(2_000);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(recent()).toBe(3_000);
  });

  it("fires timers of any length at their time, and cancels them", () => {
    vi.useFakeTimers();
    const clock = systemClock();
    const fired: string[] = [];
    const sixty = 60 * 86_400_000;
    clock.setTimer(sixty, () => fired.push("long"));
    clock.setTimer(-5, () => fired.push("now"));
    const cancelled = clock.setTimer(sixty, () => fired.push("never"));
    vi.advanceTimersByTime(0);
    expect(fired).toEqual(["now"]);
    vi.advanceTimersByTime(2 ** 31);
    cancelled.cancel();
    vi.advanceTimersByTime(sixty - 2 ** 31 - 1);
    expect(fired).toEqual(["now"]);
    vi.advanceTimersByTime(1);
    expect(fired).toEqual(["now", "long"]);
  });

  it("keeps the process alive only for timers that a caller waits for", () => {
    const held = vi.spyOn(globalThis, "setTimeout");
    const clock = systemClock();
    const free = clock.setTimer(10_000, () => undefined);
    const holding = clock.setTimer(10_000, () => undefined, true);
    const handles = held.mock.results.map((result) => result.value as NodeJS.Timeout);
    expect(handles.map((handle) => handle.hasRef())).toEqual([false, true]);
    free.cancel();
    holding.cancel();
  });
});
