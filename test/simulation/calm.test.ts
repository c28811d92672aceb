import { describe, it } from "vitest";
import { checkSchedules } from "./check.ts";

describe("processes over a shared store and log, in good weather", () => {
  it(
    "keep P1 to P8 whatever the order of what they do",
    () => checkSchedules({ apart: false, faults: false }, 3_500),
    400_000,
  );
});
