import type { Clock } from "../../base/clock.ts";
import { StoreError } from "../../base/errors.ts";
import type { Bell } from "./bell.ts";
import { type Params, type PostgresLogClient, type PostgresPool, type Row, within } from "./client.ts";
import { FollowerConnection } from "./follower-connection.ts";

/** Longest time in milliseconds that a statement outside the follower's connection may take. */
const STATEMENT_TIMEOUT = 5_000;

/** How the log talks to PostgreSQL. */
export interface Link {
  /** Whether the bell rings by itself when there are records; otherwise they are looked for. */
  readonly listens: boolean;
  /** Runs a statement; rejects when it takes too long. */
  run(text: string, params: Params): Promise<Row[]>;
  /** Runs a statement on the follower's own connection, where it has one. Its caller watches the time. */
  follow(text: string, params: Params): Promise<Row[]>;
  /** Drops the follower's connection: the next statement there makes another. */
  reconnect(): void;
  close(): void;
}

/** With a pool: statements take a client each, and the follower holds one that listens on `channel`. */
export function pooledLink(pool: PostgresPool, channel: string, bell: Bell, clock: Clock): Link {
  const own = new FollowerConnection(pool, channel, bell);
  return {
    listens: true,
    run: (text, params) => runOnPool(pool, text, params, clock),
    follow: (text, params) => own.query(text, params),
    reconnect: () => own.drop(),
    close: () => own.close(),
  };
}

/** With anything that has `query`. */
export function plainLink(client: PostgresLogClient, clock: Clock): Link {
  const query = async (text: string, params: Params): Promise<Row[]> =>
    (await ("connect" in client ? inTurn(client, text, params) : client.query(text, [...params]))).rows;
  return {
    listens: false,
    run: (text, params) => within(clock, STATEMENT_TIMEOUT, query(text, params)),
    follow: query,
    reconnect: () => {},
    close: () => {},
  };
}

/** The last statement of each `Client` of `pg`, which takes one after another and will not queue them itself. */
const lastOf = new WeakMap<PostgresLogClient, Promise<unknown>>();

function inTurn(client: PostgresLogClient, text: string, params: Params): ReturnType<typeof client.query> {
  const answer = (lastOf.get(client) ?? Promise.resolve()).then(() => client.query(text, [...params]));
  lastOf.set(
    client,
    answer.catch(() => {}),
  );
  return answer;
}

async function runOnPool(pool: PostgresPool, text: string, params: Params, clock: Clock): Promise<Row[]> {
  const lending = pool.connect();
  let late = false;
  let destroy: (() => void) | undefined;
  const work = async (): Promise<Row[]> => {
    const client = await lending;
    if (late) {
      client.release();
      throw new StoreError("PostgreSQL's pool had no client in time.");
    }
    // A connection that breaks tells its query, and this event, which ends the process when nobody listens.
    const broken = (): void => {};
    client.on("error", broken);
    let released = false;
    const release = (gone: boolean): void => {
      if (released) return;
      released = true;
      // One that is destroyed may tell of more trouble.
      if (!gone) client.off("error", broken);
      client.release(gone);
    };
    destroy = () => release(true);
    try {
      return (await client.query(text, [...params])).rows;
    } finally {
      release(false);
    }
  };
  try {
    return await within(clock, STATEMENT_TIMEOUT, work());
  } catch (error) {
    // When it was the time that ran out, the connection is of no use: its answer would be the next one's.
    late = true;
    destroy?.();
    throw error;
  }
}
