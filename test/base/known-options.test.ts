import { describe, expect, it } from "vitest";
import { OptionError } from "../../src/base/errors.ts";
import { refuseUnknown } from "../../src/base/known-options.ts";

const known = (name: string): boolean => name === "ttl" || name === "tags";
const refusal = (given: unknown, path: string): unknown => {
  try {
    refuseUnknown(given as object, path, known); // JavaScript gives anything
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("refuseUnknown()", () => {
  it("lets options through that are known, whatever their value", () => {
    expect(refusal({}, "")).toBeUndefined();
    expect(refusal({ ttl: undefined, tags: [] }, "policies.auth")).toBeUndefined();
  });

  it.each([
    ["", "tll"],
    ["policies.auth", "policies.auth.tll"],
  ])("names a typing error by its whole path (in %o: %s)", (path, whole) => {
    const error = refusal({ ttl: 1, tll: "5m" }, path);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ path: whole, message: expect.stringContaining('is "5m"') });
  });

  it.each([
    ["", "options"],
    ["memory", "memory"],
  ])("refuses what is not an object (in %o)", (path, named) => {
    for (const given of ["5m", 5, null, undefined]) {
      const error = refusal(given, path);
      expect(error).toBeInstanceOf(OptionError);
      expect(error).toMatchObject({ path: named });
    }
  });
});
