import type { Database, Query } from "../database.ts";
import type { DatabaseRequest, ToWorker } from "./messages.ts";

/** Milliseconds after which a transaction that nobody ends is rolled back: all others wait for it meanwhile. */
const LONGEST_TRANSACTION = 10_000;

/** The first process' end: its database, lent to one worker. */
export interface LentDatabase {
  take(request: DatabaseRequest): void;
  /** The worker is gone: its transactions are rolled back. */
  gone(): void;
}

interface Transaction {
  readonly query: Query;
  /** Ends it, and resolves once the database has done that. */
  finish(commit: boolean): Promise<void>;
}

/** Thrown into a transaction that is not to be committed. */
class RolledBack extends Error {
  override name = "RolledBack";
}

/** Does what a worker asks for, and sends it the replies. */
export function lentDatabase(
  database: Pick<Database, "query" | "transaction">,
  reply: (message: ToWorker) => void,
): LentDatabase {
  const transactions = new Map<number, Promise<Transaction>>();
  let isGone = false;

  const begin = (number: number) => {
    const begun = open(database);
    transactions.set(number, begun);
    // It may have waited for others longer than its worker lived.
    return begun.then((transaction) => {
      if (isGone) transaction.finish(false).catch(() => {});
      return [];
    });
  };
  const inside = async (number: number) => {
    const transaction = await transactions.get(number);
    if (transaction === undefined) throw new Error("The transaction has ended.");
    return transaction;
  };
  const answer = async (request: DatabaseRequest) => {
    if ("begin" in request) return begin(request.begin);
    if ("finish" in request) {
      const transaction = await inside(request.finish);
      transactions.delete(request.finish);
      await transaction.finish(request.commit);
      return [];
    }
    const { sql, params, transaction } = request;
    const { query } = transaction === undefined ? database : await inside(transaction);
    return (await query(sql, params)).rows;
  };

  return {
    take(request) {
      answer(request).then(
        (rows) => reply({ reply: request.request, rows }),
        (error: Error & { code?: string }) =>
          reply({ reply: request.request, error: { message: error.message, code: error.code } }),
      );
    },
    gone() {
      isGone = true;
      for (const begun of transactions.values())
        begun.then((transaction) => transaction.finish(false)).catch(() => {});
      transactions.clear();
    },
  };
}

/** Begins a transaction that is held open until it is told how to end. */
function open(database: Pick<Database, "transaction">): Promise<Transaction> {
  return new Promise((begun, failed) => {
    const ended = database.transaction((query) => {
      const order = Promise.withResolvers<void>();
      const deadline = setTimeout(
        () => order.reject(new Error("The transaction took too long and was rolled back.")),
        LONGEST_TRANSACTION,
      );
      begun({
        query,
        finish(commit) {
          clearTimeout(deadline);
          if (commit) order.resolve();
          else order.reject(new RolledBack());
          return ended.catch((error) => {
            if (commit || !(error instanceof RolledBack)) throw error;
          });
        },
      });
      return order.promise;
    });
    // Once begun, how it ended is told by `finish`; before that, this is what the caller hears.
    ended.catch(failed);
  });
}
