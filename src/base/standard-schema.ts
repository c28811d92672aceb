import type { StandardSchemaV1 } from "@standard-schema/spec";
import { SchemaError } from "./errors.ts";

/**
 * Checks a value by any Standard Schema library (Zod, Valibot, ArkType, ...) and returns what the schema
 * makes of it; a promise of it only when the library answers with one.
 * @throws {SchemaError} naming each place that does not match.
 */
export function validate<T>(
  schema: StandardSchemaV1<unknown, T>,
  value: unknown,
  key: string,
): T | Promise<T> {
  const result = schema["~standard"].validate(value);
  return "then" in result ? result.then((settled) => outcome(settled, key)) : outcome(result, key);
}

function outcome<T>(result: StandardSchemaV1.Result<T>, key: string): T {
  if (result.issues === undefined) return result.value;
  throw new SchemaError(
    key,
    result.issues.map((issue) => ({ message: issue.message, path: pathOf(issue.path ?? []) })),
  );
}

function pathOf(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  return path.map((part) => String(typeof part === "object" ? part.key : part)).join(".");
}
