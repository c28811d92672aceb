import { createHash, randomBytes } from "node:crypto";
import { reason, StoreError } from "../../base/errors.ts";
import {
  type ActivePattern,
  isPattern,
  type LayerContext,
  type LogHead,
  type LogRecord,
  type Position,
  type TagPositions,
} from "../log.ts";
import type { Applied, LogServer, ServerHead, ServerRecord, SignedRecord, Standing } from "../log-server.ts";
import { AppendQueue } from "./append-queue.ts";
import { Bell } from "./bell.ts";
import { isPool, type Params, type PostgresLogClient, type Row } from "./client.ts";
import { type Link, plainLink, pooledLink } from "./link.ts";
import type { ResolvedOptions } from "./options.ts";
import { asciiJson, keyText, patternText } from "./plain-text.ts";
import { createTables, SENTINEL } from "./schema.ts";
import { type Statements, statementsOf } from "./statements.ts";

/** Later than every position: what cannot be told counts as invalidated. */
const UNKNOWN = Number.MAX_SAFE_INTEGER;

/** How often a statement that lost against another is tried again. */
const TRIES = 10;
/** How often dead followers are taken off the list, in milliseconds. */
const PRUNE_EVERY = 60_000;
/** Tags are counted when so many may be there; they are forgotten when this part of them is. */
const NEARLY_ALL = 0.9;

/** The log of one cache in PostgreSQL's tables: what each step promises is said where its statement is. */
export class PostgresLogServer implements LogServer {
  readonly name = "postgres";
  readonly #cache: string;
  readonly #channel: string;
  readonly #context: LayerContext;
  readonly #options: ResolvedOptions;
  readonly #sql: Statements;
  readonly #bell: Bell;
  readonly #link: Link;
  readonly #queue = new AppendQueue((records) => this.#send(records));
  #prunedAt: number;
  #trimming: Promise<void> | undefined;
  #closed = false;

