import { StoreError } from "../../base/errors.ts";
import type { Bell } from "./bell.ts";
import type { LentClient, Params, PostgresPool, Row } from "./client.ts";
import { quoted } from "./schema.ts";

/** Connections given up that the pool has not handed out yet: more are not asked for meanwhile. */
const MOST_ABANDONED = 2;

/** One try to have a connection. */
interface Attempt {
  readonly ready: Promise<LentClient>;
  /** Gives the connection up, at once or as soon as the pool lends it. */
  drop(): void;
}

/**
 * The follower's own connection, lent by the pool for as long as it lives, which listens on the log's channel. It
 * is made when it is needed and made anew after it was lost or dropped.
 */
export class FollowerConnection {
  readonly #pool: PostgresPool;
  readonly #channel: string;
  readonly #bell: Bell;
  #attempt: Attempt | undefined;
  #abandoned = 0;
  #closed = false;

  constructor(pool: PostgresPool, channel: string, bell: Bell) {
    this.#pool = pool;
    this.#channel = channel;
    this.#bell = bell;
  }

  async query(text: string, params: Params): Promise<Row[]> {
    if (this.#closed) throw new StoreError("The log's connection is closed.");
    this.#attempt ??= this.#connect();
    const client = await this.#attempt.ready;
    return (await client.query(text, [...params])).rows;
  }

  drop(): void {
    this.#attempt?.drop();
    this.#attempt = undefined;
  }

  close(): void {
    this.#closed = true;
    this.drop();
  }

  #connect(): Attempt {
    if (this.#abandoned >= MOST_ABANDONED)
      throw new StoreError("PostgreSQL's pool lends no client: is it large enough, and the server there?");
    let dropped = false;
    let connected: LentClient | undefined;
    const ended = (): void => {
      if (dropped) return;
      attempt.drop();
      this.#bell.fail(new StoreError("The connection that follows the log was lost."));
    };
    const begin = async (): Promise<LentClient> => {
      let client: LentClient;
      try {
        client = await this.#pool.connect();
      } finally {
        if (dropped) this.#abandoned--;
      }
      // Its listeners stay: a connection that is destroyed may tell of more trouble.
      client.on("error", ended);
      client.on("end", ended);
      if (dropped) {
        client.release(true);
        throw new StoreError("The connection was given up.");
      }
      connected = client;
      client.on("notification", () => this.#bell.ring());
      await client.query(`LISTEN ${quoted(this.#channel)}`);
      return client;
    };
    const attempt: Attempt = {
      ready: begin(),
      drop: () => {
        if (dropped) return;
        dropped = true;
        if (this.#attempt === attempt) this.#attempt = undefined;
        if (connected === undefined) this.#abandoned++;
        else connected.release(true);
      },
    };
    let connecting = true;
    attempt.ready
      .catch(() => {
        // Nobody else may wait for it; whoever does is told too. What failed before it was lent is not abandoned.
        if (connecting && connected === undefined && !dropped) {
          dropped = true;
          if (this.#attempt === attempt) this.#attempt = undefined;
        } else attempt.drop();
      })
      .finally(() => {
        connecting = false;
      });
    return attempt;
  }
}
