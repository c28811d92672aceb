import fc from "fast-check";
import { afterAll, describe, it } from "vitest";
import { MUTANTS, type Mutant } from "./mutants.ts";
import { copyWithout, removeCopies } from "./mutate.ts";
import { type Mix, type Schedule, schedules } from "./simulate.ts";

/** Schedules tried when the one on record does not show the mutant any more. */
const TRIES = Number(process.env.SIM_TRIES ?? 3_000);
/** Seed of these. */
const SEED = 1;

afterAll(removeCopies);

type Assert = (schedule: Schedule) => Promise<void>;

/** Which run of the mix shows the mutant; undefined: none. */
async function kill(assertHolds: Assert, mix: Mix, path: string | undefined): Promise<string | undefined> {
  const result = await fc.check(fc.asyncProperty(schedules(mix), assertHolds), {
    seed: SEED,
    numRuns: path === undefined ? TRIES : 1,
    endOnFailure: true,
    ...(path === undefined ? {} : { path }),
  });
  return result.failed ? (result.counterexamplePath ?? "") : undefined;
}

async function isKilled({ name, killedBy, mix }: Mutant, assertHolds: Assert): Promise<boolean> {
  if (killedBy !== undefined && (await kill(assertHolds, mix, killedBy)) !== undefined) return true;
  const path = await kill(assertHolds, mix, undefined);
  if (path !== undefined && process.env.SIM_SHOW_KILLS !== undefined)
    console.log(`${name}: [${SEED}, "${path}"]`);
  return path !== undefined;
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
