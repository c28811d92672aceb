import { describe, it } from "vitest";
import { checkSchedules } from "./check.ts";

describe("processes over one server that fails, falls back and is cut off", () => {
  it(
    "keep P1 to P8 whatever befalls them",
    () => checkSchedules({ apart: false, faults: true }, 4_000),
    400_000,
  );
});
