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
  }

  close(): void {
    this.#closed = true;
    this.drop();
  }

  #connect(): Attempt {
    if (this.#abandoned >= MOST_ABANDONED)
      throw new StoreError("PostgreSQL's pool lends no client: is it large enough, and the server there?");
    let lending = true;
    let dropped = false;
    let lent: LentClient | undefined;
    const ended = (): void => {
      if (dropped) return;
      attempt.drop();
      this.#bell.fail(new StoreError("The connection that follows the log was lost."));
    };
    const begin = async (): Promise<LentClient> => {
      try {
        lent = await this.#pool.connect();
      } finally {
        lending = false;
        if (dropped) this.#abandoned--;
      }
      // These listeners stay: a connection that is destroyed may tell of more trouble.
      lent.on("error", ended);
      lent.on("end", ended);
      if (dropped) {
        lent.release(true);
        throw new StoreError("The connection was given up.");
      }
      lent.on("notification", () => this.#bell.ring());
      await lent.query(`LISTEN ${quoted(this.#channel)}`);
      return lent;
    };
    const attempt: Attempt = {
      ready: begin(),
      drop: () => {
        if (dropped) return;
        dropped = true;
        if (this.#attempt === attempt) this.#attempt = undefined;
        if (lending) this.#abandoned++;
        else lent?.release(true);
      },
    };
    attempt.ready.catch(attempt.drop);
    return attempt;
  }
}
