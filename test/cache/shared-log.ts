import { isPattern } from "../../src/coherence/log.ts";
import type { ActivePattern, Follower, Log, LogFactory, LogRecord, TagPositions } from "../../src/index.ts";

/** A log in this process that several caches follow, with the troubles that a remote one has. */
export interface SharedLog extends LogFactory {
  /** Everything is lost: followers start again in a new generation. */
  lose(): void;
  /** Nobody hears of it any more; records pile up. */
  cut(): void;
  restore(): void;
  refuse(error: Error | undefined): void;
  refuseOpen(error: Error | undefined): void;
  /** Nothing is answered any more: not opening, not appending, not asking. */
  hang(): void;
}

export function sharedLog(): SharedLog {
  const followers = new Set<Follower>();
  const tags = new Map<string, TagPositions>();
  const backlog: { position: number; record: LogRecord }[] = [];
  let patterns: ActivePattern[] = [];
  let position = 0;
  let generation = "g0";
  let isCut = false;
  let cutAt = 0;
  let refusal: Error | undefined;
  let openRefusal: Error | undefined;
  let hangs = false;
  const factory = ({ clock }: Parameters<LogFactory>[0]): Log => {
    let mine: Follower | undefined;
    return {
      name: "shared",
      shared: true,
      async open(follower) {
        if (hangs) await new Promise(() => undefined);
        if (openRefusal !== undefined) throw openRefusal;
        mine = follower;
        followers.add(follower);
        return { generation, position };
      },
      async append(records) {
        if (hangs) await new Promise(() => undefined);
        if (refusal !== undefined) throw refusal;
        const appended = records.map((record) => ({ position: ++position, record }));
        for (const one of appended) {
          const { record } = one;
          if (record.kind === "clear") generation = record.generation;
          if (isPattern(record)) patterns.push({ position: one.position, record });
          if (record.kind === "tags")
            for (const tag of record.tags) {
              const last = tags.get(tag) ?? { hard: 0, soft: 0 };
              tags.set(tag, record.soft === true ? { ...last, soft: position } : { ...last, hard: position });
            }
        }
        if (isCut) backlog.push(...appended);
        else for (const follower of followers) follower.apply(appended);
        return appended.at(-1)?.position ?? position;
      },
      tagPositions: async (wanted) =>
        hangs ? new Promise(() => undefined) : wanted.map((tag) => tags.get(tag) ?? { hard: 0, soft: 0 }),
      patterns: async () => patterns,
      async swept(pattern) {
        patterns = patterns.filter((one) => one.position !== pattern.position);
      },
      settled: () => undefined,
      lag: () => (isCut ? clock.now() - cutAt : 0),
      async catchUp() {
        if (isCut) throw new Error("cut off");
      },
      async close() {
        if (mine !== undefined) followers.delete(mine);
      },
    };
  };
  const clockOf: { now: () => number } = { now: () => 0 };
  return Object.assign(
    (context: Parameters<LogFactory>[0]) => {
      clockOf.now = () => context.clock.now();
      return factory(context);
    },
    {
      lose() {
        generation = "lost";
        position = 0;
        for (const follower of followers) follower.reset({ generation, position }, "it was emptied");
      },
      cut() {
        isCut = true;
        cutAt = clockOf.now();
      },
      restore() {
        isCut = false;
        for (const follower of followers) follower.apply(backlog);
        backlog.length = 0;
      },
      refuse(error: Error | undefined) {
        refusal = error;
      },
      refuseOpen(error: Error | undefined) {
        openRefusal = error;
      },
      hang() {
        hangs = true;
      },
    },
  );
}
