import { describe, it } from "vitest";
import { checkSchedules } from "./check.ts";

describe("processes over a store and a log on servers of their own, each of which fails by itself", () => {
  it(
    "keep P1 to P8 whatever befalls them",
    () => checkSchedules({ apart: true, faults: true }, 3_000),
    400_000,
  );
});
