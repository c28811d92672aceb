import { openData } from "../data.ts";
import { USUAL_PORT } from "../listen.ts";
import { SettingError, type Settings } from "../settings.ts";
import { onEndSignal } from "../signals.ts";
import { demonstrate } from "./demonstration.ts";
import type { WorkerStart } from "./messages.ts";
import { startWorkers, type Worker } from "./workers.ts";

/** Connections to a PostgreSQL server for all processes together; it takes 100 unless told otherwise. */
const CONNECTIONS = 48;

/** Runs the shop as several processes on one database and one set of shared layers, and shows that they agree. */
export async function runFleet(settings: Settings, processes: number): Promise<void> {
  const began = performance.now();
  const ports = portsOf(settings.port, processes);
  console.log(`Opening the shop's data in ${settings.data} ...`);
  const data = await openData(settings, console.log);
  const starts = ports.map(
    (port, at): WorkerStart => ({
      number: at + 1,
      settings,
      dataName: data.name,
      cacheFolder: data.cacheFolder("cache"),
      port,
      usualPort: USUAL_PORT + at,
      connections: Math.max(2, Math.floor(CONNECTIONS / processes)),
    }),
  );
  // Before the workers: a signal while they start must end them too.
  let end = () => data.close();
  const starting = startWorkers(starts, data.database, console.log).catch(async (error) => {
    await data.close();
    end = async () => {};
    throw error;
  });
  let ending = false;
  onEndSignal(async () => {
    ending = true;
    const workers = await starting.catch(() => undefined);
    await workers?.close();
    await end();
  });
  const workers = await starting;
  if (ending) return;
  const serving = workers.list();
  const made = data.seeded ? `generated ${settings.products} products, ` : "";
  console.log(
    `Ready after ${((performance.now() - began) / 1_000).toFixed(1)} s (${made}${data.database.kind}).`,
  );
  console.log(`Layers of each process: ${serving[0]?.layers.join(", ")}`);
  for (const { number, pid, address } of serving) console.log(`Process ${number}: pid ${pid}, ${address}`);
  console.log("");
  await demonstrate({
    workers: serving,
    database: data.database,
    products: settings.products,
    token: settings.adminToken,
    say: console.log,
  }).catch((error: unknown) => {
    if (!ending)
      console.error(`The demonstration broke off: ${error instanceof Error ? error.message : error}\n`);
  });
  if (!ending) console.log(lines(workers.list(), Math.min(42, settings.products - 1)));
}

/** The ports asked for: `PORT` and those after it; none when the usual or free ones are to be found. */
function portsOf(port: number | undefined, processes: number): readonly (number | undefined)[] {
  if (port !== undefined && port + processes - 1 > 65_535)
    throw new SettingError(`PORT is ${port}: ${processes} processes need the ports from there, up to 65535.`);
  return Array.from({ length: processes }, (_, at) => (port === undefined || port === 0 ? port : port + at));
}

/** Lines to paste into a shell. */
function lines(workers: readonly Worker[], id: number): string {
  const [one, two = one] = workers;
  if (one === undefined || two === undefined) return "Serving.";
  return `Serving. Paste, in this order:

  curl -i ${one.address}/products/${id}
  curl -i ${two.address}/products/${id}
  curl -i -X PATCH -H 'Content-Type: application/json' -d '{"price_cents":999}' ${two.address}/products/${id}
  curl -i ${one.address}/products/${id}                        # the new price
  curl -X DELETE '${two.address}/cache/tags/products?wait=all'  # answers once no process can serve the old
  curl -i ${one.address}/products/${id}
  curl ${one.address}/cache/health
  kill -9 ${one.pid}                                             # process ${one.number}: it is started again

Ctrl-C ends all of them.
`;
}
