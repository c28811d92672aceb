import type { Duration } from "../../base/duration.ts";
import { milliseconds } from "../../base/duration.ts";
import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import { type Tables, tablesOf } from "./schema.ts";

/** Where the log's tables are. Defaults in brackets. */
export interface PostgresLogTables {
  /** Schema of the tables, as it is written in the database ["public"]. */
  readonly schema?: string | undefined;
  /** What the names of the tables begin with ["caching_universal"]. */
  readonly prefix?: string | undefined;
}

/** Options of {@link postgresLog}. Defaults in brackets. */
export interface PostgresLogOptions extends PostgresLogTables {
  /** Create the tables when they are not there; the user of the connection needs the right to [false]. */
  readonly create?: boolean | undefined;
  /** How often records are looked for where the client cannot LISTEN ["25ms"]. */
  readonly poll?: Duration | undefined;
  /** Most tags remembered; above it all are forgotten at once, and count as invalidated then [1,000,000]. */
  readonly maxTags?: number | undefined;
}

/** The options once checked. */
export interface ResolvedOptions {
  readonly tables: Tables;
  readonly create: boolean;
  /** Milliseconds. */
  readonly poll: number;
  readonly maxTags: number;
}

const KNOWN = new Set(["schema", "prefix", "create", "poll", "maxTags"]);
/** PostgreSQL cuts names after 63 bytes: two tables would become one. */
const LONGEST_NAME = 63;
/** Room for what follows a prefix: "_followers_pkey". */
const LONGEST_PREFIX = 40;

/** Names of the tables. @throws {OptionError} */
export function resolveTables({ schema, prefix }: PostgresLogTables): Tables {
  return tablesOf(
    name(schema ?? "public", "postgresLog.schema", LONGEST_NAME),
    name(prefix ?? "caching_universal", "postgresLog.prefix", LONGEST_PREFIX),
  );
}

/** Checks the options. @throws {OptionError} */
export function resolveOptions(options: PostgresLogOptions): ResolvedOptions {
  refuseUnknown(options, "postgresLog", (option) => KNOWN.has(option));
  const { create, maxTags } = options;
  if (create !== undefined && typeof create !== "boolean")
    throw new OptionError("postgresLog.create", create, "true or false");
  const poll = milliseconds(options.poll ?? "25ms", "postgresLog.poll");
  if (poll < 1 || poll > 1_000)
    throw new OptionError("postgresLog.poll", options.poll, "a duration between 1ms and 1s");
  if (maxTags !== undefined && !(Number.isSafeInteger(maxTags) && maxTags > 0))
    throw new OptionError("postgresLog.maxTags", maxTags, "a whole number above 0");
  return {
    tables: resolveTables(options),
    create: create ?? false,
    poll,
    maxTags: maxTags ?? 1_000_000,
  };
}

function name(given: unknown, path: string, longest: number): string {
  if (
    typeof given === "string" &&
    given !== "" &&
    !given.includes("\0") &&
    Buffer.byteLength(given) <= longest
  )
    return given;
  throw new OptionError(path, given, `a name of at most ${longest} bytes`);
}
