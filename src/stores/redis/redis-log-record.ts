import { type ActivePattern, isPattern, type LogRecord, type Position } from "../../coherence/log.ts";

/**
 * What takes the place of a record that cannot be understood, such as one of a newer version: nothing known
 * before it is believed any more. It is acknowledged at once, since its writer may wait for that.
 */
export const EVERYTHING: LogRecord = { kind: "prefix", prefix: "", strict: true };

/** A record as the server kept it. */
export function parseRecord(text: string): LogRecord {
  try {
    const record: unknown = JSON.parse(text);
    return isRecord(record) ? record : EVERYTHING;
  } catch {
    return EVERYTHING;
  }
}

/** An entry of the table of patterns; what cannot be understood concerns everything before it. */
export function parsePattern(position: Position, text: string): ActivePattern {
  const record = parseRecord(text);
  return isPattern(record) ? { position, record } : { position, record: { kind: "prefix", prefix: "" } };
}

/** Whether two patterns concern the same entries. */
export function isSamePattern(a: LogRecord, b: LogRecord): boolean {
  return subjectOf(a) === subjectOf(b);
}

function subjectOf(record: LogRecord): string {
  switch (record.kind) {
    case "prefix":
      return JSON.stringify(["prefix", record.prefix, record.soft === true]);
    case "glob":
      return JSON.stringify(["glob", record.glob, record.soft === true]);
    case "keys":
      return JSON.stringify(["keys", record.keys, record.soft === true]);
    default:
      return record.kind;
  }
}

function isRecord(value: unknown): value is LogRecord {
  if (typeof value !== "object" || value === null || !("kind" in value)) return false;
  const field = (name: string): unknown => Reflect.get(value, name);
  if (!isFlag(field("soft")) || !isFlag(field("strict"))) return false;
  switch (value.kind) {
    case "keys":
      return isTexts(field("keys")) && isFlag(field("pending")) && isPlace(field("written"));
    case "ended":
      return isTexts(field("keys"));
    case "tags":
      return isTexts(field("tags"));
    case "prefix":
      return typeof field("prefix") === "string";
    case "glob":
      return typeof field("glob") === "string";
    case "clear":
      return typeof field("generation") === "string";
    default:
      return false;
  }
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function isFlag(value: unknown): boolean {
  return value === undefined || typeof value === "boolean";
}

function isPlace(value: unknown): boolean {
  return value === undefined || typeof value === "number";
}
