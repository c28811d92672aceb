import { isPattern } from "../../src/coherence/log.ts";
import type { LogServer, ServerHead, ServerRecord } from "../../src/coherence/log-server.ts";
import { RemoteLog } from "../../src/coherence/remote-log.ts";
import type { ActivePattern, LayerContext, LogFactory, TagPositions } from "../../src/index.ts";

/** What a test does to the server. */
export interface MapLogServer {
  /** The log of a process that uses it. */
  readonly factory: LogFactory;
  /** A connection to it, below the log. */
  connect(context: LayerContext): LogServer;
  /** Calls by method. */
  readonly calls: Record<string, number>;
  /** Everything is gone, as after FLUSHALL or a restart. */
  flush(): void;
  /** Back to what it was `records` records ago, as a replica that lagged. */
  rewind(records: number): void;
  /** Forgets all but the newest `kept` records. */
  trim(kept: number): void;
  /** Later calls never answer (`hang`), reject (`fail`) or work again (`heal`). */
  hang(method?: string): void;
  fail(): void;
  heal(): void;
  readonly followers: ReadonlyMap<string, { acked: number; until: number }>;
}

/** The reference of what a log's server does, in this process. */
export function mapLogServer(): MapLogServer {
  let generation = "";
  let founded = 0;
  let foundedAs = "";
  let records: ServerRecord[] = [];
  let patterns: ActivePattern[] = [];
  let serial = 0;
  const tags = new Map<string, TagPositions>();
  const followers = new Map<string, { acked: number; until: number }>();
  const readers = new Set<() => void>();
  const calls: Record<string, number> = {};
  const hung = new Set<string>();
  let mode: "well" | "fail" = "well";
  const position = () => records.at(-1)?.position ?? founded;
  const lastId = () => records.at(-1)?.id ?? foundedAs;
  const found = (at: number): void => {
    generation = `g${++serial}`;
    foundedAs = generation;
    founded = at;
    records = [];
    patterns = [];
    tags.clear();
    followers.clear();
  };

  const connect = (context: LayerContext): LogServer => {
    const { clock } = context;
    const pending = new Set<(error: Error) => void>();
    const step = async <T>(method: string, work: () => T): Promise<T> => {
      calls[method] = (calls[method] ?? 0) + 1;
      await Promise.resolve();
      if (hung.has(method) || hung.has("*")) await new Promise((_, reject) => pending.add(reject));
      if (mode === "fail") throw new Error("cut off");
      if (generation === "") found(clock.wall());
      return work();
    };
    const server: LogServer = {
      name: "map",
      join: (node, applied, lease) =>
        step("join", (): ServerHead => {
          const head = { generation, position: position(), id: lastId() };
          const standing = standingOf(applied);
          const known = standing === "same" || standing === "trimmed";
          followers.set(node, {
            acked: known ? (applied?.position ?? 0) : 0,
            until: clock.now() + lease,
          });
          return { ...head, standing };
        }),
      append: (signed) =>
        step("append", () => {
          for (const { id, record } of signed) {
            const at = position() + 1;
            records.push({ position: at, id, record });
            if (record.kind === "clear") generation = record.generation;
            if (isPattern(record)) patterns.push({ position: at, record });
            if (record.kind === "tags")
              for (const tag of record.tags) {
                const last = tags.get(tag) ?? { hard: 0, soft: 0 };
                tags.set(tag, record.soft === true ? { ...last, soft: at } : { ...last, hard: at });
              }
          }
          for (const wake of readers) wake();
          return { generation, position: position() };
        }),
      async read(after, limit, wait) {
        const newer = () => records.filter((one) => one.position > after).slice(0, limit);
        const first = await step("read", newer);
        if (first.length > 0 || newer().length > 0) return newer();
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            timer.cancel();
            readers.delete(wake);
            resolve();
          };
          const timer = clock.setTimer(wait, wake);
          readers.add(wake);
        });
        return step("read", newer);
      },
      unacknowledged: (at) =>
        step("unacknowledged", () => {
          let left = 0;
          for (const [node, { acked, until }] of followers) {
            if (until <= clock.now()) followers.delete(node);
            else if (acked < at) left = Math.max(left, until - clock.now());
          }
          return left;
        }),
      renounce: (old, above) =>
        step("renounce", () => {
          if (old === generation) {
            const at = Math.max(above, position()) + 1;
            generation = `g${++serial}`;
            records.push({ position: at, id: `renounced ${serial}`, record: { kind: "clear", generation } });
            for (const wake of readers) wake();
          }
          return { generation, position: position() };
        }),
      tagPositions: (wanted) =>
        step("tagPositions", () => wanted.map((tag) => tags.get(tag) ?? { hard: founded, soft: 0 })),
      patterns: () => step("patterns", () => [...patterns]),
      swept: ({ position: at }) =>
        step("swept", () => {
          patterns = patterns.filter((one) => one.position !== at);
        }),
      leave: (node) => step("leave", () => void followers.delete(node)),
      reconnect() {
        calls.reconnect = (calls.reconnect ?? 0) + 1;
        for (const reject of pending) reject(new Error("reconnecting"));
        pending.clear();
      },
      async close() {},
    };
    return server;
  };
  const factory: LogFactory = (context) => new RemoteLog(connect(context), context);

  function standingOf(applied: { position: number; id: string } | undefined): ServerHead["standing"] {
    if (applied === undefined) return "new";
    if (applied.position === founded && applied.id !== foundedAs) return "other";
    if (applied.position === founded)
      return (records[0]?.position ?? founded + 1) === founded + 1 ? "same" : "trimmed";
    const there = records.find((one) => one.position === applied.position);
    if (there !== undefined) return there.id === applied.id ? "same" : "other";
    return applied.position < (records[0]?.position ?? 0) && applied.position > founded ? "trimmed" : "other";
  }

  return {
    factory,
    connect,
    calls,
    followers,
    flush() {
      generation = "";
      founded = 0;
      records = [];
    },
    rewind(count) {
      records = records.slice(0, Math.max(0, records.length - count));
    },
    trim(kept) {
      records = records.slice(-kept);
    },
    hang(method = "*") {
      hung.add(method);
    },
    fail() {
      mode = "fail";
    },
    heal() {
      mode = "well";
      hung.clear();
    },
  };
}
