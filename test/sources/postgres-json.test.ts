import { describe, expect, it } from "vitest";
import { rowJson } from "../../src/sources/postgres-json.ts";
import { quotedTable } from "../../src/sources/postgres-names.ts";

describe("rows as JSON for PostgreSQL", () => {
  it("write what has no JSON as null, and let objects that know how write themselves", () => {
    const json = (value: unknown) => JSON.parse(rowJson({ value }, new Set())).value;
    expect(json(undefined)).toBeUndefined(); // not a column of the row
    expect(json(() => 1)).toBeNull();
    expect(json(Symbol("s"))).toBeNull();
    expect(json({ toPostgres: () => "1 day" })).toBe("1 day");
    expect(json({ toPostgres: () => 7 })).toEqual({});
    expect(json({ toPostgres: "no function" })).toEqual({ toPostgres: "no function" });
    expect(json(Number.NaN)).toBe("NaN");
    expect(json([1, undefined, { a: 2 }])).toEqual([1, null, { a: 2 }]);
    expect(rowJson({ value: 12345678901234567890n }, new Set())).toContain("12345678901234567890");
    expect(rowJson({ value: { deep: 12345678901234567890n } }, new Set())).toContain("12345678901234567890");
  });

  it("go to tables whose names are quoted, and to nothing else", () => {
    expect(quotedTable('shop."odd.name"', "table")).toBe('"shop"."odd.name"');
    expect(quotedTable('"a""b"', "table")).toBe('"a""b"');
    for (const bad of [7, "a.b.c", "", "a\0b", "a..b"])
      expect(() => quotedTable(bad, "table")).toThrow("table");
  });
});
