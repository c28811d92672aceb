/** Deletions after which the map is made anew. */
const RENEW_AFTER = 1_000;

/**
 * A map whose entries come and go all the time. A `Map` makes a new table whenever the old one is full of
 * deleted entries, and in V8 each old table refers to the next: once one has grown old, the garbage collector
 * keeps all that follow, with all they held, until its next full run. So the map itself is replaced now and then.
 */
export class TurnoverMap<K, V> {
  #map = new Map<K, V>();
  #deleted = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  set(key: K, value: V): void {
    this.#map.set(key, value);
  }

  delete(key: K): void {
    if (!this.#map.delete(key)) return;
    this.#deleted++;
    if (this.#deleted < (this.#map.size === 0 ? RENEW_AFTER / 20 : RENEW_AFTER + 2 * this.#map.size)) return;
    this.#map = new Map(this.#map);
    this.#deleted = 0;
  }
}
