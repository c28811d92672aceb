/** Typed events with synchronous listeners that cannot harm the one who emits. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();
  readonly #onError: (error: unknown) => void;

  /** @param onError told what a listener threw. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): () => void {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(listener));
    return () => {
      set.delete(listener);
      if (set.size === 0 && this.#listeners.get(event) === set) this.#listeners.delete(event);
    };
  }

  /** Whether anyone listens: ask before an event object is made on a hot path. */
  wants(event: keyof Events): boolean {
    return this.#listeners.size > 0 && this.#listeners.has(event);
  }

  emit<E extends keyof Events>(event: E, payload: Events[E]): void {
    const set = this.#listeners.get(event);
    if (set === undefined) return;
    for (const listener of set) {
      try {
        // The set of an event holds only listeners that `on` took for that event.
        (listener as (event: Events[E]) => void)(payload);
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}
