import type { Mix } from "./schedule.ts";

/** One guard taken out of the engine. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Which run of seed 1 showed it; tried first. */
  readonly killedBy: string | undefined;
  /** Which schedules are tried. */
  readonly mix: Mix;
  /** Why more than one guard had to go. */
  readonly because?: string;
}

interface Edit {
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
}

const CALM: Mix = { apart: false, faults: false };
const FAULTS: Mix = { apart: false, faults: true };
const APART: Mix = { apart: true, faults: true };
/** Mixes that look for one kind of trouble. */
const TRIMS: Mix = { apart: false, faults: true, only: ["trim", "partition", "delete", "tag"] };
const SLOW: Mix = { apart: false, faults: true, only: ["slow", "partition", "tag", "softTag", "tag"] };
const LOSSES: Mix = { apart: false, faults: true, only: ["failOver", "delete", "partition", "tag"] };
const SWEEPS: Mix = { apart: false, faults: false, only: ["prefix", "glob"] };

function mutant(
  name: string,
  mix: Mix,
  edits: readonly (readonly [file: string, find: string, replace: string])[],
  because?: string,
): Mutant {
  return {
    name,
    mix,
    edits: edits.map(([file, find, replace]) => ({ file, find, replace })),
    killedBy: KILLS.get(name),
    ...(because === undefined ? {} : { because }),
  };
}

const CORE = "src/cache/core.ts";
const FLIGHT = "src/cache/flight.ts";
const FOLLOWING = "src/cache/following.ts";
const INVALIDATIONS = "src/coherence/invalidations.ts";
const LOADS = "src/cache/loads.ts";
const LOG = "src/coherence/remote-log.ts";
const PROMOTER = "src/cache/promoter.ts";
const REACH = "src/cache/reach.ts";
const READER = "src/cache/reader.ts";
const RUNNER = "src/cache/runner.ts";
const SERVER = "test/simulation/server.ts";
const SWEEPER = "src/cache/sweeper.ts";
const WRITER = "src/cache/writer.ts";

/** Which run of seed 1 showed each, when it was last looked for with `SIM_SHOW_KILLS=1`. */
const KILLS: ReadonlyMap<string, string> = new Map([
  ["records that are missing are not noticed", "818"],
  ["a heartbeat counts from its answer", "2899"],
  ["a follower that has not come to the head counts as up to date", "1338"],
  ["leases are not renewed while the load runs", "135"],
  ["the log forgets a pattern after one walk", "1210"],
  ["the store takes any fill, whatever its token", "369"],
  ["an invalidation does not mark the load under way", "1"],
  ["callers join a load that an invalidation concerned", "11"],
  ["the record is appended before the stores are dealt with", "107"],
  ["entries of another generation are believed", "86"],
  ["tags that the loader tells are not checked after the load", "84"],
  ["old entries are not looked up in the log's table of tags", "0"],
  ["an entry is as new as the end of its load", "84"],
  ["another history is taken for the same", "1"],
  ["a generation that lost records is not ended", "54"],
  ["memory is trusted however long the log was not heard", "105"],
  ["a wait for all does not wait", "454"],
  ["what was lost of its own records is not noticed", "444"],
  ["a read after a position does not look whether it was reached", "412"],
  ["a store that was not reached is not told of", "630"],
  ["a lease is given back without telling those who wait", "68"],
  ["keys that were removed are not remembered", "54"],
  ["stores are believed while the log is not heard", "249"],
  ["joiners of an outdated load get its value", "12"],
  ["memory keeps what began before the log was followed", "1751"],
]);

