/** One line of an answer, and the value that follows a `VA` line. */
export interface Reply {
  readonly line: string;
  readonly value: Buffer | undefined;
}

const LF = 10;
const CR = 13;
/** Longer lines than this are no answer of Memcached: keys have at most 250 bytes, three times that encoded. */
const LONGEST_LINE = 16_384;

/** Cuts what a server sends into lines and values. Values are joined once, however many pieces they come in. */
export class ReplyParser {
  #pieces: Buffer[] = [];
  #length = 0;
  /** Bytes that have to be there before another look can find anything. */
  #needed = 1;

  /**
   * Takes a piece and tells every reply that is complete with it.
   * @throws when this cannot be an answer of Memcached.
   */
  push(piece: Buffer, tell: (reply: Reply) => void): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < this.#needed) return;
    const data = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces, this.#length);
    let at = 0;
    this.#needed = 1;
    for (;;) {
      const end = data.indexOf(LF, at);
      if (end === -1) {
        if (data.length - at > LONGEST_LINE) throw new Error("it sent a line without an end");
        break;
      }
      const line = data.toString("latin1", at, data[end - 1] === CR && end > at ? end - 1 : end);
      const size = line.startsWith("VA ") ? Number.parseInt(line.slice(3), 10) : undefined;
      if (size === undefined) {
        at = end + 1;
        tell({ line, value: undefined });
        continue;
      }
      if (!(size >= 0)) throw new Error("it sent a value without a length");
      const valueEnd = end + 1 + size;
      if (data.length < valueEnd + 2) {
        this.#needed = valueEnd + 2 - at;
        break;
      }
      if (data[valueEnd] !== CR || data[valueEnd + 1] !== LF)
        throw new Error("it sent a value of another length than it said");
      at = valueEnd + 2;
      tell({ line, value: data.subarray(end + 1, valueEnd) });
    }
    this.#pieces = at === data.length ? [] : [data.subarray(at)];
    this.#length = data.length - at;
    this.#needed = Math.max(this.#needed, this.#length + 1);
  }
}
