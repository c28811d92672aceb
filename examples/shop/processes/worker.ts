import { connectPostgres, type Database } from "../database.ts";
import { openService } from "../service.ts";
import { SettingError } from "../settings.ts";
import { type AskedDatabase, askedDatabase } from "./asked-database.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";

/** Longest time in milliseconds that the end of a worker may take before it goes anyway. */
const LAST_MOMENT = 7_000;
/**
 * A stampede on several processes of one small machine holds up each for some hundred milliseconds; a layer whose
 * answer came meanwhile must not count as silent.
 */
const LAYER_TIMEOUT = "1s";

/**
 * One of several processes: an HTTP service of its own on the database that the first process lends it. It ends
 * when the first process says so, on a signal, and when the first process is gone, however that died.
 * @throws {SettingError} when it was not started by the first process.
 */
export async function runWorker(): Promise<void> {
  if (process.send === undefined)
    throw new SettingError("--worker is for the processes of --processes only.");
  const send = (message: FromWorker) => {
    // Without a callback a closed channel would be an uncaught error; that it is closed is told by "disconnect".
    process.send?.(message, undefined, undefined, () => {});
  };
  const asked = askedDatabase(send);
  let running: Promise<{ close(): Promise<void> }> | undefined;
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    setTimeout(() => process.exit(1), LAST_MOMENT).unref();
    void (running ?? Promise.resolve())
      .then((service) => service?.close())
      .catch(() => {
        process.exitCode = 1; // what it was has been told by the one who waited for `running`
      })
      .finally(() => process.connected && process.disconnect());
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);
  process.on("disconnect", () => {
    asked.gone();
    end();
  });
  // The channel carries what the first process sends and nothing else.
  process.on("message", (message: ToWorker) => {
    if (asked.take(message)) return;
    if ("end" in message) end();
    else if ("start" in message && running === undefined) {
      running = serve(message.start, asked, send);
      running.catch((error: unknown) => {
        const expected = error instanceof SettingError;
        send({ failed: expected ? error.message : String(error instanceof Error ? error.stack : error) });
        end();
      });
    }
  });
}

async function serve(
  start: WorkerStart,
  asked: AskedDatabase,
  send: (message: FromWorker) => void,
): Promise<{ close(): Promise<void> }> {
  const { settings, number } = start;
  const warn = (line: string) => console.warn(`Warning: process ${number}: ${line}`);
  const database: Database =
    settings.databaseUrl === undefined
      ? asked
      : await connectPostgres(settings.databaseUrl, start.connections);
  const service = await openService({ ...start, database, warn, layerTimeout: LAYER_TIMEOUT }).catch(
    async (error) => {
      await database.close();
      throw error;
    },
  );
  const { listening } = service;
  if (listening.note !== undefined) console.log(`Process ${number}: ${listening.note}`);
  send({ ready: { address: listening.address, port: listening.port, layers: service.described } });
  return {
    async close() {
      await service.close();
      await database.close();
    },
  };
}
