import { SENTINEL, type Tables } from "./schema.ts";

/** Records kept; a follower that is further behind starts again. */
export const KEPT = 100_000;

/**
 * The statements of the log. Each is atomic by itself, in whatever isolation level the connection has; parameters
 * are all of type text, so that every client sends them alike. `$1` is the cache's name.
 */
export interface Statements {
  /** $2 records, $3 tags, $4 patterns (JSON), $5 number of records, $6 id of the last, $7 new generation, $8 channel. */
  readonly append: string;
  /** $2 new generation, $3 the one it replaces, $4 position it must be above, $5 lease. No row: another is current. */
  readonly found: string;
  /** $2 applied position, $3 its id, $4 node, $5 lease. No row: the log is not there. "broken": a part of it is not. */
  readonly join: string;
  /** $2 position, $3 limit. */
  readonly read: string;
  readonly head: string;
  /** $2 position. */
  readonly unacknowledged: string;
  /** $2 node. */
  readonly leave: string;
  /** Takes followers off the list that were not heard of for long. */
  readonly prune: string;
  /** $2 tags (JSON). The row without a tag is the head's. */
  readonly tagPositions: string;
  readonly countTags: string;
  /** $2 number of tags counted: how many marks that many tags stand for. */
  readonly recountTags: string;
  /** $2 most marks: forgets all tags and raises the floor, if there are still more. */
  readonly forgetTags: string;
  readonly patterns: string;
  /** $2 position, $3 record. */
  readonly swept: string;
}

const sentinel = `'${SENTINEL}'`;
const later = (lease: string): string =>
  `clock_timestamp() + ${lease}::text::float8 * interval '1 millisecond'`;

