// Commands to a Redis of a test, each on a connection of its own, so that no state is left in the server.
import { Redis } from "ioredis";

/** Milliseconds until a command to a frozen server fails. */
const TIMEOUT = 5000;
/** Milliseconds between two looks at a state that is awaited, and the longest wait. */
const POLL = { pause: 10, timeout: 30_000 };

/** Where commands go. */
export interface RedisTarget {
  readonly url: string;
  /** The certificate to trust, PEM, when the server speaks TLS. */
  readonly ca?: string | undefined;
}

/** Sends one command and gives its reply; rejects when the server is unreachable or says no. */
export async function callRedis(target: RedisTarget, args: readonly (string | number)[]): Promise<unknown> {
  const [command, ...rest] = args;
  const client = new Redis(target.url, {
    ...(target.ca === undefined ? {} : { tls: { ca: target.ca } }),
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    disableClientInfo: true,
    connectTimeout: TIMEOUT,
    commandTimeout: TIMEOUT,
  });
  // The failed connection rejects `connect`; without a listener it would be printed as well.
  client.on("error", () => {});
  try {
    await client.connect();
    return await client.call(String(command), ...rest);
  } finally {
    client.disconnect();
  }
}

/** The lines `name:value` of INFO, or of another command that answers so. */
export async function redisInfo(
  target: RedisTarget,
  args: readonly string[] = ["INFO"],
): Promise<ReadonlyMap<string, string>> {
  const text = String(await callRedis(target, args));
  return new Map(
    text.split("\r\n").flatMap((line) => {
      const colon = line.indexOf(":");
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]];
    }),
  );
}

/** Resolves once the question is answered with yes; a question that fails is asked again. */
export async function until(what: string, question: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + POLL.timeout;
  let problem: unknown;
  for (;;) {
    try {
      if (await question()) return;
      problem = undefined;
    } catch (error) {
      problem = error;
    }
    if (performance.now() > deadline) throw new Error(`Waited in vain: ${what}.`, { cause: problem });
    await new Promise((resolve) => setTimeout(resolve, POLL.pause));
  }
}
