import { createHash } from "node:crypto";
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";

const known = new WeakMap<StandardSchemaV1, string>();

/**
 * A text that changes when what a schema accepts changes: made of its JSON Schema, where the library gives one
 * (Standard JSON Schema). "" where it does not; then only validation tells old values from new ones.
 */
export function schemaFingerprint(schema: StandardSchemaV1): string {
  let text = known.get(schema);
  if (text === undefined) {
    text = describe(schema);
    known.set(schema, text);
  }
  return text;
}

/** 32 bits of a text, never 0: 0 stands for "no shape". */
export function shapeOf(text: string): number {
  if (text === "") return 0;
  return createHash("sha256").update(text).digest().readUInt32BE(0) || 1;
}

function describe(schema: StandardSchemaV1): string {
  // The standard's own way to tell: the property is there or not.
  const props = schema["~standard"] as StandardSchemaV1.Props & Partial<StandardJSONSchemaV1.Props>;
  try {
    const json = props.jsonSchema?.output({ target: "draft-2020-12" });
    return json === undefined ? "" : createHash("sha256").update(JSON.stringify(json)).digest("base64url");
  } catch {
    return ""; // something in it has no JSON Schema (a transformation, a custom check)
  }
}
