/** How a source is asked. */
export interface SourceOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Contract of an L4 driver: where the truth is. Every driver passes `sourceContract` of
 * `caching-universal/testing`.
 */
export interface Source<K extends string | number | bigint = string, V = unknown> {
  /** "postgres", ... as it appears in stats. */
  readonly name: string;
  /** Loads many in one step; the answer has an entry for each key that exists. */
  load(keys: readonly K[], options?: SourceOptions): Promise<Map<K, V>>;
  /** Inserts or replaces many in one step: all or nothing. */
  save(entries: readonly (readonly [key: K, value: V])[], options?: SourceOptions): Promise<void>;
  /** Deletes many in one step: all or nothing. Answers how many existed. */
  delete(keys: readonly K[], options?: SourceOptions): Promise<number>;
  /** Ends what the source itself opened (a pool that the user made stays open). */
  close?(): Promise<void>;
}
