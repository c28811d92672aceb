import fc from "fast-check";
import { expect } from "vitest";
import { assertHolds, type Mix, type Schedule, schedules, simulate } from "./simulate.ts";

/** Schedules of one mix in an ordinary run; `SIM_RUNS` multiplies them. */
const TIMES = Number(process.env.SIM_RUNS ?? 1);
/** The seed of all schedules: always the same in an ordinary run, which must not fail now and then. `random` tries others. */
const SEED =
  process.env.SIM_SEED === "random" ? Date.now() % 2 ** 31 : Number(process.env.SIM_SEED ?? 20_261_124);

/** Runs schedules of a mix; a failure is shrunk, and told with all that replays it. */
export async function checkSchedules(mix: Mix, runs: number): Promise<void> {
  const path = process.env.SIM_PATH;
  const result = await fc.check(fc.asyncProperty(schedules(mix), assertHolds), {
    numRuns: Math.ceil(runs * TIMES),
    seed: SEED,
    ...(path === undefined ? {} : { path }),
    interruptAfterTimeLimit: 90_000 * Math.max(1, TIMES),
    markInterruptAsFailure: false,
  });
  if (!result.failed) {
    expect(result.numRuns).toBeGreaterThan(0);
    return;
  }
  const [schedule] = result.counterexample ?? [];
  throw new Error(
    await story(schedule, `SIM_SEED=${result.seed} SIM_PATH=${result.counterexamplePath ?? ""}`),
  );
}

async function story(schedule: Schedule | undefined, replay: string): Promise<string> {
  if (schedule === undefined) return replay;
  const { violations, trace } = await simulate(schedule, true);
  return [
    ...violations,
    "",
    `replay: ${replay} vitest run test/simulation`,
    JSON.stringify(schedule),
    "",
    ...trace,
  ].join("\n");
}
