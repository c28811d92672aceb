import { StoreError } from "../../base/errors.ts";
import type { Connection } from "./connection.ts";
import type { Reply } from "./reply-parser.ts";

/** An item as the server answers it. */
export interface Item {
  readonly value: Buffer;
  /** What the item is now: a write that names it succeeds only while nobody wrote since. */
  readonly cas: string;
  /** Seconds it has left, by the server's clock; Infinity for an item without an end. */
  readonly left: number;
}

/** What can be told of an item without its value. */
export interface ItemHead extends Omit<Item, "value"> {
  readonly flags: number;
  /** Bytes of the value. */
  readonly size: number;
}

/** How an item is written. */
export interface Put {
  /** Seconds until it ends; 0: no end. */
  readonly seconds: number;
  /** 32 bits that are read without the value [0]. */
  readonly flags?: number;
  /** "set": whatever is there. "add": only where nothing is. Otherwise only over the item with this `cas`. */
  readonly how: "set" | "add" | { readonly cas: string };
}

/** Longest relative lifetime that Memcached knows: larger numbers are dates to it. */
export const LONGEST = 30 * 24 * 60 * 60;

/** Items of one server, by the meta protocol (memcached, doc/protocol.txt). Keys are printable ASCII, 250 bytes at most. */
export class Items {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async get(key: string): Promise<Item | undefined> {
    const reply = await this.#connection.send(`mg ${key} v c t`);
    if (reply.line === "EN") return undefined;
    if (reply.value === undefined) throw this.#unexpected(reply);
    return { value: reply.value, ...facts(reply.line.slice(reply.line.indexOf(" ", 3) + 1)) };
  }

  /** A look that does not count as a use of the item. */
  async head(key: string): Promise<ItemHead | undefined> {
    const { line } = await this.#connection.send(`mg ${key} c t f s u`);
    if (line === "EN") return undefined;
    if (!line.startsWith("HD ")) throw this.#unexpected({ line });
    return facts(line.slice(3));
  }

  /** Answers the new `cas`; undefined: not written, since something else is there or nothing is. */
  async put(key: string, value: Uint8Array, { seconds, flags = 0, how }: Put): Promise<string | undefined> {
    const mode = how === "set" ? "MS" : how === "add" ? "ME" : `C${how.cas}`;
    const reply = await this.#connection.send(
      `ms ${key} ${value.length} ${mode} T${Math.min(LONGEST, seconds)} F${flags} c`,
      value,
    );
    if (reply.line.startsWith("HD")) return facts(reply.line.slice(3)).cas;
    if (/^(?:NS|EX|NF)/.test(reply.line)) return undefined;
    throw this.#unexpected(reply);
  }

  /** Answers whether it was there (and still was the item with this `cas`). */
  async remove(key: string, cas?: string): Promise<boolean> {
    const reply = await this.#connection.send(`md ${key}${cas === undefined ? "" : ` C${cas}`}`);
    if (reply.line === "HD") return true;
    if (/^(?:NF|EX)/.test(reply.line)) return false;
    throw this.#unexpected(reply);
  }

  #unexpected({ line }: Pick<Reply, "line">): StoreError {
    return new StoreError(`Memcached ${this.#connection.address.text} answered "${line}".`);
  }
}

/** Flags of a meta answer: a letter and its token each. */
function facts(text: string): ItemHead {
  let cas = "";
  let size = 0;
  let left = Number.POSITIVE_INFINITY;
  let flags = 0;
  for (const token of text.split(" ")) {
    const rest = token.slice(1);
    if (token[0] === "c") cas = rest;
    else if (token[0] === "t" && rest !== "-1") left = Number(rest);
    else if (token[0] === "f") flags = Number(rest);
    else if (token[0] === "s") size = Number(rest);
  }
  return { cas, left, flags, size };
}
