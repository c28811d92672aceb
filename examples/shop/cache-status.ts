import type { Answer } from "caching-universal";

/** What one response was made of: the answer of each cached read, and why the rest went to the database. */
export interface Trail {
  /** Answers of the cache to the reads of this request. */
  readonly answers: readonly Pick<Answer, "layer" | "state" | "ttl">[];
  /** The request changed something, so that it had to go to the database. */
  readonly write?: boolean;
}

/** Layers of the cache's report that are not caches, by the name a reader of the header knows. */
const ORIGIN: Readonly<Record<string, string>> = { loader: "database" };
/** RFC 9651: whole numbers have at most 15 digits. */
const MAX_INTEGER = 999_999_999_999_999;

/**
 * The value of the `Cache-Status` header (RFC 9211) of a response, or `undefined` when no cache took part.
 *
 * A response out of a cache is `hit`, with a `ttl` below 0 when it was served stale; anything else says why it
 * went on (`fwd`): `miss`, `partial` when only some of the values it is made of were cached, or `method` for a
 * write. `detail` names the layer that answered; with several values, how many came from each.
 * @example cacheStatus("shop", { answers: [{ layer: "memory", state: "fresh", ttl: 5000 }] }) // shop; hit; ttl=5; detail=memory
 */
export function cacheStatus(cache: string, trail: Trail): string | undefined {
  const { answers } = trail;
  if (trail.write) return [item(cache), "fwd=method", "stored", "detail=database"].join("; ");
  const known = answers.filter((answer) => answer.layer !== "none");
  if (known.length === 0) return answers.length === 0 ? undefined : `${item(cache)}; fwd=miss`;
  const loaded = known.filter((answer) => answer.state === "miss").length;
  const parts = [item(cache), loaded === 0 ? "hit" : loaded === known.length ? "fwd=miss" : "fwd=partial"];
  if (loaded > 0) parts.push("stored");
  const ttl = seconds(Math.min(...known.map((answer) => answer.ttl)));
  if (ttl !== undefined) parts.push(`ttl=${ttl}`);
  parts.push(`detail=${item(detail(known))}`);
  return parts.join("; ");
}

/** The layer and state that our own `Cache-Status` of a single value tells: the way back, for the replay. */
export function answerOf(status: string): Pick<Answer, "layer" | "state"> {
  const detail = /; detail=([^;\s]+)$/.exec(status)?.[1];
  if (detail === undefined) throw new Error(`"${status}" tells no layer.`);
  if (!status.includes("; hit")) return { layer: "loader", state: "miss" };
  return { layer: detail, state: /; ttl=-/.test(status) ? "stale" : "fresh" };
}

/** Whole seconds, rounded down so that the header never promises more than there is; nothing for "for ever". */
function seconds(ms: number): number | undefined {
  if (!Number.isFinite(ms)) return undefined;
  return Math.max(-MAX_INTEGER, Math.min(MAX_INTEGER, Math.floor(ms / 1_000))) + 0;
}

function detail(answers: Trail["answers"]): string {
  const counts = new Map<string, number>();
  for (const { layer } of answers) {
    const name = ORIGIN[layer] ?? layer;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const names = [...counts];
  const [only] = names;
  if (names.length === 1 && only !== undefined && answers.length === 1) return only[0];
  return names.map(([name, count]) => `${name} ${count}`).join(", ");
}

/** A token where the text is one (RFC 9651, section 3.3.4), else a quoted string of printable ASCII. */
function item(text: string): string {
  if (/^[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*$/.test(text)) return text;
  return `"${text.replaceAll(/[^\x20-\x7e]/g, "?").replaceAll(/["\\]/g, "\\$&")}"`;
}
