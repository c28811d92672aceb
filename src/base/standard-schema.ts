import type { StandardSchemaV1 } from "@standard-schema/spec";
import { SchemaError } from "./errors.ts";

/**
 * Checks a value by any Standard Schema library (Zod, Valibot, ArkType, ...) and returns what the schema makes of it.
 * @throws {SchemaError} naming each place that does not match.
 */
export async function validate<T>(schema: StandardSchemaV1<unknown, T>, value: unknown, key: string): Promise<T> {
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  throw new SchemaError(
    key,
    result.issues.map((issue) => ({ message: issue.message, path: pathOf(issue.path ?? []) })),
  );
}

function pathOf(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  return path.map((part) => String(typeof part === "object" ? part.key : part)).join(".");
}
