import fc from "fast-check";
import { afterAll, describe, it } from "vitest";
import { MUTANTS, type Mutant } from "./mutants.ts";
import { copyWithout, removeCopies } from "./mutate.ts";
import { type Mix, type Schedule, schedules } from "./simulate.ts";

/** Schedules tried when the one on record does not show the mutant any more. */
const TRIES = Number(process.env.SIM_TRIES ?? 1_500);
/** Seed of these. */
const SEED = 1;

afterAll(removeCopies);

type Assert = (schedule: Schedule) => Promise<void>;

/** The seed and the run that a mix of schedules shows the mutant with; undefined: none. */
async function kill(
  assertHolds: Assert,
  mix: Mix,
  seed: number,
  path: string | undefined,
): Promise<string | undefined> {
  const result = await fc.check(fc.asyncProperty(schedules(mix), assertHolds), {
    seed,
    numRuns: path === undefined ? TRIES : 1,
    endOnFailure: true,
    ...(path === undefined ? {} : { path }),
  });
  return result.failed ? (result.counterexamplePath ?? "") : undefined;
}

async function isKilled(mutant: Mutant, assertHolds: Assert): Promise<boolean> {
  const { killedBy, mix } = mutant;
  if (killedBy !== undefined) {
    const again = await kill(assertHolds, killedBy.mix, killedBy.seed, killedBy.path);
    if (again !== undefined) return true;
  }
  const path = await kill(assertHolds, mix, SEED, undefined);
  if (path === undefined) return false;
  if (process.env.SIM_SHOW_KILLS !== undefined) console.log(`${mutant.name}: [${SEED}, "${path}"]`);
  return true;
}

describe("the simulator notices that", () => {
  it.each(MUTANTS.map((mutant, i) => [mutant.name, mutant, i] as const))(
    "%s",
    async (name, mutant, number) => {
      const copy = copyWithout(mutant, number);
      try {
        const { assertHolds } = (await import(/* @vite-ignore */ copy.url)) as { assertHolds: Assert };
        if (!(await isKilled(mutant, assertHolds)))
          throw new Error(`${name}: ${TRIES} schedules did not show it`);
      } finally {
        copy.remove();
      }
    },
    120_000,
  );
});
