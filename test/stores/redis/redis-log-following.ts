// Processes that follow one log in Redis, with the machine's own clock.
import { systemClock } from "../../../src/base/clock.ts";
import type { Appended, Log, LogHead, LogRecord } from "../../../src/coherence/log.ts";
import { type RedisLogOptions, redisLog } from "../../../src/stores/redis/redis-log.ts";

/** How long in milliseconds a process that hears nothing trusts itself, in these tests. */
export const MAX_LAG = 800;
/** The lease that goes with it, with some time for the way. */
export const LEASE = MAX_LAG * 1.01 + 10;
/** Acknowledgements are so far apart. */
export const HEARTBEAT = MAX_LAG / 4;

export interface Process {
  readonly log: Log;
  readonly head: LogHead;
  readonly seen: Appended[];
  readonly resets: { readonly head: LogHead; readonly reason: string }[];
  readonly warnings: string[];
  /** Resolves when it has been told of what fulfils this; rejects after a while. */
  told(what: (process: Process) => boolean, within?: number): Promise<void>;
}

let names = 0;

/** A name that no other log of this run has. */
export function freshName(): string {
  return `log-${process.pid}-${++names}`;
}

/** Opens the log of a cache as one process does. */
export async function follow(cacheName: string, options: RedisLogOptions): Promise<Process> {
  const warnings: string[] = [];
  const log = redisLog(options)({
    cacheName,
    maxLag: MAX_LAG,
    clock: systemClock(),
    random: Math.random,
    warn: (message) => warnings.push(message),
  });
  const seen: Appended[] = [];
  const resets: Process["resets"] = [];
  const looks = new Set<() => void>();
  const look = (): void => {
    for (const one of [...looks]) one();
  };
  const head = await log.open({
    apply: (records) => {
      seen.push(...records);
      look();
    },
    reset: (to, reason) => {
      resets.push({ head: to, reason });
      look();
    },
  });
  const process: Process = {
    log,
    head,
    seen,
    resets,
    warnings,
    told: (what, within = 5_000) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () =>
            reject(
              new Error(
                `Not told within ${within} ms; seen ${JSON.stringify(seen.slice(-5))}, resets ${JSON.stringify(resets)}, warnings ${JSON.stringify(warnings)}`,
              ),
            ),
          within,
        );
        const one = (): void => {
          if (!what(process)) return;
          clearTimeout(timer);
          looks.delete(one);
          resolve();
        };
        looks.add(one);
        one();
      }),
  };
  return process;
}

/** Records that remove one key. */
export function removal(key: string): LogRecord[] {
  return [{ kind: "keys", keys: [key] }];
}

/** Whether a process has been told that a key was removed. */
export function heardOf(key: string): (process: Process) => boolean {
  return ({ seen }) => seen.some(({ record }) => record.kind === "keys" && record.keys.includes(key));
}

/** Milliseconds that work takes. */
export async function took(work: () => Promise<unknown> | unknown): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}
