import { createHash } from "node:crypto";
import type { ActivePattern } from "../log.ts";

/** Everything but printable ASCII: what some encoding of a database cannot hold. */
const UNUSUAL = /[^\x20-\x7e]/g;
/** Longest text kept whole: an index takes no longer ones than about 2,700 bytes. */
const LONGEST = 1_000;
/** How much of a longer one is kept, so that people recognise it. */
const SHOWN = 900;

/**
 * JSON in printable ASCII: databases of every encoding hold it, and there are no NUL characters or halves of
 * surrogate pairs, which no `text` holds.
 */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNUSUAL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A tag or a cache's name as a key of a table: two of them never become the same text. */
export function keyText(text: string): string {
  const whole = asciiJson(text).slice(1, -1);
  if (whole.length <= LONGEST) return whole;
  // JSON never writes `\#`: no short text can look like this.
  return `${whole.slice(0, SHOWN)}\\#${createHash("sha256").update(whole).digest("hex")}`;
}

/** A pattern in one form, whatever order its properties have. */
export function patternText(record: ActivePattern["record"]): string {
  const entries = Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  return asciiJson(Object.fromEntries(entries));
}
