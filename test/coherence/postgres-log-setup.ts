// What the tests of the log on PostgreSQL share: clients, fresh tables, and logs that are closed afterwards.
import { randomUUID } from "node:crypto";
import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import { expect, vi } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { LayerContext, Log, LogFactory, LogHead } from "../../src/coherence/log.ts";
import {
  type PostgresLogClient,
  type PostgresLogOptions,
  postgresLog,
} from "../../src/coherence/postgres/index.ts";
import { resolveOptions } from "../../src/coherence/postgres/options.ts";
import { PostgresLogServer } from "../../src/coherence/postgres/postgres-log-server.ts";
import { type RecordingFollower, recordingFollower } from "../../src/testing/log-contract.ts";
import { startPostgres } from "../servers.ts";

export interface Opened {
  readonly log: Log;
  readonly follower: RecordingFollower;
  readonly head: LogHead;
  readonly warnings: string[];
  /** Records it was told of, as positions. */
  positions(): number[];
}

/** A client that logs share, with tables of its own. */
export interface Bench {
  readonly client: PostgresLogClient;
  readonly options: PostgresLogOptions;
  /** A table's name in SQL. */
  table(suffix: string): string;
  sql(text: string, params?: unknown[]): Promise<Record<string, unknown>[]>;
  open(context?: Partial<LayerContext>, client?: PostgresLogClient): Promise<Opened>;
  /** What a log is made of, without the follower's side. */
  server(cacheName?: string, client?: PostgresLogClient, options?: PostgresLogOptions): PostgresLogServer;
  /** Closes everything and drops the tables. */
  end(): Promise<void>;
}

const TABLES = ["head", "records", "tags", "patterns", "followers"];

export function contextOf(context: Partial<LayerContext> = {}): LayerContext {
  return {
    cacheName: "shop",
    maxLag: 5_000,
    clock: systemClock(),
    random: Math.random,
    warn: () => undefined,
    ...context,
  };
}

export function bench(client: PostgresLogClient, extra: PostgresLogOptions = {}): Bench {
  const options = { prefix: `t_${randomUUID().replaceAll("-", "")}`, create: true, ...extra };
  const logs: Log[] = [];
  const servers: PostgresLogServer[] = [];
  const sql = async (text: string, params?: unknown[]) => (await client.query(text, params)).rows;
  const table = (suffix: string): string => `public.${options.prefix}_${suffix}`;
  return {
    client,
    options,
    table,
    sql,
    async open(context = {}, other = client) {
      const warnings: string[] = [];
      const log = postgresLog(other, options)(contextOf({ warn: (text) => warnings.push(text), ...context }));
      logs.push(log);
      const follower = recordingFollower();
      const positions = () => follower.seen.map(({ position }) => position);
      return { log, follower, head: await log.open(follower), warnings, positions };
    },
    server(cacheName = "shop", other = client, more = {}) {
      const server = new PostgresLogServer(
        other,
        resolveOptions({ ...options, ...more }),
        contextOf({ cacheName }),
      );
      servers.push(server);
      return server;
    },
    async end() {
      for (const log of logs) await log.close();
      for (const server of servers) await server.close();
      for (const name of TABLES) await sql(`DROP TABLE IF EXISTS ${table(name)}`);
    },
  };
}

/** A log whose `catchUp` resolves once its follower has all there is: the contract's clock moves no network. */
export function caughtUp(factory: LogFactory, sql: Bench["sql"], head: string): LogFactory {
  return (context) => {
    const log = factory({ ...context, maxLag: 5_000, clock: systemClock() });
    let applied = 0;
    const catchUp = () =>
      vi.waitFor(async () => {
        const [row] = await sql(`SELECT position FROM ${head}`);
        if (Number(row?.position) !== applied) throw new Error("It has not applied everything.");
      });
    return new Proxy(log, {
      get(target, property) {
        if (property === "catchUp") return catchUp;
        if (property === "open")
          return async (follower: RecordingFollower) => {
            const begin = await target.open({
              apply(records) {
                applied = records.at(-1)?.position ?? applied;
                follower.apply(records);
              },
              reset: follower.reset,
            });
            applied = Math.max(applied, begin.position);
            return begin;
          };
        const value: unknown = Reflect.get(target, property);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
}

export interface TestClient {
  readonly name: string;
  connect(): Promise<{ client: PostgresLogClient; end(): Promise<void> }>;
}

/** A pool whose connections may break without ending the process. */
export function poolOf(url: string, more: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 12, ...more });
  pool.on("error", () => {});
  return pool;
}

export const CLIENTS: readonly TestClient[] = [
  {
    name: "a Pool of pg",
    async connect() {
      const server = await startPostgres();
      const pool = poolOf(server.url);
      return {
        client: pool,
        async end() {
          await pool.end();
          await server.stop();
        },
      };
    },
  },
  {
    name: "PGlite",
    async connect() {
      const db = await PGlite.create();
      return { client: { query: (text, params) => db.query(text, params) }, end: () => db.close() };
    },
  },
  {
    name: "a Client of pg",
    async connect() {
      const server = await startPostgres();
      const client = new pg.Client({ connectionString: server.url });
      client.on("error", () => {});
      await client.connect();
      return {
        client,
        async end() {
          await client.end();
          await server.stop();
        },
      };
    },
  },
];

/** A record that invalidates keys. */
export const keys = (...list: string[]) => [{ kind: "keys", keys: list } as const] as const;

export const signed = (id: string) => [{ id, record: keys("k")[0] }];

/** For what a test knows to be there. */
export function never(): never {
  throw new Error("There is nothing.");
}

/** Waits until a log was told of the record at `position`, as the last one, or began anew with it behind. */
export const saw = (opened: Opened, position: number) =>
  vi.waitFor(() => {
    const { head } = opened.follower.resets.at(-1) ?? opened;
    expect(opened.positions().at(-1) === position || head.position >= position).toBe(true);
  }, 5_000);
