import { randomBytes } from "node:crypto";
import { StoreError } from "../../base/errors.ts";
import type { Position } from "../../coherence/log.ts";
import type { Applied, ServerRecord, SignedRecord } from "../../coherence/log-server.ts";
import type { Connection } from "./connection.ts";
import type { Items } from "./items.ts";
import type { KeyNames } from "./key-names.ts";

/** Where the log stands: one small item, moved on by compare-and-swap. */
export interface ChainHead {
  /** One unbroken history: another after every founding. Part of the names of its blocks. */
  readonly epoch: string;
  readonly generation: string;
  readonly position: Position;
  /** Of the record at `position`; of a founding, the generation's name. */
  readonly id: string;
  /** Where this history began: what is before is of another one. */
  readonly founded: Position;
}

/** A head, and the version of the item it was read from. */
export interface SeenHead {
  readonly head: ChainHead;
  readonly cas: string;
}

/** Records that were appended together. */
export interface Block {
  /** Id of the record before the first: what makes a chain of the blocks. */
  readonly prev: string;
  readonly records: readonly SignedRecord[];
}

/** A block as its item holds it; one that is too large for an item is kept in parts. */
interface BlockItem {
  readonly prev: string;
  readonly records?: readonly SignedRecord[];
  readonly parts?: readonly string[];
}

/** Seconds that a block is kept. Who was away longer starts again. */
const KEPT = 24 * 60 * 60;
/** Bytes of records kept in one item. */
const PART = 400_000;
/** Records of a block. */
export const MOST_RECORDS = 500;
/** Positions asked for at once. */
const WINDOW = { first: 8, most: 128 };

/**
 * The records of a log as a chain of items. A block is `add`ed under the position after the head, which only one
 * appender can do, and then the head is moved over it, which anybody may do for an appender that died between
 * the two. So positions have no holes, and whatever is missing was lost.
 */
export class LogChain {
  readonly #names: KeyNames;

  constructor(names: KeyNames) {
    this.#names = names;
  }

