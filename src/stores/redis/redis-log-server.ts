import { randomBytes } from "node:crypto";
import { StoreError } from "../../base/errors.ts";
import {
  type ActivePattern,
  isPattern,
  type LogHead,
  type Position,
  type TagPositions,
} from "../../coherence/log.ts";
import type {
  Applied,
  LogServer,
  ServerHead,
  ServerRecord,
  SignedRecord,
} from "../../coherence/log-server.ts";
import type { DedicatedNode, RedisLink, Reply, Script } from "./redis-link.ts";
import { isSamePattern, parsePattern, parseRecord } from "./redis-log-record.ts";
import { listOf, numberOf, recordsOf, standingOf, textOf } from "./redis-log-reply.ts";
import { runScript } from "./run-script.ts";
import {
  logAppendScript,
  logJoinScript,
  logPatternsScript,
  logRenounceScript,
  logSweptScript,
  logUnacknowledgedScript,
} from "./scripts.ts";

/** How much a log keeps. */
export interface LogBounds {
  /** Records (Redis drops the oldest in blocks, so somewhat more); a process further behind starts again. */
  readonly records: number;
  /** Tags whose last invalidation is remembered; beyond it, all count as invalidated. */
  readonly tags: number;
  /** Patterns not yet swept; beyond it, one takes their place that concerns every entry. */
  readonly patterns: number;
}

/** Marks the founding or the run that a table belongs to: no node and no position is named so. */
const MARKER = "@";
/** Later than every position: what cannot be told counts as invalidated. */
const UNKNOWN: TagPositions = { hard: Number.MAX_SAFE_INTEGER, soft: Number.MAX_SAFE_INTEGER };

/**
 * The log of one cache in Redis: a stream, and beside it in the same hash slot three tables. What a step must
 * see and do at one moment is one script. `join` and `read` use one connection, so that what they answer is
 * of one server.
 */
export class RedisLogServer implements LogServer {
  readonly name = "redis";
  readonly #link: RedisLink;
  readonly #released: () => Promise<void>;
  readonly #bounds: LogBounds;
  readonly #log: string;
  readonly #head: string;
  readonly #patterns: string;
  readonly #keys: readonly string[];
  readonly #dedicated: DedicatedNode;
  /** A history founded in this program's sight lies above every position it has seen. */
  #highest: Position = 0;
  /** Name of the founding that this process's follower is in. */
  #founding: string | undefined;
  /** Name of the server process that last confirmed what this process's follower applied. */
  #confirmedBy = "";
  /** The last record that was answered: the next one names it, or is of another history. */
  #last: Applied | undefined;
  #lease = 0;

  /**
   * @param name what tells the keys of this log from those of others: the cache's name.
   * @param released called when the log does not use the link any more.
   */
  constructor(link: RedisLink, name: string, bounds: LogBounds, released: () => Promise<void>) {
    this.#link = link;
    this.#released = released;
    this.#bounds = bounds;
    const slot = slotOf(name);
    this.#log = `${slot}:@log`;
    this.#head = `${slot}:@head`;
    this.#patterns = `${slot}:@patterns`;
    this.#keys = [this.#log, this.#head, `${slot}:@followers`, this.#patterns];
    this.#dedicated = link.dedicated(this.#log);
  }

