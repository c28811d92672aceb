import type { Position } from "../../coherence/log.ts";
import { type Item, type Items, LONGEST } from "./items.ts";
import type { KeyNames } from "./key-names.ts";
import { json } from "./log-chain.ts";
import { carried, monotonic, type Stamp, secondsGone, shortestSince, stampNow } from "./stamp.ts";

/** Seconds that a follower's item outlives its lease: so long its end can be read off it. */
const KEPT = 60;
const TRIES = 40;

/** What a follower told last. */
interface Told {
  readonly epoch: string;
  readonly position: Position;
  /** Milliseconds it trusts itself from when it told this. */
  readonly lease: number;
}

/** The list of followers: one item. Everybody in it has an item of its own, or it was evicted. */
interface List {
  /** When the list was made: who followed before that is on it only after telling again. */
  readonly born: { readonly writer: string; readonly at: number; readonly seconds: number };
  readonly nodes: { readonly [node: string]: number };
}

/**
 * Who follows the log, and how far. Items may have been evicted: what is missing counts as a follower that told
 * nothing and trusts itself for its whole lease from now.
 */
export class LogFollowers {
  readonly #names: KeyNames;
  /** Since when, by this process's clock, the item of a node was seen missing; of the list under "". */
  readonly #missing = new Map<string, number>();

  constructor(names: KeyNames) {
    this.#names = names;
  }

  async register(items: Items, node: string, told: Told): Promise<void> {
    const seconds = Math.ceil(told.lease / 1_000) + KEPT;
    const [list] = await Promise.all([
      items.get(this.#names.log("f")),
      items.put(this.#nodeName(node), json(told), { seconds, how: "set" }),
    ]);
    if (list !== undefined && parsed(list).nodes[node] === told.lease) return;
    await this.#change(items, (nodes) => ({ ...nodes, [node]: told.lease }), list);
  }

  async remove(items: Items, node: string): Promise<void> {
    this.#missing.delete(node);
    await items.remove(this.#nodeName(node));
    await this.#change(items, ({ [node]: _, ...others }) => others);
  }

  /** How long some follower may still trust what it knew before `position` of this history. */
  async unacknowledged(items: Items, epoch: string, position: Position, lease: number): Promise<number> {
    const item = await items.get(this.#names.log("f"));
    if (item === undefined) return lease - this.#missingFor("");
    this.#missing.delete("");
    const list = parsed(item);
    const born: Stamp = { ...list.born, writer: BigInt(list.born.writer) };
    const young = lease - shortestSince(born, secondsGone(LONGEST, item.left));
    const left = await Promise.all(
      Object.entries(list.nodes).map(async ([node, nodeLease]) => {
        const ms = await this.#leftOf(items, node, nodeLease, epoch, position);
        if (ms < 0) await this.remove(items, node);
        return ms;
      }),
    );
    return Math.max(0, young, ...left);
  }

  /** 0: it has seen the position. Negative: its lease is over. */
  async #leftOf(
    items: Items,
    node: string,
    lease: number,
    epoch: string,
    position: Position,
  ): Promise<number> {
    const item = await items.get(this.#nodeName(node));
    if (item === undefined) return lease - this.#missingFor(node);
    this.#missing.delete(node);
    // Reason of the cast: only `register` writes this item.
    const told = JSON.parse(item.value.toString()) as Told;
    if (told.epoch === epoch && told.position >= position) return 0;
    const gone = secondsGone(Math.ceil(told.lease / 1_000) + KEPT, item.left);
    // The server's clock shows whole seconds: one of those gone may have been a moment.
    return told.lease - Math.max(0, gone - 1) * 1_000;
  }

  #missingFor(what: string): number {
    const since = this.#missing.get(what) ?? monotonic();
    this.#missing.set(what, since);
    return monotonic() - since;
  }

  async #change(items: Items, change: (nodes: List["nodes"]) => List["nodes"], first?: Item): Promise<void> {
    const name = this.#names.log("f");
    let item = first;
    for (let left = TRIES; left > 0; left--) {
      item ??= await items.get(name);
      const now = stampNow();
      const born = item === undefined ? now : bornOf(item);
      const list = {
        born: { ...born, writer: String(born.writer) },
        nodes: change(item === undefined ? {} : parsed(item).nodes),
      };
      const how = item === undefined ? "add" : { cas: item.cas };
      if ((await items.put(name, json(list), { seconds: LONGEST, how })) !== undefined) return;
      item = undefined;
    }
  }

  #nodeName(node: string): string {
    return this.#names.log(`f:${node}`);
  }
}

function parsed(item: Item): List {
  // Reason of the cast: only this class writes the item.
  return JSON.parse(item.value.toString()) as List;
}

function bornOf(item: Item): Stamp {
  const { born } = parsed(item);
  return carried({ ...born, writer: BigInt(born.writer) }, secondsGone(LONGEST, item.left), false);
}
