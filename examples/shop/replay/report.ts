import type { Recording, Tally } from "./recording.ts";

/** The rate the project aims at. */
export const TARGET = 0.9;

/** The facts of a replay that the closing table is made of. */
export interface ReplayFacts {
  readonly trace: string;
  /** Different keys among the requests. */
  readonly keys: number;
  readonly memoryEntries: number;
  readonly seconds: number;
  /** Keys loaded from the database. */
  readonly loads: number;
  /** Statements run by the database meanwhile. */
  readonly statements: number;
  /** How the requests were made. */
  readonly how: string;
}

/** What limits the hit rate, and how far it got. */
export interface Verdict {
  readonly hitRate: number;
  /** Best possible from cold: each key must be read from the database once. */
  readonly ceiling: number;
  /** Hit rate of the requests that could have hit. */
  readonly withoutFirstReads: number;
  readonly reached: boolean;
}

const NAMES: Readonly<Record<string, string>> = { loader: "database" };
const ORDER = ["memory", "disk", "loader"];

export function verdictOf(tally: Pick<Tally, "requests" | "hits">, keys: number): Verdict {
  const { requests, hits } = tally;
  const hitRate = requests === 0 ? 0 : hits / requests;
  const again = requests - keys;
  return {
    hitRate,
    ceiling: requests === 0 ? 0 : again / requests,
    withoutFirstReads: again === 0 ? 0 : hits / again,
    reached: hitRate > TARGET,
  };
}

/** One line while the replay runs. */
export function liveLine(tally: Tally, total: number, perSecond: number): string {
  const layers = inOrder(tally).map(([layer, count]) => `${name(layer)} ${percent(count / tally.requests)}`);
  const share = percent(tally.requests / total).padStart(6);
  const hits = percent(tally.requests === 0 ? 0 : tally.hits / tally.requests);
  return `${share}  ${whole(tally.requests)} requests  ${whole(perSecond)}/s  hit rate ${hits}  ${layers.join("  ")}`;
}

/** The closing table, and what it means. */
export function closingTable(recording: Recording, facts: ReplayFacts): string {
  const tally = recording.tally();
  const verdict = verdictOf(tally, facts.keys);
  const head = ["layer", "answers", "share", "p50 ms", "p95 ms", "p99 ms", "max ms"];
  const rows = inOrder(tally).map(([layer, count]) => {
    const { p50, p95, p99, max } = recording.latency(layer);
    return [name(layer), whole(count), percent(count / tally.requests), ...[p50, p95, p99, max].map(ms)];
  });
  const joined = (tally.layers.get("loader") ?? 0) - facts.loads;
  const lines = [
    `${facts.trace}: ${whole(tally.requests)} requests for ${whole(facts.keys)} keys in ${facts.seconds.toFixed(1)} s ` +
      `(${whole(tally.requests / facts.seconds)}/s), ${facts.how}.`,
    `Memory bounded to ${whole(facts.memoryEntries)} entries (${percent(facts.memoryEntries / facts.keys)} of the keys), ` +
      "disk unbounded; both were empty at the start.",
    "",
    ...table([head, ...rows]),
    "",
    `hit rate ${percent(verdict.hitRate)} (memory and disk together)`,
    `ceiling ${percent(verdict.ceiling)}: ${whole(facts.keys)} compulsory first reads; of all others, ` +
      `${percent(verdict.withoutFirstReads)} hit`,
    `database calls saved: ${whole(tally.requests - facts.loads)} of ${whole(tally.requests)}; statements made: ${whole(facts.statements)}`,
  ];
  if (joined > 0)
    lines.push(
      `${whole(joined)} of the requests answered by the database waited for a load that another had begun`,
    );
  if (tally.stale > 0) lines.push(`of the hits, ${whole(tally.stale)} were stale`);
  if (tally.errors > 0) lines.push(`failed: ${whole(tally.errors)}`);
  lines.push(conclusion(verdict));
  return lines.join("\n");
}

/** One sentence: whether the target was reached, and if not, why. */
export function conclusion(verdict: Verdict): string {
  const target = percent(TARGET);
  if (verdict.reached) return `Target of ${target}: reached.`;
  if (verdict.ceiling <= TARGET)
    return (
      `Target of ${target}: out of reach of any cache on this trace from cold: it asks for each key ` +
      `${(1 / (1 - verdict.ceiling)).toFixed(1)} times on average, and the first time is always a miss.`
    );
  const lost = verdict.ceiling - verdict.hitRate;
  return `Target of ${target}: missed, though ${percent(verdict.ceiling)} was possible: ${percent(lost)} of the requests missed again.`;
}

function inOrder(tally: Tally): [string, number][] {
  const rank = (layer: string) => (ORDER.includes(layer) ? ORDER.indexOf(layer) : ORDER.length);
  return [...tally.layers].sort(([a], [b]) => rank(a) - rank(b));
}

const name = (layer: string) => NAMES[layer] ?? layer;
const percent = (share: number) => `${(share * 100).toFixed(2)}%`;
const whole = (count: number) => Math.round(count).toLocaleString("en-US");
/** Milliseconds to three digits that mean something; memory answers within microseconds. */
const ms = (value: number) => (value < 1 ? value.toFixed(4) : value.toFixed(2));

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join("  "),
  );
}
