import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { SchemaError } from "../../src/base/errors.ts";
import { validate } from "../../src/base/standard-schema.ts";

const user = z.object({ name: z.string().trim(), roles: z.array(z.string()) });

describe("validate()", () => {
  it("answers at once with what the schema makes of the value, when the library does", () => {
    expect(validate(user, { name: " Ada ", roles: [] }, "user:1")).toEqual({ name: "Ada", roles: [] });
  });

  it("throws a SchemaError that names the key and each place", () => {
    const failing = () => validate(user, { name: 1, roles: ["a", 2] }, "user:1");
    expect(failing).toThrow(SchemaError);
    try {
      failing();
    } catch (error) {
      expect((error as SchemaError).issues.map((issue) => issue.path)).toEqual(["name", "roles.1"]);
      expect((error as SchemaError).message).toContain('"user:1"');
    }
  });

  it("answers with a promise when the library does", async () => {
    const later = z.string().refine(async (text) => text !== "taken");
    const answer = validate(later, "free", "name");
    expect(answer).toBeInstanceOf(Promise);
    expect(await answer).toBe("free");
    await expect(validate(later, "taken", "name")).rejects.toThrow(SchemaError);
  });

  it("reads paths of segments, and issues without a path", () => {
    const schema: StandardSchemaV1<unknown, never> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: () => ({
          issues: [{ message: "no", path: [{ key: "a" }, 0, Symbol("b")] }, { message: "bad" }],
        }),
      },
    };
    expect(() => validate(schema, 1, "k")).toThrow("a.0.Symbol(b): no; (root): bad");
  });
});
