/** The log's tables, quoted, with their schema. All cache names share them. */
export interface Tables {
  readonly schema: string;
  /** One row a cache: where its log stands. Its lock orders all appends. */
  readonly head: string;
  /** The newest records. */
  readonly records: string;
  /** Tag -> positions of its last invalidations. */
  readonly tags: string;
  /** Invalidations by pattern that are not swept yet. */
  readonly patterns: string;
  /** Who follows, how far it came, and until when it trusts what it knows. */
  readonly followers: string;
}

/**
 * The row that founding a log puts into each table besides `head` and `records`: where it is missing, the table
 * was emptied, and what it held is lost. No tag and no node has this name: JSON leaves no quote bare.
 */
export const SENTINEL = '"';

/** A name in double quotes, so that no content of it can end it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function tablesOf(schema: string, prefix: string): Tables {
  const table = (suffix: string): string => `${quoted(schema)}.${quoted(`${prefix}_${suffix}`)}`;
  return {
    schema,
    head: table("head"),
    records: table("records"),
    tags: table("tags"),
    patterns: table("patterns"),
    followers: table("followers"),
  };
}

/**
 * Statements that create the tables, one by one. Texts compare byte by byte ("C"): other collations are slower, and
 * some take different texts for equal. `head` and `followers` are updated all the time: room on their pages keeps
 * those updates off the indexes.
 */
export function createTables(t: Tables): string[] {
  const name = `name text COLLATE "C" NOT NULL`;
  return [
    `CREATE TABLE IF NOT EXISTS ${t.head} (
  ${name} PRIMARY KEY,
  generation text COLLATE "C" NOT NULL,
  position bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  founded bigint NOT NULL,
  founded_id text COLLATE "C" NOT NULL,
  marks bigint NOT NULL
) WITH (fillfactor = 20)`,
    `CREATE TABLE IF NOT EXISTS ${t.records} (
  ${name},
  position bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  record text NOT NULL,
  PRIMARY KEY (name, position)
)`,
    `CREATE TABLE IF NOT EXISTS ${t.tags} (
  ${name},
  tag text COLLATE "C" NOT NULL,
  hard bigint NOT NULL,
  soft bigint NOT NULL,
  PRIMARY KEY (name, tag)
) WITH (fillfactor = 80)`,
    `CREATE TABLE IF NOT EXISTS ${t.patterns} (
  ${name},
  position bigint NOT NULL,
  record text COLLATE "C" NOT NULL,
  PRIMARY KEY (name, position)
)`,
    `CREATE TABLE IF NOT EXISTS ${t.followers} (
  ${name},
  node text COLLATE "C" NOT NULL,
  acked bigint NOT NULL,
  until timestamptz NOT NULL,
  PRIMARY KEY (name, node)
) WITH (fillfactor = 20)`,
  ];
}
