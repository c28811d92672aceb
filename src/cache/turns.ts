/**
 * Writes of one key by this process take turns, in the order they were called, so that every layer ends
 * with the value of the last one. Writes of different keys do not wait for each other.
 */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` once all earlier work on any of `keys` has ended (well or not). */
  take<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const before: Promise<unknown>[] = [];
    for (const key of keys) {
      const last = this.#last.get(key);
      if (last !== undefined) before.push(last);
    }
    const turn = before.length === 0 ? work() : Promise.all(before).then(work);
    const leave = (): void => this.#leave(keys, ended);
    const ended: Promise<void> = turn.then(leave, leave);
    for (const key of keys) this.#last.set(key, ended);
    return turn;
  }

  #leave(keys: readonly string[], ended: Promise<unknown>): void {
    for (const key of keys) if (this.#last.get(key) === ended) this.#last.delete(key);
  }
}
