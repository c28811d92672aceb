import { OptionError } from "./errors.ts";

/** A length of time: milliseconds, or a number and a unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, `"1.5h"`. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/;

/** Texts seen before: programs use a few, on every call. */
const parsed = new Map<string, number>();
const MAX_PARSED = 1_000;

/**
 * Turns a duration into milliseconds.
 * @param path the option's name, for the error.
 * @throws {OptionError} when it is not a duration, or negative, or NaN.
 */
export function milliseconds(value: unknown, path: string): number {
  if (typeof value === "number" && value >= 0) return value;
  if (typeof value === "string") {
    const known = parsed.get(value);
    if (known !== undefined) return known;
    const match = PATTERN.exec(value.trim());
    const unit = UNITS[match?.[2] ?? ""];
    if (match !== null && unit !== undefined) {
      const ms = Number(match[1]) * unit;
      if (parsed.size < MAX_PARSED) parsed.set(value, ms);
      return ms;
    }
  }
  throw new OptionError(
    path,
    value,
    'a duration such as "5m", or milliseconds (0 or more; Infinity for never)',
  );
}

/** `milliseconds`, but a number below 1000 that is not 0 calls `suspect` first: seconds were probably meant. */
export function lifetime(value: unknown, path: string, suspect: (path: string, ms: number) => void): number {
  const ms = milliseconds(value, path);
  if (typeof value === "number" && ms > 0 && ms < 1_000) suspect(path, ms);
  return ms;
}
