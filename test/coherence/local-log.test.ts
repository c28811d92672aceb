import { describe, it } from "vitest";
import { localLog } from "../../src/index.ts";
import { logContract } from "../../src/testing/index.ts";

logContract({ describe, it }, "local", () => localLog());
