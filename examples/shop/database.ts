import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";

/** Runs one statement. `R` is the caller's word for the columns it selects; nothing checks it. */
export type Query = <R = Record<string, unknown>>(
  text: string,
  values?: readonly unknown[],
) => Promise<{ rows: R[] }>;

/** The database of the shop: PGlite in this process, or a PostgreSQL server. */
export interface Database {
  readonly kind: "PGlite" | "PostgreSQL";
  /** Statements run since it was opened. */
  readonly statements: number;
  readonly query: Query;
  /** Runs `fn` in one transaction: all of its statements or none. */
  transaction<T>(fn: (query: Query) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** The database server cannot be reached, or ended the connection. */
export class DatabaseDown extends Error {
  override name = "DatabaseDown";
}

/** Opens PostgreSQL compiled to WebAssembly, with its data in `folder`: no server to install or start. */
export async function openPglite(folder: string): Promise<Database> {
  const { PGlite } = await import("@electric-sql/pglite");
  await mkdir(dirname(folder), { recursive: true });
  const lite = await PGlite.create(folder);
  let statements = 0;
  const counted =
    (client: Pick<typeof lite, "query">): Query =>
    <R>(text: string, values: readonly unknown[] = []) => {
      statements += 1;
      return client.query<R>(text, [...values]);
    };
  return {
    kind: "PGlite",
    get statements() {
      return statements;
    },
    query: counted(lite),
    transaction: (fn) => lite.transaction((tx) => fn(counted(tx))),
    close: () => lite.close(),
  };
}

/**
 * Connects to a PostgreSQL server.
 * @param max most connections.
 * @throws {DatabaseDown} when it does not answer.
 */
export async function connectPostgres(url: string, max = 10): Promise<Database> {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({ connectionString: url, max, connectionTimeoutMillis: 5_000 });
  // An idle connection that the server ends is replaced by the next query; without a listener it would throw.
  pool.on("error", (error) => console.error(`PostgreSQL: ${error.message}`));
  let statements = 0;
  const counted =
    (client: { query(text: string, values: unknown[]): Promise<{ rows: unknown[] }> }): Query =>
    async <R>(text: string, values: readonly unknown[] = []) => {
      statements += 1;
      const { rows } = await client.query(text, [...values]).catch(rethrow);
      return { rows: rows as R[] }; // the caller's word, see Query
    };
  try {
    await pool.query("select 1").catch(rethrow);
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    kind: "PostgreSQL",
    get statements() {
      return statements;
    },
    query: counted(pool),
    async transaction(fn) {
      const client = await pool.connect().catch(rethrow);
      try {
        await client.query("begin");
        const result = await fn(counted(client));
        await client.query("commit");
        client.release();
        return result;
      } catch (error) {
        // A connection that cannot even roll back is not given to the next caller.
        const broken = await client.query("rollback").then(
          () => false,
          () => true,
        );
        client.release(broken);
        throw error;
      }
    },
    close: () => pool.end(),
  };
}

/**
 * What a statement is refused for has a five-character SQLSTATE; of these, class 08 and 57P say that the server is
 * gone (PostgreSQL manual, appendix A). Errors without one come from the connection.
 */
function rethrow(error: unknown): never {
  const state = error instanceof Error && "code" in error ? String(error.code) : "";
  const refused = /^[0-9A-Z]{5}$/.test(state) && !/^(08|57P)/.test(state);
  if (refused || !(error instanceof Error)) throw error;
  throw new DatabaseDown(`The database does not answer: ${error.message || state}`, { cause: error });
}
