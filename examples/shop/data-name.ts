import type { Database } from "./database.ts";

/**
 * The name of the data in the database, under which stores on other machines keep what they cache of it: the same
 * for all shops on this database, another when the data is made anew.
 * @param layers the shared layers now in use.
 * @returns undefined when others were in use last, or none: what these hold may be older than the data.
 */
export async function dataName(database: Database, layers: string): Promise<string | undefined> {
  // Columns of their own rather than part of the table, for databases that were filled before there were any.
  await database.query(
    "alter table shop_seed add column if not exists name text, add column if not exists layers text",
  );
  const { rows } = await database.query<{ name: string }>("select name from shop_seed where layers = $1", [
    layers,
  ]);
  return rows[0]?.name;
}

/** Gives the data a new name, so that nothing is found of what was cached under its old one. */
export async function renameData(database: Database, layers: string): Promise<string> {
  const { rows } = await database.query<{ name: string }>(
    "update shop_seed set name = left(gen_random_uuid()::text, 8), layers = $1 returning name",
    [layers],
  );
  const [row] = rows;
  if (row === undefined) throw new Error("The database is not filled: there is nothing to name.");
  return row.name;
}
