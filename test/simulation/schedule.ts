import fc from "fast-check";

/** Keys that schedules use. */
export const KEYS = ["user:1", "user:2", "post:1"] as const;
export type KeyName = (typeof KEYS)[number];

/** What a process is asked to do. */
const READS = ["load", "load", "load", "get", "get", "loadMany", "getMany", "after"] as const;
const WRITES = [
  ...(["delete", "delete", "deleteMany", "tag", "tag", "tagAll", "prefix", "glob", "clear"] as const),
  ...(["set", "set", "set", "expire", "softTag", "softPrefix"] as const),
] as const;
/** What befalls a process or a server. */
const FAULTS = [
  ...(["partition", "partition", "cut", "slow", "refuse", "pause", "pause", "crash", "heal"] as const),
  ...(["freeze", "flush", "restart", "failOver", "failOver", "trim"] as const),
] as const;

export type Deed = (typeof READS)[number] | (typeof WRITES)[number] | (typeof FAULTS)[number] | "wait";

export interface Step {
  readonly do: Deed;
  readonly who: number;
  readonly key: number;
  /** Chooses among the variants of a deed. */
  readonly how: number;
  /** Milliseconds until the next step. */
  readonly gap: number;
}

export interface Config {
  readonly processes: number;
  /** Store and log on servers of their own. */
  readonly apart: boolean;
  readonly ttl: number;
  readonly grace: number;
  readonly swr: number;
  readonly eager: boolean;
  /** Soft timeout; 0: none. */
  readonly timeout: number;
  readonly maxEntries: number;
  readonly maxLag: number;
  readonly lease: number;
}

/** All that a run depends on: the same schedule always gives the same history. */
export interface Schedule {
  /** Of delays, losses and the randomness of caches. */
  readonly seed: number;
  readonly config: Config;
  readonly steps: readonly Step[];
}

/** Which schedules are drawn. */
export interface Mix {
  readonly apart: boolean;
  readonly faults: boolean;
  /** Only these deeds, and reads, instead of all [all]. */
  readonly only?: readonly Deed[];
}

export function schedules({ apart, faults, only }: Mix): fc.Arbitrary<Schedule> {
  const chosen = only === undefined ? [] : [{ weight: 12, arbitrary: fc.constantFrom(...only) }];
  const deeds: fc.Arbitrary<Deed> = fc.oneof(
    ...chosen,
    { weight: 12, arbitrary: fc.constantFrom(...READS) },
    ...(only === undefined ? [{ weight: 9, arbitrary: fc.constantFrom(...WRITES) }] : []),
    ...(faults && only === undefined ? [{ weight: 5, arbitrary: fc.constantFrom(...FAULTS) }] : []),
    { weight: 1, arbitrary: fc.constant("wait" as const) },
  );
  const step: fc.Arbitrary<Step> = fc.record(
    {
      do: deeds,
      who: fc.nat(3),
      key: fc.constantFrom(0, 0, 0, 1, 2),
      how: fc.nat(127),
      gap: fc.constantFrom(0, 0, 1, 2, 3, 5, 8, 20, 60, 200, 300, 700, 2_500),
    },
    { noNullPrototype: true },
  );
  const config: fc.Arbitrary<Config> = fc.record(
    {
      processes: fc.constantFrom(2, 2, 3, 4),
      apart: fc.constant(apart),
      ttl: fc.constantFrom(60_000, 60_000, 5_000, 400),
      grace: fc.constantFrom(0, 0, 30_000),
      swr: fc.constantFrom(0, 5_000),
      eager: fc.constantFrom(false, false, true),
      timeout: fc.constantFrom(0, 0, 40),
      maxEntries: fc.constantFrom(100, 100, 2, 1),
      maxLag: fc.constantFrom(1_000, 1_000, 3_000),
      lease: fc.constantFrom(10_000, 400, 1_000),
    },
    { noNullPrototype: true },
  );
  return fc.record(
    {
      seed: fc.nat(0x7fffffff),
      config,
      steps: fc.array(step, { minLength: 6, maxLength: 36, size: "max" }),
    },
    { noNullPrototype: true },
  );
}
