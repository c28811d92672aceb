import { StoreError, show } from "../../base/errors.ts";
import type { Position } from "../../coherence/log.ts";
import type { ServerRecord, Standing } from "../../coherence/log-server.ts";
import type { Reply } from "./redis-link.ts";
import { EVERYTHING, parseRecord } from "./redis-log-record.ts";

/** A text of an answer. */
export function textOf(reply: Reply | undefined): string {
  if (Buffer.isBuffer(reply)) return reply.toString();
  if (typeof reply === "string" || typeof reply === "number") return String(reply);
  throw unexpected(reply);
}

/** A whole number of an answer. */
export function numberOf(reply: Reply | undefined): number {
  const number = Number(textOf(reply));
  if (!Number.isSafeInteger(number)) throw unexpected(reply);
  return number;
}

/** A list of an answer. */
export function listOf(reply: Reply | undefined): readonly Reply[] {
  if (Array.isArray(reply)) return reply;
  throw unexpected(reply);
}

/** A standing of an answer. */
export function standingOf(reply: Reply | undefined): Standing {
  const text = textOf(reply);
  if (text === "same" || text === "trimmed" || text === "other" || text === "new") return text;
  throw unexpected(reply);
}

/** A record as the stream keeps it. */
export interface StreamRecord extends ServerRecord {
  /** Id of the record before it; undefined in one of another format. */
  readonly before: string | undefined;
}

/** What XREAD answers of one stream: none when the wait ended without a record. */
export function recordsOf(reply: Reply): StreamRecord[] {
  if (reply === null) return [];
  const streams = listOf(reply);
  // RESP2: a list of [stream, entries]; RESP3: a map, which clients may give as stream, entries, ...
  const [, entries] = Array.isArray(streams[0]) ? listOf(streams[0]) : streams;
  return listOf(entries).flatMap((entry) => {
    const [id, fields] = listOf(entry);
    const position = positionOf(textOf(id));
    return position === undefined ? [] : [recordOf(position, fields)];
  });
}

function recordOf(position: Position, fields: Reply | undefined): StreamRecord {
  const list = Array.isArray(fields) ? fields : [];
  const field = (name: string): string | undefined => {
    const at = list.findIndex((one, index) => index % 2 === 0 && textOf(one) === name);
    return at < 0 ? undefined : textOf(list[at + 1]);
  };
  const record = field("r");
  return {
    position,
    id: field("i") ?? "",
    before: field("a"),
    record: record === undefined ? EVERYTHING : parseRecord(record),
  };
}

/** The scripts of the log give every record an id that ends in `-0`: others are not of this log. */
function positionOf(id: string): Position | undefined {
  const position = Number(/^(\d+)-0$/.exec(id)?.[1]);
  return Number.isSafeInteger(position) ? position : undefined;
}

function unexpected(reply: Reply | undefined): StoreError {
  return new StoreError(`Redis gave an answer that the log does not know: ${show(reply)}.`);
}
