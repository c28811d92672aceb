import { lifetime, milliseconds } from "../base/duration.ts";
import { OptionError, show } from "../base/errors.ts";

export { refuseUnknown } from "../base/known-options.ts";

import type { EntryOptions } from "./options.ts";

/** Entry options with every default filled in, in milliseconds. */
export interface LifetimeOptions {
  readonly ttl: number;
  readonly jitter: number;
  readonly sliding: boolean;
  readonly grace: number;
  readonly swr: number;
  readonly retryAfter: number;
  /** Infinity: none. */
  readonly timeout: number;
  /** Infinity: none. */
  readonly hardTimeout: number;
  /** Fraction of the ttl; 0: off. */
  readonly eagerAt: number;
  /** Beta of XFetch; 0: off. */
  readonly eagerBeta: number;
  /** 0: not cached. */
  readonly negativeTtl: number;
  /** 0: not cached. */
  readonly errorTtl: number;
  /** Share of hits compared with the source. */
  readonly shadow: number;
  readonly tags: readonly string[];
  readonly l1: boolean;
  readonly l2: boolean;
}

export const NO_TAGS: readonly string[] = Object.freeze([]);

/** What holds when nothing is said. */
export const DEFAULTS: LifetimeOptions = Object.freeze({
  ttl: Number.POSITIVE_INFINITY,
  jitter: 0,
  sliding: false,
  grace: 0,
  swr: 0,
  retryAfter: 10_000,
  timeout: Number.POSITIVE_INFINITY,
  hardTimeout: Number.POSITIVE_INFINITY,
  eagerAt: 0,
  eagerBeta: 0,
  negativeTtl: 0,
  errorTtl: 0,
  shadow: 0,
  tags: NO_TAGS,
  l1: true,
  l2: true,
});

const ENTRY_OPTIONS = new Set<string>([
  ...[
    "ttl",
    "jitter",
    "sliding",
    "grace",
    "swr",
    "retryAfter",
    "timeout",
    "hardTimeout",
    "eager",
    "negativeTtl",
  ],
  ...["errorTtl", "shadow", "tags", "l1", "l2"],
]);
const CALL_OPTIONS = new Set<string>([
  "policy",
  "fresh",
  "onlyCached",
  "after",
  "signal",
  "schema",
  "report",
  "stale",
  "version",
]);

/** Tells of a number that was probably meant in seconds. */
export type Suspect = (path: string, ms: number) => void;

/** Whether a name is an option of one call. */
export function isCallOption(name: string): boolean {
  return ENTRY_OPTIONS.has(name) || CALL_OPTIONS.has(name);
}

/** Whether a name is an entry option. */
export function isEntryOption(name: string): boolean {
  return ENTRY_OPTIONS.has(name);
}

/**
 * Fills `given` in over `base`: into a new object that nothing changes any more.
 * @param path prefix of option names in errors, such as "policies.auth".
 * @throws {OptionError} naming the option and its value.
 */
export function resolveOptions(
  base: LifetimeOptions,
  given: EntryOptions,
  path: string,
  suspect: Suspect,
): LifetimeOptions {
  const grace = duration(given.grace, base.grace, path, "grace");
  const swr = resolveSwr(given.swr, base.swr, grace, path);
  const eager = given.eager;
  const early = eager === undefined ? undefined : resolveEager(eager, at(path, "eager"));
  return {
    ttl: span(given.ttl, base.ttl, path, "ttl", suspect),
    jitter: given.jitter === undefined ? base.jitter : fraction(given.jitter, at(path, "jitter")),
    sliding: flag(given.sliding, base.sliding, path, "sliding"),
    // A stale entry must still be there for as long as it may be served.
    grace: Math.max(grace, swr),
    swr,
    retryAfter: duration(given.retryAfter, base.retryAfter, path, "retryAfter"),
    timeout: duration(given.timeout, base.timeout, path, "timeout"),
    hardTimeout: duration(given.hardTimeout, base.hardTimeout, path, "hardTimeout"),
    eagerAt: early === undefined ? base.eagerAt : early.at,
    eagerBeta: early === undefined ? base.eagerBeta : early.beta,
    negativeTtl: span(given.negativeTtl, base.negativeTtl, path, "negativeTtl", suspect),
    errorTtl: span(given.errorTtl, base.errorTtl, path, "errorTtl", suspect),
    shadow: given.shadow === undefined ? base.shadow : fraction(given.shadow, at(path, "shadow")),
    tags: given.tags === undefined ? base.tags : uniqueTags(base.tags, given.tags, at(path, "tags")),
    l1: flag(given.l1, base.l1, path, "l1"),
    l2: flag(given.l2, base.l2, path, "l2"),
  };
}

// Plain functions of all they need: this runs on every call that misses.

function at(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function duration(value: unknown, otherwise: number, path: string, name: string): number {
  return value === undefined ? otherwise : milliseconds(value, at(path, name));
}

function span(value: unknown, otherwise: number, path: string, name: string, suspect: Suspect): number {
  return value === undefined ? otherwise : lifetime(value, at(path, name), suspect);
}

function flag(value: unknown, otherwise: boolean, path: string, name: string): boolean {
  if (value === undefined) return otherwise;
  if (typeof value !== "boolean") throw new OptionError(at(path, name), value, "true or false");
  return value;
}

function resolveSwr(value: unknown, otherwise: number, grace: number, path: string): number {
  if (value === undefined) return otherwise;
  if (typeof value === "boolean") return value ? grace : 0;
  return milliseconds(value, at(path, "swr"));
}

/** Longest tag in characters, and most tags of one entry: labels, not values. */
const MAX_TAG_LENGTH = 1_000;
const MAX_TAGS = 10_000;

/** Tags of `given` added to `base`, each once. @throws {OptionError} when one is not a non-empty string. */
export function uniqueTags(base: readonly string[], given: unknown, path: string): readonly string[] {
  if (!Array.isArray(given)) throw new OptionError(path, given, "an array of strings");
  for (const tag of given) checkTag(tag, path);
  if (given.length > MAX_TAGS)
    throw new OptionError(path, `${given.length} tags`, `at most ${MAX_TAGS} tags on one entry`);
  if (base.length === 0 && given.length < 2) return given.length === 0 ? NO_TAGS : Object.freeze([...given]);
  return Object.freeze([...new Set([...base, ...given])]);
}

/** @throws {OptionError} when it is not a non-empty string. */
export function checkTag(tag: unknown, path: string): asserts tag is string {
  if (typeof tag !== "string" || tag === "" || tag.length > MAX_TAG_LENGTH || !tag.isWellFormed())
    throw new OptionError(
      path,
      tag,
      `tags that are strings of 1 to ${MAX_TAG_LENGTH} characters (one is ${show(tag)})`,
    );
}

function fraction(value: unknown, path: string): number {
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw new OptionError(path, value, "a number from 0 to 1");
}

function resolveEager(value: unknown, path: string): { at: number; beta: number } {
  if (value === false) return { at: 0, beta: 0 };
  if (value === "xfetch") return { at: 0, beta: 1 };
  if (typeof value === "number" && value > 0 && value < 1) return { at: value, beta: 0 };
  if (
    typeof value === "object" &&
    value !== null &&
    "beta" in value &&
    typeof value.beta === "number" &&
    value.beta > 0
  )
    return { at: 0, beta: value.beta };
  throw new OptionError(
    path,
    value,
    'false, a fraction of the ttl between 0 and 1, "xfetch", or { beta: a number above 0 }',
  );
}
