import { OptionError } from "./errors.ts";

/** A number of bytes: a whole number, or `"64kb"`, `"64mb"`, `"2gb"` (powers of 1024). */
export type Size = number | `${number}${"b" | "kb" | "mb" | "gb"}`;

const UNITS: Record<string, number> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };
const PATTERN = /^(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)$/i;

/**
 * Turns a size into bytes.
 * @param path the option's name, for the error.
 * @throws {OptionError} when it is not a positive size.
 */
export function bytes(value: unknown, path: string): number {
  if (typeof value === "number" && value > 0) return Math.ceil(value);
  if (typeof value === "string") {
    const match = PATTERN.exec(value.trim());
    const unit = UNITS[match?.[2]?.toLowerCase() ?? ""];
    const size = match !== null && unit !== undefined ? Math.ceil(Number(match[1]) * unit) : 0;
    if (size > 0) return size;
  }
  throw new OptionError(path, value, 'a size such as "64mb", or a positive number of bytes');
}
