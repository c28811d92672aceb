import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Answer, memory } from "caching-universal";
import { disk } from "caching-universal/disk";
import { shopApp } from "../app.ts";
import { answerOf } from "../cache-status.ts";
import { openData } from "../data.ts";
import { listen } from "../listen.ts";
import { type ReplaySettings, ROOT, type Settings } from "../settings.ts";
import { openShop, type Shop } from "../shop.ts";
import { type Ask, drive } from "./drive.ts";
import { Recording } from "./recording.ts";
import { closingTable, liveLine } from "./report.ts";
import { findTrace, productIds, readTrace } from "./trace.ts";

/** Milliseconds between two live lines. */
const LIVE = 1_000;

/** Drives the shop with a recorded trace, from cold, and prints how it did. */
export async function runReplay(settings: Settings, replay: ReplaySettings): Promise<void> {
  const file = findTrace(replay.trace, [join(ROOT, "traces"), join(ROOT, "../shared/traces")]);
  const ids = productIds((await readTrace(file)).subarray(0, replay.requests), settings.products);
  const keys = new Set(ids).size;
  const { memory: bound } = replay;
  const entries = "entries" in bound ? bound.entries : Math.max(1, Math.floor(keys * bound.share));
  const data = await openData(settings, console.log);
  const folder = data.cacheFolder("replay");
  await rm(folder, { recursive: true, force: true });
  const shop = openShop({
    database: data.database,
    stores: [disk({ path: folder, maxBytes: "2gb" })],
    // Bounded by entries alone, as the figure says.
    memory: memory({ maxEntries: entries, maxBytes: Number.POSITIVE_INFINITY }),
  });
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const server = replay.http
    ? await listen(shopApp(shop, { token: undefined, local: true }), "127.0.0.1", 0)
    : undefined;
  const by = server === undefined ? "in this process, without HTTP" : `through HTTP at ${server.address}`;
  const how = `asked ${by}, ${replay.concurrency} at a time`;
  console.log(`Replaying ${file}: ${ids.length} requests for ${keys} keys, from cold, ${how}.`);

  const recording = new Recording(ids.length);
  const before = data.database.statements;
  const live = startLive(recording, ids.length);
  const began = performance.now();
  const ask = server === undefined ? askShop(shop) : askHttp(server.address);
  await drive(ids, ask, { ...replay, signal: stop.signal }, recording);
  const seconds = (performance.now() - began) / 1_000;
  live.end();

  const asked = ids.subarray(0, recording.tally().requests);
  const facts = {
    trace: basename(file).replace(/\.u32(\.\w+)?$/, ""),
    keys: new Set(asked).size,
    memoryEntries: entries,
    seconds,
    loads: shop.cache.stats().loads,
    statements: data.database.statements - before,
    how,
  };
  if (stop.signal.aborted) console.log("Stopped before the end:");
  console.log(`\n${closingTable(recording, facts)}`);
  await server?.close();
  await shop.close();
  await rm(folder, { recursive: true, force: true });
  await data.close();
  process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
}

function askShop(shop: Shop): Ask {
  return async (id) => {
    let answer: Answer | undefined;
    const report = (given: Answer) => {
      answer = given;
    };
    await shop.products.get(id, { report });
    if (answer === undefined) throw new Error(`The cache did not tell what answered product ${id}.`);
    return answer;
  };
}

function askHttp(address: string): Ask {
  return async (id) => {
    const response = await fetch(`${address}/products/${id}`);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`GET /products/${id} answered ${response.status}.`);
    return answerOf(response.headers.get("cache-status") ?? "");
  };
}

/** Prints how it goes each second: one line that is written over on a terminal, else a line each. */
function startLive(recording: Recording, total: number): { end(): void } {
  let last = 0;
  let lastAt = performance.now();
  const over = process.stdout.isTTY;
  const print = () => {
    const tally = recording.tally();
    const now = performance.now();
    const line = liveLine(tally, total, ((tally.requests - last) * 1_000) / (now - lastAt));
    process.stdout.write(over ? `\r\x1b[2K${line}` : `${line}\n`);
    last = tally.requests;
    lastAt = now;
  };
  const timer = setInterval(print, LIVE);
  return {
    end() {
      clearInterval(timer);
      if (over) process.stdout.write("\r\x1b[2K");
    },
  };
}