export function statementsOf(t: Tables): Statements {
  return {
    // The update comes first, since all else takes rows from it, and its row lock is held until the commit is
    // visible: appends of one name run one after another, so positions have no gap, and whoever sees n + 1 sees n.
    append: `WITH head AS (
  UPDATE ${t.head} SET position = position + $5::text::bigint, id = coalesce($6::text, id),
    generation = coalesce($7::text, generation),
    marks = marks + json_array_length($3::text::json)
  WHERE name = $1::text
  RETURNING generation, position, position - $5::text::bigint AS base, marks
), kept AS (
  INSERT INTO ${t.records} (name, position, id, record)
  SELECT $1::text, head.base + r.at, r.id, r.record
  FROM head, json_to_recordset($2::text::json) AS r(at bigint, id text, record text)
), marked AS (
  INSERT INTO ${t.tags} AS known (name, tag, hard, soft)
  SELECT $1::text, m.tag, coalesce(head.base + m.hard, 0), coalesce(head.base + m.soft, 0)
  FROM head, json_to_recordset($3::text::json) AS m(tag text, hard bigint, soft bigint)
  ON CONFLICT (name, tag) DO UPDATE SET
    hard = greatest(known.hard, excluded.hard), soft = greatest(known.soft, excluded.soft)
), active AS (
  INSERT INTO ${t.patterns} (name, position, record)
  SELECT $1::text, head.base + p.at, p.record
  FROM head, json_to_recordset($4::text::json) AS p(at bigint, record text)
), trimmed AS (
  DELETE FROM ${t.records} WHERE name = $1::text
    AND position > (SELECT base FROM head) - ${KEPT + 100} AND position <= (SELECT position FROM head) - ${KEPT}
)
SELECT generation, position, marks, pg_notify($8::text, position::text) FROM head`,

    found: `WITH place AS (
  SELECT greatest(
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    $4::text::bigint + 1,
    (SELECT max(position) + 1 FROM ${t.records} WHERE name = $1::text)
  ) AS position
), head AS (
  INSERT INTO ${t.head} AS was (name, generation, position, id, founded, founded_id, marks)
  SELECT $1::text, $2::text, position, $2::text, position, $2::text, 0 FROM place
  ON CONFLICT (name) DO UPDATE SET generation = excluded.generation, id = excluded.id,
    founded_id = excluded.founded_id, position = greatest(excluded.position, was.position + 1),
    founded = greatest(excluded.position, was.position + 1)
  WHERE was.generation = $3::text
  RETURNING position
), records AS (
  DELETE FROM ${t.records} WHERE name = $1::text AND position < (SELECT position FROM head)
), patterns AS (
  DELETE FROM ${t.patterns} WHERE name = $1::text AND position > 0 AND position < (SELECT position FROM head)
), no_pattern AS (
  INSERT INTO ${t.patterns} (name, position, record) SELECT $1::text, 0, ${sentinel} FROM head
  ON CONFLICT (name, position) DO NOTHING
), no_tag AS (
  INSERT INTO ${t.tags} (name, tag, hard, soft) SELECT $1::text, ${sentinel}, 0, 0 FROM head
  ON CONFLICT (name, tag) DO NOTHING
), unknown AS (
  INSERT INTO ${t.followers} (name, node, acked, until)
  SELECT $1::text, ${sentinel}, 0, ${later("$5")} FROM head
  ON CONFLICT (name, node) DO UPDATE SET until = excluded.until
)
SELECT position FROM head`,

    // Who applied nothing of this history acknowledges nothing: it may serve what it had until it has the answer.
    join: `WITH head AS (
  SELECT generation, position, id, founded, founded_id,
    EXISTS (SELECT FROM ${t.tags} WHERE name = $1::text AND tag = ${sentinel})
    AND EXISTS (SELECT FROM ${t.patterns} WHERE name = $1::text AND position = 0)
    AND EXISTS (SELECT FROM ${t.followers} WHERE name = $1::text AND node = ${sentinel}) AS whole
  FROM ${t.head} WHERE name = $1::text
), known AS (
  SELECT head.*, $2::text::bigint AS applied, CASE $2::text::bigint
    WHEN head.position THEN head.id
    WHEN head.founded THEN head.founded_id
    ELSE (SELECT id FROM ${t.records} WHERE name = $1::text AND position = $2::text::bigint)
  END AS applied_id FROM head
), standing AS (
  SELECT known.*, CASE
    WHEN NOT whole THEN 'broken'
    WHEN applied IS NULL THEN 'new'
    WHEN applied > position OR applied < founded OR applied_id <> $3::text THEN 'other'
    WHEN applied_id IS NULL THEN 'trimmed'
    WHEN applied < position AND NOT EXISTS (
      SELECT FROM ${t.records} AS r WHERE r.name = $1::text AND r.position = applied + 1
    ) THEN 'trimmed'
    ELSE 'same'
  END AS standing FROM known
), joined AS (
  INSERT INTO ${t.followers} (name, node, acked, until)
  SELECT $1::text, $4::text, CASE WHEN standing IN ('same', 'trimmed') THEN applied ELSE 0 END, ${later("$5")}
  FROM standing WHERE whole
  ON CONFLICT (name, node) DO UPDATE SET acked = excluded.acked, until = excluded.until
)
SELECT generation, position, id, standing, (
  SELECT extract(epoch FROM until - clock_timestamp())::float8 * 1000 FROM ${t.followers}
  WHERE name = $1::text AND node = $4::text
) AS remaining FROM standing`,

    read: `SELECT position, id, record FROM ${t.records}
WHERE name = $1::text AND position > $2::text::bigint ORDER BY position LIMIT $3::text::bigint`,

    head: `SELECT generation, position FROM ${t.head} WHERE name = $1::text`,

    unacknowledged: `SELECT coalesce(max(extract(epoch FROM until - clock_timestamp())), 0)::float8 * 1000 AS remaining
FROM ${t.followers} WHERE name = $1::text AND acked < $2::text::bigint AND until > clock_timestamp()`,

    leave: `DELETE FROM ${t.followers} WHERE name = $1::text AND node = $2::text`,

    prune: `DELETE FROM ${t.followers} WHERE (name, node) IN (
  SELECT name, node FROM ${t.followers}
  WHERE name = $1::text AND node <> ${sentinel} AND until < clock_timestamp() - interval '1 minute'
  LIMIT 1000 FOR UPDATE SKIP LOCKED
)`,

    tagPositions: `SELECT tag, hard, soft FROM ${t.tags}
WHERE name = $1::text AND tag = ANY (ARRAY(SELECT json_array_elements_text($2::text::json)))
UNION ALL SELECT NULL, position, founded FROM ${t.head} WHERE name = $1::text`,

    countTags: `SELECT count(*)::text AS tags FROM ${t.tags} WHERE name = $1::text`,

    recountTags: `UPDATE ${t.head} SET marks = $2::text::bigint WHERE name = $1::text`,

    // A tag that an append marks meanwhile stays, or goes with a position that the floor covers.
    forgetTags: `WITH floor AS (
  UPDATE ${t.head} SET marks = 0 WHERE name = $1::text AND marks > $2::text::bigint RETURNING position
), raised AS (
  UPDATE ${t.tags} SET hard = floor.position, soft = floor.position FROM floor
  WHERE name = $1::text AND tag = ${sentinel}
)
DELETE FROM ${t.tags} WHERE name = $1::text AND tag <> ${sentinel}
  AND greatest(hard, soft) <= (SELECT position FROM floor)`,

    patterns: `SELECT position, record FROM ${t.patterns} WHERE name = $1::text AND position > 0 ORDER BY position`,

    swept: `DELETE FROM ${t.patterns} WHERE name = $1::text AND position = $2::text::bigint AND record = $3::text`,
  };
}
