import { describe, expect, it } from "vitest";
import { Circuit } from "../../src/cache/circuit.ts";
import { manualClock } from "../../src/testing/index.ts";

function circuit(probe: () => Promise<void>) {
  const clock = manualClock();
  const states: string[] = [];
  const one = new Circuit(
    clock,
    () => 1,
    probe,
    (state) => states.push(state),
  );
  return { clock, states, one };
}

const fail = (one: Circuit): void => {
  for (let i = 0; i < 5; i++) one.failed();
};

describe("a circuit", () => {
  it("probes with growing pauses of at most 1.5 s until the layer answers", async () => {
    let answers = false;
    let probes = 0;
    const { clock, states, one } = circuit(async () => {
      probes++;
      if (!answers) throw new Error("away");
    });
    fail(one);
    expect([one.admits(), one.state]).toEqual([false, "down"]);
    one.succeeded(); // of a call that began before
    expect(one.admits()).toBe(false);
    await clock.advance(10_000);
    expect(probes).toBe(7); // after 0.5, 1.5, 3, 4.5, 6, 7.5 and 9 s
    answers = true;
    await clock.advance(1_500);
    expect(one.admits()).toBe(true);
    expect(states.at(-1)).toBe("up");
  });

  it("does nothing more once closed: before a probe, and during one", async () => {
    let probes = 0;
    const gate = Promise.withResolvers<void>();
    const { clock, one, states } = circuit(() => {
      probes++;
      return gate.promise;
    });
    fail(one);
    await clock.advance(500);
    expect(probes).toBe(1);
    one.close();
    gate.reject(new Error("away"));
    await clock.advance(10_000);
    expect([probes, states]).toEqual([1, ["down", "probing"]]);

    const early = circuit(async () => undefined);
    fail(early.one);
    early.one.close();
    await early.clock.advance(10_000);
    expect(early.states).toEqual(["down"]);
  });
});
