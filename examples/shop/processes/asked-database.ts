import { type Database, DatabaseDown, type Query } from "../database.ts";
import type { DatabaseRequest, ToWorker } from "./messages.ts";

/** The worker's end: a database that is in the first process. */
export interface AskedDatabase extends Database {
  /** Takes a message of the first process; false: it is no reply. */
  take(message: ToWorker): boolean;
  /** The first process is gone: whatever waits for it fails. */
  gone(): void;
}

// Without the numbers of each kind of request, `Omit` would merge the kinds into one.
type Unnumbered<T> = T extends unknown ? Omit<T, "request"> : never;
type Rows = Record<string, unknown>[];

/** A database whose statements are asked of the first process with `send`, in the order in which they are made. */
export function askedDatabase(send: (request: DatabaseRequest) => void): AskedDatabase {
  const waiting = new Map<number, { done(rows: Rows): void; fail(error: Error): void }>();
  let last = 0;
  let statements = 0;
  let isGone = false;

  const ask = (request: Unnumbered<DatabaseRequest>): Promise<Rows> =>
    new Promise((done, fail) => {
      if (isGone) return fail(new DatabaseDown("The process with the database is gone."));
      last += 1;
      waiting.set(last, { done, fail });
      send({ ...request, request: last });
    });
  const asking =
    (transaction: number | undefined): Query =>
    async <R>(sql: string, params: readonly unknown[] = []) => {
      statements += 1;
      const rows = await ask({ sql, params, transaction });
      return { rows: rows as R[] }; // the caller's word, see Query
    };

  return {
    kind: "PGlite",
    get statements() {
      return statements;
    },
    query: asking(undefined),
    async transaction(fn) {
      last += 1;
      const number = last;
      await ask({ begin: number });
      try {
        const result = await fn(asking(number));
        await ask({ finish: number, commit: true });
        return result;
      } catch (error) {
        // When the rollback fails too, the first process has given the transaction up already.
        await ask({ finish: number, commit: false }).catch(() => {});
        throw error;
      }
    },
    close: async () => {},
    take(message) {
      if (!("reply" in message)) return false;
      const asked = waiting.get(message.reply);
      waiting.delete(message.reply);
      if ("rows" in message) asked?.done(message.rows);
      else asked?.fail(Object.assign(new Error(message.error.message), { code: message.error.code }));
      return true;
    },
    gone() {
      isGone = true;
      for (const { fail } of waiting.values())
        fail(new DatabaseDown("The process with the database is gone."));
      waiting.clear();
    },
  };
}
