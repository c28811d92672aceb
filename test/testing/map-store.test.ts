import { describe, it } from "vitest";
import { mapStore, storeContract } from "../../src/testing/index.ts";

storeContract({ describe, it }, "map", () => mapStore());
