// The shop as `npm start` runs it: `node examples/shop/main.ts [--processes <n> | --replay <trace> ...]`.
import { openData } from "./data.ts";
import { USUAL_PORT } from "./listen.ts";
import { runFleet } from "./processes/run.ts";
import { runWorker } from "./processes/worker.ts";
import { runReplay } from "./replay/run.ts";
import { TraceError } from "./replay/trace.ts";
import { openService } from "./service.ts";
import { commandOf, SettingError, type Settings, settingsOf, USAGE } from "./settings.ts";
import { onEndSignal } from "./signals.ts";
import { tour } from "./tour.ts";

async function main(): Promise<void> {
  const settings = settingsOf(process.env);
  const command = commandOf(process.argv.slice(2));
  if (command === "help") console.log(USAGE);
  else if (command === "serve") await serve(settings);
  else if (command === "worker") await runWorker();
  else if ("processes" in command) await runFleet(settings, command.processes);
  else await runReplay(settings, command);
}

async function serve(settings: Settings): Promise<void> {
  const began = performance.now();
  console.log(`Opening the shop's data in ${settings.data} ...`);
  const data = await openData(settings, console.log);
  const { shop, listening, described, close } = await openService({
    settings,
    database: data.database,
    dataName: data.name,
    cacheFolder: data.cacheFolder("cache"),
    port: settings.port,
    usualPort: USUAL_PORT,
    warn: (line) => console.warn(`Warning: ${line}`),
  }).catch(async (error) => {
    await data.close();
    throw error;
  });
  onEndSignal(async () => {
    await close();
    await data.close();
  });
  if (listening.note !== undefined) console.log(listening.note);
  const made = data.seeded ? `generated ${settings.products} products, ` : "";
  console.log(
    `Ready after ${((performance.now() - began) / 1_000).toFixed(1)} s (${made}${data.database.kind}).`,
  );
  console.log(`Layers: ${described.join(", ")}`);
  console.log(`Listening on ${listening.address}\n`);
  console.log(tour(listening.address, shop.layers));
}

main().catch((error: unknown) => {
  const expected = error instanceof SettingError || error instanceof TraceError;
  console.error(expected ? error.message : error);
  process.exitCode = 1;
});
