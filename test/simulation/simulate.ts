import type { Schedule } from "./schedule.ts";
import { Violation, World } from "./world.ts";

export { type Mix, type Schedule, schedules } from "./schedule.ts";

/** What a run showed. */
export interface Result {
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  readonly events: number;
}

/** Runs a schedule. */
export async function simulate(schedule: Schedule, traces = false): Promise<Result> {
  const rejected: string[] = [];
  const onRejection = (error: unknown): void => {
    rejected.push(`unhandled rejection: ${String(error)}`);
  };
  process.on("unhandledRejection", onRejection);
  try {
    const world = new World(schedule, traces);
    await world.run(schedule.steps);
    return {
      violations: [...world.violations, ...rejected],
      trace: world.trace ?? [],
      events: world.scheduler.ran,
    };
  } finally {
    process.off("unhandledRejection", onRejection);
  }
}

/** @throws {Violation} when a promise was broken. */
export async function assertHolds(schedule: Schedule): Promise<void> {
  const { violations } = await simulate(schedule);
  if (violations.length > 0) throw new Violation(violations.join("\n"));
}
