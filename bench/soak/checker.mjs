/** Judges the history of one soak: what was read when, against what was written when. */

/** Where a read may still see the old value after a write resolved, in milliseconds: the log's lag and the machine's noise. */
const LAG = 100;
/** A call that takes longer than this hangs. */
const HUNG = 1_000;

export class Checker {
  /** Per key: writes that resolved, as [resolvedAt, version, strict], by time. */
  #writes = new Map();
  /** Last read of a key in a process: [endedAt, version]. */
  #last = new Map();
  /** Times in which a process was frozen by the soak itself: [slot, from, to]. */
  #frozen = [];
  /** Times in which the promise is `maxLag`: [from, to]. */
  #troubled = [];
  #maxLag;
  reads = 0;
  writes = 0;
  failedWrites = 0;
  stale = 0;
  staleStrict = 0;
  backwards = 0;
  hung = 0;
  worst = 0;
  examples = [];

  constructor(maxLag) {
    this.#maxLag = maxLag;
  }

  trouble(from, to) {
    this.#troubled.push([from, to]);
  }

  froze(slot, from, to) {
    this.#frozen.push([slot, from, to]);
  }

  wrote(slot, key, version, how, began, ended, failed) {
    if (how !== "strict") this.#time(slot, how, began, ended);
    if (failed) {
      this.failedWrites++;
      return;
    }
    this.writes++;
    const list = this.#writes.get(key) ?? [];
    list.push([ended, version, how === "strict"]);
    this.#writes.set(key, list);
  }

  /** @param life which life of the process. */
  read(slot, life, key, began, ended, version) {
    const worker = `process ${slot}.${life}`;
    this.reads++;
    this.#time(slot, "read", began, ended);
    if (version < 0) return;
    const slack = this.#isTroubled(began) ? this.#maxLag + LAG : LAG;
    for (const [resolved, written, strict] of this.#writes.get(key) ?? []) {
      if (version >= written) continue;
      const late = began - resolved;
      if (strict && late > 0) {
        this.staleStrict++;
        this.#example(
          `strict: ${worker} read version ${version} of ${key}, ${late.toFixed(1)} ms after ${written}`,
        );
        break;
      }
      if (late > slack) {
        this.stale++;
        this.worst = Math.max(this.worst, late);
        this.#example(
          `${worker} read version ${version} of ${key}, ${late.toFixed(0)} ms after ${written} resolved`,
        );
        break;
      }
    }
    const id = `${worker} ${key}`;
    const last = this.#last.get(id);
    if (last !== undefined && began > last[0] && version < last[1]) {
      this.backwards++;
      this.#example(`${worker} read version ${version} of ${key} after ${last[1]}`);
    }
    if (last === undefined || version >= last[1]) this.#last.set(id, [ended, version]);
  }

  #time(slot, what, began, ended) {
    if (ended - began <= HUNG) return;
    if (this.#frozen.some(([of, from, to]) => of === slot && began <= to && ended >= from)) return;
    this.hung++;
    this.#example(`a ${what} took ${(ended - began).toFixed(0)} ms`);
  }

  #isTroubled(at) {
    return this.#troubled.some(([from, to]) => at >= from && at <= to);
  }

  #example(text) {
    if (this.examples.length < 10) this.examples.push(text);
  }
}
