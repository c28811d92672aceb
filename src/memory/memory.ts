import type { Clock } from "../base/clock.ts";
import { OptionError } from "../base/errors.ts";
import { refuseUnknown } from "../base/known-options.ts";
import { bytes, type Size } from "../base/size.ts";
import type { EvictionCause, Held, MemoryEngine } from "./engine.ts";
import { lruEngine } from "./lru-engine.ts";

/** Options of {@link memory}. */
export interface MemoryOptions {
  /** Most entries kept [no bound besides `maxBytes`]. */
  readonly maxEntries?: number | undefined;
  /** Most bytes kept, by an estimate of what values take in memory [`"64mb"`]. */
  readonly maxBytes?: Size | undefined;
}

/** L1 as it is given to `createCache({ layers })`. */
export interface MemoryLayer {
  readonly kind: "memory";
  readonly name: "memory";
  readonly maxEntries: number;
  readonly maxBytes: number;
  /** Makes the engine of one cache. */
  open<E extends Held>(
    clock: Clock,
    onEvict: (key: string, entry: E, cause: EvictionCause) => void,
  ): MemoryEngine<E>;
}

/**
 * L1: entries in the memory of this process, read in about a microsecond, bounded by bytes and, when
 * asked, by entries; the least recently used leave first.
 * @throws {OptionError} for a bound that is not positive.
 * @example createCache({ layers: [memory({ maxBytes: "256mb" })] })
 */
export function memory(options: MemoryOptions = {}): MemoryLayer {
  refuseUnknown(options, "memory", (name) => name === "maxEntries" || name === "maxBytes");
  const maxEntries = options.maxEntries ?? Number.POSITIVE_INFINITY;
  if (!(maxEntries === Number.POSITIVE_INFINITY || (Number.isInteger(maxEntries) && maxEntries > 0)))
    throw new OptionError("memory.maxEntries", options.maxEntries, "a whole number above 0");
  const maxBytes =
    options.maxBytes === Number.POSITIVE_INFINITY
      ? Number.POSITIVE_INFINITY
      : bytes(options.maxBytes ?? "64mb", "memory.maxBytes");
  return {
    kind: "memory",
    name: "memory",
    maxEntries,
    maxBytes,
    open: (clock, onEvict) => lruEngine({ maxEntries, maxBytes, clock, onEvict }),
  };
}