  constructor(client: PostgresLogClient, options: ResolvedOptions, context: LayerContext) {
    const { clock } = context;
    this.#cache = keyText(context.cacheName);
    const whose = createHash("sha256").update(`${options.tables.head}\0${this.#cache}`).digest("hex");
    this.#channel = `caching_universal_${whose.slice(0, 32)}`;
    this.#context = context;
    this.#options = options;
    this.#sql = statementsOf(options.tables);
    this.#bell = new Bell(clock);
    this.#link = isPool(client)
      ? pooledLink(client, this.#channel, this.#bell, clock)
      : plainLink(client, clock);
    this.#prunedAt = clock.now();
  }

  async join(node: string, applied: Applied | undefined, lease: number): Promise<ServerHead> {
    const { clock } = this.#context;
    const params = [this.#cache, text(applied?.position), applied?.id ?? null, node, String(lease)];
    for (let tries = 0; tries < TRIES; tries++) {
      const sentAt = clock.now();
      const [row] = await this.#follow(this.#sql.join, params);
      if (row === undefined || row.standing === "broken") {
        // What this very look saw: another that founded it meanwhile is right.
        await this.#found(row && String(row.generation), 0);
        continue;
      }
      // P3: had its lease run out before the server took this, somebody may have counted on that just when the
      // server looked where the log stands. Now that the lease is known to all, it looks once more.
      const lived = row.remaining !== null && Number(row.remaining) > (clock.now() - sentAt) * 1.01;
      if (applied !== undefined && !lived) continue;
      this.#pruneLater();
      return { ...headOf(row), id: String(row.id), standing: String(row.standing) as Standing }; // as the statement has it
    }
    throw new StoreError("The log in PostgreSQL changes too fast to be joined.");
  }

  append(records: readonly SignedRecord[]): Promise<LogHead> {
    return this.#queue.append(records);
  }

  async read(after: Position, limit: number, wait: number): Promise<readonly ServerRecord[]> {
    const { clock } = this.#context;
    const until = clock.now() + wait;
    for (;;) {
      this.#bell.arm();
      const rows = await this.#follow(this.#sql.read, [this.#cache, String(after), String(limit)]);
      if (rows.length > 0) return rows.map(recordOf);
      const left = until - clock.now();
      if (left <= 0 || this.#closed) return [];
      await this.#bell.wait(this.#link.listens ? left : Math.min(left, this.#options.poll));
    }
  }

  async unacknowledged(position: Position): Promise<number> {
    const [row] = await this.#run(this.#sql.unacknowledged, [this.#cache, String(position)]);
    return Math.ceil(Number(row?.remaining));
  }

  async renounce(generation: string, above: Position): Promise<LogHead> {
    await this.#found(generation, above);
    const [row] = await this.#run(this.#sql.head, [this.#cache]);
    if (row === undefined) throw new StoreError("The log in PostgreSQL went away while it was founded.");
    this.#bell.ring();
    return headOf(row);
  }

  async tagPositions(tags: readonly string[]): Promise<TagPositions[]> {
    const keys = tags.map(keyText);
    const rows = await this.#run(this.#sql.tagPositions, [this.#cache, asciiJson([SENTINEL, ...keys])]);
    const known = new Map(rows.map((row) => [row.tag, { hard: Number(row.hard), soft: Number(row.soft) }]));
    // Without the sentinel the table was emptied: then all counts as invalidated now.
    const head = known.get(null);
    const { hard, soft } = known.get(SENTINEL) ?? {
      hard: head?.hard ?? UNKNOWN,
      soft: head?.hard ?? UNKNOWN,
    };
    // What is older than this history was invalidated with the one before, as far as can be told.
    const founded = head?.soft ?? UNKNOWN;
    return keys.map((key) => {
      const tag = known.get(key);
      return { hard: Math.max(founded, hard, tag?.hard ?? 0), soft: Math.max(soft, tag?.soft ?? 0) };
    });
  }

  async patterns(): Promise<ActivePattern[]> {
    const rows = await this.#run(this.#sql.patterns, [this.#cache]);
    // Written by `append`, which puts only patterns there.
    return rows.map((row) => ({ position: Number(row.position), record: JSON.parse(String(row.record)) }));
  }

  async swept({ position, record }: ActivePattern): Promise<void> {
    await this.#run(this.#sql.swept, [this.#cache, String(position), patternText(record)]);
  }

  async leave(node: string): Promise<void> {
    await this.#run(this.#sql.leave, [this.#cache, node]);
  }

  reconnect(): void {
    this.#link.reconnect();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#bell.ring();
    this.#link.close();
    await this.#queue.close();
    await this.#trimming;
  }

  async #send(records: readonly SignedRecord[]): Promise<LogHead> {
    const params = [this.#cache, ...appendParams(records), this.#channel];
    for (let tries = 0; tries < TRIES; tries++) {
      const [row] = await this.#run(this.#sql.append, params);
      if (row === undefined) {
        await this.#found(undefined, 0);
        continue;
      }
      this.#bell.ring();
      if (Number(row.marks) > this.#options.maxTags) this.#trimming ??= this.#trimTags();
      return headOf(row);
    }
    throw new StoreError("The log in PostgreSQL changes too fast to be appended to.");
  }

  /** Founds the log where it is not there, or anew in place of `generation`; whoever else did so first is right. */
  async #found(generation: string | undefined, above: Position): Promise<void> {
    // P3: followers of what was there before are not known, and may trust it for as long as this process would.
    const lease = String(Math.ceil(this.#context.maxLag * 1.01) + 10);
    const name = randomBytes(12).toString("base64url");
    await this.#run(this.#sql.found, [this.#cache, name, generation ?? null, String(above), lease]);
  }

  async #trimTags(): Promise<void> {
    const { maxTags } = this.#options;
    try {
      const [row] = await this.#run(this.#sql.countTags, [this.#cache]);
      if (Number(row?.tags) > maxTags * NEARLY_ALL)
        await this.#run(this.#sql.forgetTags, [this.#cache, String(maxTags)]);
      else await this.#run(this.#sql.recountTags, [this.#cache, String(row?.tags)]);
    } catch (error) {
      this.#context.warn(`Tags of the log in PostgreSQL could not be trimmed: ${reason(error)}`);
    } finally {
      this.#trimming = undefined;
    }
  }

  #pruneLater(): void {
    const now = this.#context.clock.now();
    if (now - this.#prunedAt < PRUNE_EVERY) return;
    this.#prunedAt = now;
    this.#run(this.#sql.prune, [this.#cache]).catch((error: unknown) =>
      this.#context.warn(`Dead followers stay in PostgreSQL: ${reason(error)}`),
    );
  }

  #run(statement: string, params: Params): Promise<Row[]> {
    return this.#trying(() => this.#link.run(statement, params));
  }

  #follow(statement: string, params: Params): Promise<Row[]> {
    return this.#trying(() => this.#link.follow(statement, params));
  }

  async #trying(work: () => Promise<Row[]>): Promise<Row[]> {
    let created = false;
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        const code = codeOf(error);
        if (tries < TRIES && LOST_AGAINST_ANOTHER.has(code)) continue;
        if (!NO_TABLES.has(code)) throw error;
        if (!this.#options.create || created)
          throw new StoreError(
            "The tables of the log are not in PostgreSQL: run the SQL of postgresLogSchema() once, or pass `create: true`.",
            { cause: error },
          );
        await this.#create();
        created = true;
      }
    }
  }

  async #create(): Promise<void> {
    for (const statement of createTables(this.#options.tables))
      for (let tries = 1; ; tries++) {
        try {
          await this.#link.run(statement, []);
          break;
        } catch (error) {
          // IF NOT EXISTS does not see what another creates at the same moment.
          if (tries >= TRIES || !CREATED_BY_ANOTHER.has(codeOf(error))) throw error;
        }
      }
  }
}

