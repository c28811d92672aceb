import type { Clock } from "../../base/clock.ts";
import { StoreError } from "../../base/errors.ts";

/** A row of an answer. */
export type Row = Record<string, unknown>;
/** Parameters of a statement: all texts, so that every client sends them alike. */
export type Params = readonly (string | null)[];

/**
 * What the log needs of a client: PGlite and `Client` of `pg` have it, and so may others. A `Pool` of `pg` has
 * more, and is told of new records instead of looking for them.
 */
export interface PostgresLogClient {
  query(text: string, params?: unknown[]): Promise<{ readonly rows: Row[] }>;
}

/** A client that a pool lent. */
export interface LentClient extends PostgresLogClient {
  on(event: string, listener: (detail: unknown) => void): unknown;
  off(event: string, listener: (detail: unknown) => void): unknown;
  release(destroy?: boolean): void;
}

/** A `Pool` of `pg`, or one like it. */
export interface PostgresPool extends PostgresLogClient {
  connect(): Promise<LentClient>;
}

/** A pool lends clients; a single client of `pg` has a `connect` too, but counts nothing. */
export function isPool(client: PostgresLogClient): client is PostgresPool {
  return (
    "connect" in client &&
    typeof client.connect === "function" &&
    "totalCount" in client &&
    typeof client.totalCount === "number"
  );
}

/** What `work` answers, but no longer than `ms` milliseconds. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.setTimer(
      ms,
      () => reject(new StoreError(`PostgreSQL did not answer within ${ms} ms.`)),
      true,
    );
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