/** Every guard of the protocol. The simulator has to notice when one is gone. */
export const MUTANTS: readonly Mutant[] = [
  mutant(
    "the store takes any fill, whatever its token",
    CALM,
    [
      [
        SERVER,
        `    const lease = this.#held(key, token, now)?.lease;
    if (lease === undefined) return "refused";`,
        `    const lease = this.#live(key, now)?.lease ?? { awaited: false };
    if (token === "") return "refused";`,
      ],
      [INVALIDATIONS, `if (needed !== undefined && asOf < needed) return "invalid";`, ""],
    ],
    "what a late fill brings is older than the record of its key, which readers remember too",
  ),
  mutant("an invalidation does not mark the load under way", CALM, [
    [FLIGHT, `    flight.detached = true;\n`, ""],
  ]),
  mutant("callers join a load that an invalidation concerned", CALM, [
    [
      FLIGHT,
      `    if (!soft) flight.stale = undefined;\n    this.remove(flight);`,
      `    if (!soft) flight.stale = undefined;`,
    ],
  ]),
  mutant("the record is appended before the stores are dealt with", CALM, [
    [
      WRITER,
      `      const layers: Record<string, number | undefined> = {};
      const pending: string[] = [];
      for`,
      `      const layers: Record<string, number | undefined> = {};
      const pending: string[] = [];
      await core.following.append([{ kind: "keys", keys: unique, ...(soft ? { soft } : {}) }]);
      if (core.closed === false) {
        for (const store of core.stores.toReversed()) await store.remove(unique, soft);
        return { position: core.following.show(core.invalidations.position), layers, pending };
      }
      for`,
    ],
  ]),
  mutant("entries of another generation are believed", FAULTS, [
    [PROMOTER, `    if (stored.generation !== known.generation) return undefined;\n`, ""],
  ]),
  mutant(
    "tags that the loader tells are not checked after the load",
    CALM,
    [
      [
        LOADS,
        `const outdatedBy = this.#promoter.outdatedBy(key, tags, flight.asOf);`,
        `const outdatedBy = 0;`,
      ],
      [CORE, `if (verdict === "invalid") return;`, ""],
    ],
    "memory checks what it keeps, and readers check what they find",
  ),
  mutant("old entries are not looked up in the log's table of tags", CALM, [
    [PROMOTER, `const older = stored.asOf < known.floor && stored.tags.length > 0;`, `const older = false;`],
  ]),
  mutant(
    "an entry is as new as the end of its load",
    CALM,
    [
      [
        LOADS,
        `          asOf: flight.asOf,
          ttl,`,
        `          asOf: core.invalidations.position,
          ttl,`,
      ],
      [
        LOADS,
        `const outdatedBy = this.#promoter.outdatedBy(key, tags, flight.asOf);`,
        `const outdatedBy = 0;`,
      ],
    ],
    "what came in between refuses the load already",
  ),
  mutant("records that are missing are not noticed", TRIMS, [
    [LOG, `if (position !== last.position + 1) {`, `if (last !== undefined && position <= last.position) {`],
  ]),
  mutant("another history is taken for the same", FAULTS, [
    [LOG, `if (head.standing === "same" && !this.#gap && !lost) {`, `if (head.standing !== "new") {`],
  ]),
  mutant("a generation that lost records is not ended", FAULTS, [
    [
      LOG,
      `        await this.#within(STEP_TIMEOUT, this.#server.renounce(head.generation, above));`,
      `        void above;`,
    ],
  ]),
  mutant("memory is trusted however long the log was not heard", FAULTS, [
    [FOLLOWING, `return now <= this.#trustedUntil;`, `return this.log.lag() < Number.POSITIVE_INFINITY;`],
  ]),
  mutant("a heartbeat counts from its answer", SLOW, [
    [
      LOG,
      `    const lost = this.#ownLost`,
      `    sentAt = this.#context.clock.now();\n    const lost = this.#ownLost`,
    ],
    [
      LOG,
      `    const sentAt = this.#context.clock.now();
    const head = await this.#within(STEP_TIMEOUT, this.#server.join(this.#node, this.#applied`,
      `    let sentAt = this.#context.clock.now();
    const head = await this.#within(STEP_TIMEOUT, this.#server.join(this.#node, this.#applied`,
    ],
  ]),
  mutant("a follower that has not come to the head counts as up to date", SLOW, [
    [
      LOG,
      `if (this.#applied.position >= position && sentAt > this.#heardAt)`,
      `if (position > 0 && sentAt > this.#heardAt)`,
    ],
  ]),
  mutant("a wait for all does not wait", CALM, [
    [FOLLOWING, `      await this.log.settled(position, signal);`, `      await this.log.catchUp();`],
  ]),
  mutant(
    "what was lost of its own records is not noticed",
    LOSSES,
    [
      [LOG, `    this.#ownLost = true;\n`, ""],
      [LOG, `[...this.#own].some(([at, own]) => at > head.position && own.at < sentAt)`, `false`],
    ],
    "seen when the record is missed, and when another is found in its place",
  ),
  mutant("a read after a position does not look whether it was reached", CALM, [
    [
      REACH,
      `if (reached()) return { position, beyondMemory: false };`,
      `if (position >= 0) return { position: 0, beyondMemory: false };`,
    ],
  ]),
  mutant("strict records are acknowledged at the next heartbeat", CALM, [
    [LOG, `if (record.strict === true) this.#joinNow = true;`, ``],
  ]),
  mutant(
    "a store that was not reached is not told of",
    FAULTS,
    [
      [WRITER, `...(pending.length > 0 ? { pending: true } : {}),`, ""],
      [INVALIDATIONS, `if (needed !== undefined && asOf < needed) return "invalid";`, ""],
    ],
    "readers who heard the record remember its key as well",
  ),
  mutant("leases are not renewed while the load runs", CALM, [
    [LOADS, `core.background(store.renew(flight.key, token, lease));`, `void [store, token];`],
  ]),
  mutant("a lease is given back without telling those who wait", CALM, [
    [CORE, `if (awaited) this.tellEnded(flight.key);`, ``],
    [PROMOTER, `if (awaited) core.tellEnded(flight.key);`, ``],
  ]),
  mutant("keys that were removed are not remembered", APART, [
    [INVALIDATIONS, `if (needed !== undefined && asOf < needed) return "invalid";`, ""],
  ]),
  mutant(
    "stores are believed while the log is not heard",
    APART,
    [
      [PROMOTER, `if (!this.#core.trusts()) return undefined;`, ``],
      [
        RUNNER,
        `core.stores.length > 0 && core.trusts();`,
        `core.stores.length > 0 && core.following.ready === undefined;`,
      ],
    ],
    "asked before the stores are read, and again when they have answered",
  ),
  mutant("memory keeps what began before the log was followed", FAULTS, [
    [CORE, ` || entry.asOf < this.invalidations.floor) return;`, `) return;`],
  ]),
  mutant("joiners of an outdated load get its value", CALM, [
    [
      READER,
      `if (outdated && joinedAt > flight.asOf && retry !== undefined) return retry();`,
      `void (outdated && joinedAt);`,
    ],
  ]),
  mutant("the log forgets a pattern after one walk", SWEEPS, [
    [SWEEPER, `if (await this.#walk(pattern, {}, this.#ending.signal)) await`, `await`],
  ]),
];
