// The clients that the source serves, each with a way to make a table of its own.
import { randomUUID } from "node:crypto";
import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import type { PostgresClient } from "../../src/sources/postgres.ts";
import { startPostgres } from "../servers.ts";

/** A client, and how it is ended. */
export interface TestClient {
  readonly name: string;
  connect(): Promise<PostgresClient & { end(): Promise<void> }>;
}

export const CLIENTS: readonly TestClient[] = [
  {
    name: "PGlite",
    async connect() {
      const db = await PGlite.create();
      return { query: (text, params) => db.query(text, params), end: () => db.close() };
    },
  },
  {
    name: "a Pool of pg",
    async connect() {
      const server = await startPostgres();
      const pool = new pg.Pool({ connectionString: server.url, max: 4 });
      // An idle connection that the stopping server ends is no news.
      pool.on("error", () => {});
      const end = async () => {
        await pool.end();
        await server.stop();
      };
      return { query: (text, params) => pool.query(text, params), end };
    },
  },
  {
    name: "a Client of pg",
    async connect() {
      const server = await startPostgres();
      const client = new pg.Client({ connectionString: server.url });
      client.on("error", () => {});
      await client.connect();
      const end = async () => {
        await client.end();
        await server.stop();
      };
      return { query: (text, params) => client.query(text, params), end };
    },
  },
];

/** A table's name that no other test has, in a database that may be shared. */
export function tableName(): string {
  return `t_${randomUUID().replaceAll("-", "")}`;
}