/** Serialization failures, where that isolation level is the default; deadlocks. */
const LOST_AGAINST_ANOTHER = new Set(["40001", "40P01"]);
/** Undefined table, schema, column. */
const NO_TABLES = new Set(["42P01", "3F000", "42703"]);
/** Unique violation (in the catalogue), duplicate table, object or type. */
const CREATED_BY_ANOTHER = new Set(["23505", "42P07", "42710"]);

function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
}

function headOf(row: Row): LogHead {
  return { generation: String(row.generation), position: Number(row.position) };
}

function recordOf(row: Row): ServerRecord {
  const record: LogRecord = JSON.parse(String(row.record)); // written by `append`
  return { position: Number(row.position), id: String(row.id), record };
}

function text(position: Position | undefined): string | null {
  return position === undefined ? null : String(position);
}

/** Parameters 2 to 7 of the statement that appends; places are counted from 1. */
function appendParams(records: readonly SignedRecord[]): (string | null)[] {
  const rows: unknown[] = [];
  const tags = new Map<string, { tag: string; hard?: number; soft?: number }>();
  const patterns: unknown[] = [];
  let generation: string | null = null;
  for (const [index, { id, record }] of records.entries()) {
    const at = index + 1;
    rows.push({ at, id, record: asciiJson(record) });
    if (record.kind === "clear") ({ generation } = record);
    else if (record.kind === "tags")
      for (const key of record.tags.map(keyText))
        tags.set(key, { ...tags.get(key), tag: key, [record.soft === true ? "soft" : "hard"]: at });
    else if (isPattern(record)) patterns.push({ at, record: patternText(record) });
  }
  return [
    asciiJson(rows),
    asciiJson([...tags.values()]),
    asciiJson(patterns),
    String(records.length),
    records.at(-1)?.id ?? null,
    generation,
  ];
}
