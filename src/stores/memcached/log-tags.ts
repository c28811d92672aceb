import { StoreError } from "../../base/errors.ts";
import type { Position, TagPositions } from "../../coherence/log.ts";
import type { SignedRecord } from "../../coherence/log-server.ts";
import type { Items } from "./items.ts";
import { hashOf, type KeyNames } from "./key-names.ts";
import type { LogChain } from "./log-chain.ts";

const TRIES = 100;
/** In the item of a tag whose past is being found out. */
const UNKNOWN = "?";
/** Seconds that takes at most; after a crash in between, others wait so long before they find it out themselves. */
const UNKNOWN_SECONDS = 5;

/**
 * Positions of the last invalidations of tags, an item a tag. Any of them may have been evicted, so a missing
 * one counts as invalidated now: whoever looks it up first writes down what "now" was.
 */
export class LogTags {
  readonly #chain: LogChain;
  readonly #names: KeyNames;

  constructor(chain: LogChain, names: KeyNames) {
    this.#chain = chain;
    this.#names = names;
  }

  /** Notes what these records, the first of them at `position`, do to tags. */
  async mark(items: Items, records: readonly SignedRecord[], position: Position): Promise<void> {
    const marks = new Map<string, TagPositions>();
    for (const [i, { record }] of records.entries()) {
      if (record.kind !== "tags") continue;
      const at = position + i;
      for (const tag of record.tags) {
        const { hard, soft } = marks.get(tag) ?? { hard: 0, soft: 0 };
        marks.set(tag, record.soft === true ? { hard, soft: at } : { hard: at, soft });
      }
    }
    await Promise.all([...marks].map(([tag, mark]) => this.#markOne(items, this.#name(tag), mark)));
  }

  async positions(items: Items, tags: readonly string[]): Promise<TagPositions[]> {
    return Promise.all(tags.map((tag) => this.#positionsOf(items, this.#name(tag))));
  }

  async #markOne(items: Items, name: string, mark: TagPositions): Promise<void> {
    const latest = Math.max(mark.hard, mark.soft);
    for (let left = TRIES; left > 0; left--) {
      const item = await items.get(name);
      const known = item === undefined ? undefined : parsed(item.value);
      // What was before cannot be told: then all before this one is invalid.
      const next =
        known === undefined
          ? { hard: latest, soft: latest }
          : { hard: Math.max(known.hard, mark.hard), soft: Math.max(known.soft, mark.soft) };
      if (known !== undefined && known.hard === next.hard && known.soft === next.soft) return;
      const how = item === undefined ? "add" : { cas: item.cas };
      if ((await items.put(name, text(next), { seconds: 0, how })) !== undefined) return;
    }
    throw new StoreError("Too many processes invalidate one tag at once.");
  }

  async #positionsOf(items: Items, name: string): Promise<TagPositions> {
    const item = await items.get(name);
    const known = item === undefined ? undefined : parsed(item.value);
    if (known !== undefined) return known;
    // First the mark, then the head, in this order on one connection: an invalidation that is not behind this
    // head yet finds the mark and writes over it, so what is written below never hides one.
    const put = { seconds: UNKNOWN_SECONDS, how: "add" } as const;
    const [cas, seen] = await Promise.all([
      item === undefined ? items.put(name, Buffer.from(UNKNOWN), put) : undefined,
      this.#chain.head(items),
    ]);
    if (seen === undefined) throw new StoreError("The log is gone from Memcached.");
    const now = { hard: seen.head.position, soft: seen.head.position };
    if (cas !== undefined) await items.put(name, text(now), { seconds: 0, how: { cas } });
    return now;
  }

  #name(tag: string): string {
    return this.#names.log(`t:${hashOf(tag)}`);
  }
}

function text({ hard, soft }: TagPositions): Buffer {
  return Buffer.from(`${hard} ${soft}`);
}

function parsed(value: Buffer): TagPositions | undefined {
  const match = /^(\d+) (\d+)$/.exec(value.toString("latin1"));
  return match === null ? undefined : { hard: Number(match[1]), soft: Number(match[2]) };
}
