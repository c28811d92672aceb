import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import type { LogFactory } from "../log.ts";
import { RemoteLog } from "../remote-log.ts";
import type { PostgresLogClient } from "./client.ts";
import { type PostgresLogOptions, type PostgresLogTables, resolveOptions, resolveTables } from "./options.ts";
import { PostgresLogServer } from "./postgres-log-server.ts";
import { createTables } from "./schema.ts";

export type { PostgresLogClient, PostgresLogOptions, PostgresLogTables };

/**
 * The log of a cache in PostgreSQL, for those without Redis: keeps the memories of all processes that use the same
 * database coherent. A `Pool` of `pg` lends it one client for as long as the cache lives, which hears of new records
 * at once (LISTEN); with anything else that has `query(text, params)` they are looked for every `poll`. Close the
 * cache before the pool.
 * @throws {OptionError} for an option that cannot be used. Opening rejects with `StoreError` when the tables are not
 *   there: run {@link postgresLogSchema}, or pass `create: true`.
 * @example createCache({ name: "shop", log: postgresLog(new pg.Pool({ connectionString: process.env.DATABASE_URL })) })
 */
export function postgresLog(client: PostgresLogClient, options: PostgresLogOptions = {}): LogFactory {
  if (typeof client?.query !== "function")
    throw new OptionError("client", client, "a Pool of pg, a PGlite, or anything with `query(text, params)`");
  if ("options" in client && poolSize(client.options) === 1)
    throw new OptionError("client.options.max", 1, "a pool of 2 or more: the log holds one client by itself");
  const resolved = resolveOptions(options);
  return (context) => new RemoteLog(new PostgresLogServer(client, resolved, context), context);
}

/**
 * The SQL that creates the log's tables where they are not there, for your migrations. The log needs SELECT, INSERT,
 * UPDATE and DELETE on them, and nothing else.
 * @throws {OptionError} for an option that cannot be used.
 * @example await pool.query(postgresLogSchema())
 */
export function postgresLogSchema(options: PostgresLogTables = {}): string {
  refuseUnknown(options, "postgresLogSchema", (name) => name === "schema" || name === "prefix");
  return createTables(resolveTables(options))
    .map((statement) => `${statement};\n`)
    .join("\n");
}

function poolSize(options: unknown): unknown {
  return typeof options === "object" && options !== null && "max" in options ? options.max : undefined;
}
