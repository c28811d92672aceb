/** Judges the history of one soak: what was read when, against what was written when. */

/** Where a read may still see the old value after a write resolved, in milliseconds: the log's lag and the machine's noise. */
const LAG = 100;
/** A call that takes longer than this hangs. */
const HUNG = 1_000;

export class Checker {
  /** Per key: writes that resolved, as [resolvedAt, version, strict], by time. */
  #writes = new Map();
  /** Times in which a process was frozen by the soak itself: [slot, from, to]. */
  #frozen = [];
  /** Times in which the promise is `maxLag`: [from, to]. */
  #troubled = [];
  #maxLag;
  #phases = [];
  reads = 0;
  writes = 0;
  failedWrites = 0;
  stale = 0;
  staleStrict = 0;
  backwards = 0;
  backwardsInTrouble = 0;
  #backwards = [];
  #late = [];
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
    list.push([ended, version, how === "strict", how, slot]);
    this.#writes.set(key, list);
  }

  /** The latest read of a version of a key in a process. */
  read(worker, key, began, version) {
    for (const [resolved, written, strict, how, by] of this.#writes.get(key) ?? []) {
      if (version >= written) continue;
      const late = began - resolved;
      const what = `${worker} read version ${version} of ${key}, ${late.toFixed(1)} ms after ${written} (${how} by ${by}; ${this.#phase(began)})`;
      if (strict && late > 0) {
        this.staleStrict++;
        this.#example(`strict: ${what}`);
        return;
      }
      if (late > LAG) {
        this.#late.push([began, late, what]);
        return;
      }
    }
  }

  slow(slot, began, ended) {
    this.#time(slot, "read", began, ended);
  }

  /** P5 holds while the shared store is reachable: what happens in times of trouble is judged at the end. */
  wentBack(worker, key, began, version, before, later) {
    const text = `${worker} read version ${version} of ${key} ${later.toFixed(1)} ms after ${before} (${this.#phase(began)})`;
    this.#backwards.push([began, text]);
  }

  /** Judges what could only be judged once all times of trouble are known. */
  finish() {
    for (const [began, text] of this.#backwards) {
      if (this.#isTroubled(began)) this.backwardsInTrouble++;
      else {
        this.backwards++;
        this.#example(text);
      }
    }
    for (const [began, late, text] of this.#late) {
      if (this.#isTroubled(began) && late <= this.#maxLag + LAG) continue;
      this.stale++;
      this.worst = Math.max(this.worst, late);
      this.#example(text);
    }
  }

  #time(slot, what, began, ended) {
    if (ended - began <= HUNG) return;
    if (this.#frozen.some(([of, from, to]) => of === slot && began <= to && ended >= from)) return;
    this.hung++;
    this.#example(
      `a ${what} in process ${slot} took ${(ended - began).toFixed(0)} ms (${this.#phase(began)})`,
    );
  }

  /** What was going on. */
  begin(name) {
    this.#phases.push([name, Number(process.hrtime.bigint()) / 1e6]);
  }

  #phase(at) {
    const phase = this.#phases.findLast(([, from]) => from <= at);
    return phase === undefined ? "at the start" : `${(at - phase[1]).toFixed(0)} ms after ${phase[0]}`;
  }

  #isTroubled(at) {
    return this.#troubled.some(([from, to]) => at >= from && at <= to);
  }

  #example(text) {
    if (this.examples.length < 40) this.examples.push(text);
  }
}