  async join(node: string, applied: Applied | undefined, lease: number): Promise<ServerHead> {
    this.#lease = Math.ceil(lease);
    this.#see(applied?.position ?? 0);
    const [generation, at, id, standing, founding, run] = listOf(
      await runScript((command) => this.#dedicated.send(command), logJoinScript, this.#keys, [
        ...this.#founder(),
        ...[node, String(applied?.position ?? ""), applied?.id ?? "", this.#confirmedBy],
      ]),
    );
    const head = { generation: textOf(generation), position: this.#see(numberOf(at)), id: textOf(id) };
    const answer = standingOf(standing);
    // A follower that must begin again is in the history it came from until it has.
    if (answer !== "other") {
      this.#founding = textOf(founding);
      this.#confirmedBy = textOf(run);
      this.#last = answer === "same" ? applied : head;
    }
    return { ...head, standing: answer };
  }

  async append(records: readonly SignedRecord[]): Promise<LogHead> {
    const { records: kept, tags, patterns } = this.#bounds;
    return this.#headOf(
      await this.#run(
        logAppendScript,
        [kept, tags, patterns].map(String).concat(records.flatMap(argumentsOf)),
      ),
    );
  }

  async read(after: Position, limit: number, wait: number): Promise<readonly ServerRecord[]> {
    const records = recordsOf(
      await this.#dedicated.send([
        ...["xread", "count", String(limit), "block", String(Math.max(1, Math.floor(wait)))],
        ...["streams", this.#log, `${after}-0`],
      ]),
    );
    let last = this.#last?.position === after ? this.#last : undefined;
    for (const { position, id, before } of records) {
      // The connection was made anew in between, to a server with another history that goes on from the same place.
      if (last !== undefined && position === last.position + 1 && before !== undefined && before !== last.id)
        throw new StoreError("Redis has another history of the log than it had.");
      last = { position, id };
    }
    if (last !== undefined) this.#last = last;
    this.#see(last?.position ?? 0);
    return records;
  }

  async unacknowledged(position: Position): Promise<number> {
    return numberOf(await this.#run(logUnacknowledgedScript, [String(position)]));
  }

  async renounce(generation: string, above: Position): Promise<LogHead> {
    this.#see(above);
    const next = newName();
    const record = JSON.stringify({ kind: "clear", generation: next });
    return this.#headOf(await this.#run(logRenounceScript, [generation, record], next));
  }

  async tagPositions(tags: readonly string[]): Promise<TagPositions[]> {
    if (tags.length === 0) return [];
    const fields = tags.flatMap((tag) => [`h:${tag}`, `s:${tag}`]);
    const [founding, floor, ...found] = listOf(
      await this.#link.send(this.#head, ["hmget", this.#head, "bg", "f", ...fields]),
    );
    // No head, or positions of another history, which say nothing of entries of this one.
    if (founding === null || floor === null) return tags.map(() => UNKNOWN);
    if (this.#founding !== undefined && textOf(founding) !== this.#founding) return tags.map(() => UNKNOWN);
    const lowest = numberOf(floor);
    const at = (reply: Reply | undefined): Position =>
      reply === null ? lowest : Math.max(lowest, numberOf(reply));
    return tags.map((_, index) => ({ hard: at(found[2 * index]), soft: at(found[2 * index + 1]) }));
  }

  async patterns(): Promise<ActivePattern[]> {
    const table = listOf(await this.#run(logPatternsScript, []));
    const active: ActivePattern[] = [];
    for (let at = 0; at + 1 < table.length; at += 2) {
      const field = textOf(table[at]);
      if (field !== MARKER) active.push(parsePattern(Number(field), textOf(table[at + 1])));
    }
    return active.sort((a, b) => a.position - b.position);
  }

  async swept({ position, record }: ActivePattern): Promise<void> {
    const field = String(position);
    const found = await this.#link.send(this.#patterns, ["hget", this.#patterns, field]);
    // After a loss, another pattern may have this position.
    if (found === null || !isSamePattern(parseRecord(textOf(found)), record)) return;
    await this.#link.run(logSweptScript, [this.#patterns], [field, textOf(found)]);
  }

  async leave(node: string): Promise<void> {
    const followers = this.#keys[2] ?? "";
    await this.#link.send(followers, ["hdel", followers, node]);
  }

  reconnect(): void {
    this.#dedicated.reconnect();
  }

  async close(): Promise<void> {
    await this.#dedicated.close();
    await this.#released();
  }

  #run(script: Script, args: readonly string[], name?: string): Promise<Reply> {
    return this.#link.run(script, this.#keys, [...this.#founder(name), ...args]);
  }

  /** What every script is told, should it have to found a history. */
  #founder(name = newName()): string[] {
    return [name, String(this.#highest), String(this.#lease)];
  }

  #headOf(reply: Reply): LogHead {
    const [generation, position] = listOf(reply);
    return { generation: textOf(generation), position: this.#see(numberOf(position)) };
  }

  #see(position: Position): Position {
    this.#highest = Math.max(this.#highest, position);
    return position;
  }
}

/** A record as the append script takes it: id, JSON, what else it is, how many arguments follow, these. */
function argumentsOf({ id, record }: SignedRecord): string[] {
  const json = JSON.stringify(record);
  if (record.kind === "tags")
    return [id, json, record.soft === true ? "s" : "h", String(record.tags.length), ...record.tags];
  if (record.kind === "clear") return [id, json, "c", "1", record.generation];
  return [id, json, isPattern(record) ? "p" : "-", "0"];
}

/** A name that no generation had: 48 random bits. */
function newName(): string {
  return randomBytes(6).toString("base64url");
}

/** The hash tag of the keys; a brace or an empty name would not make one, and put them into different slots. */
function slotOf(name: string): string {
  const safe = name.replace(/[%{}]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `{${safe === "" ? "%" : safe}}`;
}
