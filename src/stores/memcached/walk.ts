import { setTimeout as sleep } from "node:timers/promises";
import { StoreError } from "../../base/errors.ts";
import type { Address } from "./address.ts";
import { type Access, Connection } from "./connection.ts";
import { decoded } from "./key-names.ts";

/** Names told at once. */
const STEP = 500;
/** Names read ahead of whoever works on them. */
const AHEAD = 20 * STEP;
/** Longest time in milliseconds without a batch, even an empty one: whoever waits sees that it goes on. */
const BEAT = 50;
/** How often a server that is busy with another walk is asked again. */
const BUSY_TRIES = 100;

/**
 * Names of all items of a server, in batches. The server walks its hash table (`lru_crawler metadump hash`), so
 * that every item which is there all the while is told once; walks along the LRU lists, as `metadump all` does,
 * miss items that move in them.
 * @throws {StoreError} when the server does not allow it.
 */
export async function* itemNames(address: Address, access: Access): AsyncGenerator<readonly string[]> {
  for (let left = BUSY_TRIES; ; left--) {
    const ended = yield* oneWalk(address, access);
    if (ended === "END") return;
    if (!ended.startsWith("BUSY") || left <= 1)
      throw new StoreError(
        `Memcached ${address.text} does not list its keys ("${ended}"): it has to be 1.6.10 or newer, without -X.`,
      );
    yield [];
    await sleep(BEAT);
  }
}

/** Answers the line that ended it. */
async function* oneWalk(address: Address, access: Access): AsyncGenerator<readonly string[], string> {
  const connection = new Connection(address, access);
  let names: string[] = [];
  let wake = (): void => undefined;
  let ended: string | undefined;
  let failure: unknown;
  await greeted(connection); // the server wants nothing else under way when a walk begins
  connection
    .lines("lru_crawler metadump hash", (line) => {
      const name = decoded(line.slice("key=".length, line.indexOf(" ")));
      if (name === undefined) return; // somebody else's, of bytes that are no text
      names.push(name);
      if (names.length === AHEAD) connection.pause(true);
      if (names.length >= STEP) wake();
    })
    .then(
      ({ line }) => {
        ended = line;
        wake();
      },
      (error: unknown) => {
        failure = error;
        wake();
      },
    );
  try {
    for (;;) {
      if (names.length < STEP && ended === undefined && failure === undefined)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, BEAT);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      if (failure !== undefined) throw failure;
      const over = ended;
      const batch = names;
      names = [];
      connection.pause(false);
      for (let at = 0; at < batch.length; at += STEP) yield batch.slice(at, at + STEP);
      if (over !== undefined) return over;
      if (batch.length === 0) yield [];
    }
  } finally {
    connection.close();
  }
}

async function greeted(connection: Connection): Promise<void> {
  try {
    await connection.send("mn");
  } catch (error) {
    connection.close();
    throw error;
  }
}
