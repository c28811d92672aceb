import { StoreError } from "../../base/errors.ts";
import { type ActivePattern, isPattern, type Position } from "../../coherence/log.ts";
import type { SignedRecord } from "../../coherence/log-server.ts";
import type { Items } from "./items.ts";
import { type ChainHead, json, type LogChain } from "./log-chain.ts";

const TRIES = 100;
/** Bytes of patterns kept: beyond, the generation is ended, which makes everything invalid. */
const MOST = 400_000;

/** Patterns that are not swept yet, all in one item of their history: it is there, or they were lost. */
export class LogPatterns {
  readonly #chain: LogChain;

  constructor(chain: LogChain) {
    this.#chain = chain;
  }

  /** Notes the patterns among these records. False: they cannot be kept, the generation has to end. */
  async add(
    items: Items,
    head: ChainHead,
    records: readonly SignedRecord[],
    position: Position,
  ): Promise<boolean> {
    const added = records.flatMap(({ record }, i): ActivePattern[] =>
      isPattern(record) ? [{ position: position + i, record }] : [],
    );
    if (added.length === 0) return true;
    const texts = new Set(added.map(({ record }) => JSON.stringify(record)));
    // The same pattern again takes the place of the earlier one.
    return this.#change(items, head, (known) => [
      ...known.filter(({ record }) => !texts.has(JSON.stringify(record))),
      ...added,
    ]);
  }

  /** Undefined: they were lost. */
  async list(items: Items, head: ChainHead): Promise<ActivePattern[] | undefined> {
    const item = await items.get(this.#chain.patternsName(head));
    return item === undefined ? undefined : parsed(item.value);
  }

  async remove(items: Items, head: ChainHead, { position }: ActivePattern): Promise<void> {
    await this.#change(items, head, (known) => known.filter((pattern) => pattern.position !== position));
  }

  async #change(
    items: Items,
    head: ChainHead,
    change: (known: readonly ActivePattern[]) => readonly ActivePattern[],
  ): Promise<boolean> {
    const name = this.#chain.patternsName(head);
    for (let left = TRIES; left > 0; left--) {
      const item = await items.get(name);
      if (item === undefined) return false;
      const value = json(change(parsed(item.value)));
      if (value.length > MOST) return false;
      if ((await items.put(name, value, { seconds: 0, how: { cas: item.cas } })) !== undefined) return true;
    }
    throw new StoreError("Too many processes invalidate by patterns at once.");
  }
}

function parsed(value: Buffer): ActivePattern[] {
  // Reason of the cast: only this class writes the item, and `found`, which writes an empty list.
  return JSON.parse(value.toString()) as ActivePattern[];
}