  async head(items: Items): Promise<SeenHead | undefined> {
    const item = await items.get(this.#names.log("head"));
    if (item === undefined) return undefined;
    // Reason of the cast: only `moveHead` and `found` write this item.
    return { head: JSON.parse(item.value.toString()) as ChainHead, cas: item.cas };
  }

  /**
   * Begins a history, above all that an earlier one reached; over the head that was `seen`, with a record that
   * says so. False: somebody else was faster.
   */
  async found(items: Items, connection: Connection, above: Position, seen?: SeenHead): Promise<boolean> {
    const time = Number((await connection.stats()).get("time"));
    if (!(time > 0)) throw new StoreError(`Memcached ${connection.address.text} does not tell its time.`);
    const generation = newName();
    // A million positions for each second of the server's clock: nobody appends as fast as that.
    const position = Math.max(time * 1_000_000, above + 1, (seen?.head.position ?? 0) + 1);
    const founding = { epoch: newName(), generation, position, id: generation, founded: position };
    await items.put(this.patternsName(founding), Buffer.from("[]"), { seconds: 0, how: "add" });
    if (seen === undefined) return this.moveHead(items, founding, undefined);
    const clear: SignedRecord = { id: newName(), record: { kind: "clear", generation } };
    const block: BlockItem = { prev: seen.head.id, records: [clear] };
    await items.put(this.#blockName(founding, position), json(block), { seconds: KEPT, how: "add" });
    return this.moveHead(items, { ...founding, id: clear.id }, seen.cas);
  }

  /** Writes the head over the version that was seen; where there was none, only if there still is none. */
  async moveHead(items: Items, head: ChainHead, cas: string | undefined): Promise<boolean> {
    const how = cas === undefined ? "add" : { cas };
    return (await items.put(this.#names.log("head"), json(head), { seconds: 0, how })) !== undefined;
  }

  /** Puts a block behind the head. Answers its version; undefined: another is there. */
  async add(items: Items, head: ChainHead, records: readonly SignedRecord[]): Promise<string | undefined> {
    const body = json(records);
    let block: BlockItem = { prev: head.id, records };
    if (body.length > PART) {
      const first = records[0]?.id ?? "";
      const parts: string[] = [];
      for (let at = 0; at < body.length; at += PART) {
        const name = this.#names.log(`b:${first}.${newName()}`);
        parts.push(name);
        await items.put(name, body.subarray(at, at + PART), { seconds: KEPT, how: "set" });
      }
      block = { prev: head.id, parts };
    }
    return items.put(this.#blockName(head, head.position + 1), json(block), { seconds: KEPT, how: "add" });
  }

  /** The block whose first record is at `position`. */
  async block(
    items: Items,
    head: ChainHead,
    position: Position,
  ): Promise<(Block & { cas: string }) | undefined> {
    const item = await items.get(this.#blockName(head, position));
    if (item === undefined) return undefined;
    // Reason of the casts: only `add` writes these items.
    const { prev, records, parts = [] } = JSON.parse(item.value.toString()) as BlockItem;
    if (records !== undefined) return { prev, records, cas: item.cas };
    const bodies = await Promise.all(parts.map((name) => items.get(name)));
    const values = bodies.flatMap((part) => (part === undefined ? [] : [part.value]));
    if (values.length < parts.length) return undefined;
    return { prev, records: JSON.parse(Buffer.concat(values).toString()) as SignedRecord[], cas: item.cas };
  }

  async removeBlock(items: Items, head: ChainHead, position: Position, cas: string): Promise<void> {
    await items.remove(this.#blockName(head, position), cas);
  }

  /**
   * At most `limit` records after `after`; of its record the id, where it is known.
   * @returns undefined when they are not there, or do not follow that record.
   */
  async read(
    items: Items,
    head: ChainHead,
    after: Position,
    id: string | undefined,
    limit: number,
  ): Promise<ServerRecord[] | undefined> {
    const found: ServerRecord[] = [];
    let position = after;
    let prev = id;
    let window = WINDOW.first;
    while (position < head.position && found.length < limit) {
      const from = position;
      // Blocks of many records leave positions without one between them: these answer at once.
      const width = Math.min(window, head.position - from);
      const blocks = await Promise.all(
        Array.from({ length: width }, (_, i) => this.block(items, head, from + 1 + i)),
      );
      for (;;) {
        const block = blocks[position - from];
        if (block === undefined || position >= head.position || block.records.length === 0) break;
        if (prev !== undefined && block.prev !== prev) return undefined;
        for (const record of block.records) found.push({ position: ++position, ...record });
        prev = found.at(-1)?.id;
      }
      if (position === from) {
        if (found.length > 0) break;
        // Perhaps it stands within a block.
        const rest = await this.#restOf(items, head, after, id);
        if (rest === undefined) return undefined;
        for (const record of rest) found.push({ position: ++position, ...record });
        prev = found.at(-1)?.id;
      }
      window = Math.min(window * 2, WINDOW.most);
    }
    return found.slice(0, limit);
  }

  /** Whether the record with this id is the one at `position` in this history; undefined: it cannot be told. */
  async has(items: Items, head: ChainHead, { position, id }: Applied): Promise<boolean | undefined> {
    if (position < head.founded || position > head.position) return false;
    if (position === head.position) return id === head.id;
    const next = await this.block(items, head, position + 1);
    if (next !== undefined) return next.prev === id;
    const records = await this.#around(items, head, position);
    return records === undefined ? undefined : records[0]?.id === id;
  }

  /** What follows `after` in the block it stands in. */
  async #restOf(
    items: Items,
    head: ChainHead,
    after: Position,
    id: string | undefined,
  ): Promise<SignedRecord[] | undefined> {
    const [first, ...rest] = (await this.#around(items, head, after)) ?? [];
    if (first === undefined || rest.length === 0) return undefined;
    return id === undefined || first.id === id ? rest : undefined;
  }

  /** The records of the block around `position`, from there on. */
  async #around(items: Items, head: ChainHead, position: Position): Promise<SignedRecord[] | undefined> {
    const first = Math.max(head.founded, position - MOST_RECORDS + 1);
    for (let end = position; end >= first; end -= WINDOW.most) {
      const starts = Array.from({ length: Math.min(WINDOW.most, end - first + 1) }, (_, i) => end - i);
      const blocks = await Promise.all(starts.map((start) => this.block(items, head, start)));
      const at = blocks.findIndex((block) => block !== undefined);
      const start = starts[at];
      if (start === undefined) continue;
      const records = blocks[at]?.records.slice(position - start) ?? [];
      return records.length === 0 ? undefined : records;
    }
    return undefined;
  }

  /** Where active patterns of this history are kept. Made with the history: missing, it was lost. */
  patternsName({ epoch }: ChainHead): string {
    return this.#names.log(`p:${epoch}`);
  }

  #blockName({ epoch }: ChainHead, position: Position): string {
    return this.#names.log(`r:${epoch}:${position}`);
  }
}

/** The head with these records behind it. */
export function moved(head: ChainHead, records: readonly SignedRecord[]): ChainHead {
  let { generation } = head;
  for (const { record } of records) if (record.kind === "clear") ({ generation } = record);
  return {
    ...head,
    generation,
    position: head.position + records.length,
    id: records.at(-1)?.id ?? head.id,
  };
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function newName(): string {
  return randomBytes(9).toString("base64url");
}
