// The shop as `npm start` runs it: `node examples/shop/main.ts [--replay <trace> ...]`.
import { isIPv4 } from "node:net";
import { shopApp } from "./app.ts";
import { openData } from "./data.ts";
import { listen } from "./listen.ts";
import { runReplay } from "./replay/run.ts";
import { TraceError } from "./replay/trace.ts";
import { commandOf, SettingError, type Settings, settingsOf, USAGE } from "./settings.ts";
import { openShop } from "./shop.ts";
import { tour } from "./tour.ts";

/** Longest time the whole end may take before the process goes anyway. */
const LAST_MOMENT = 10_000;

async function main(): Promise<void> {
  const settings = settingsOf(process.env);
  const command = commandOf(process.argv.slice(2));
  if (command === "help") console.log(USAGE);
  else if (command === "serve") await serve(settings);
  else await runReplay(settings, command);
}

async function serve(settings: Settings): Promise<void> {
  const began = performance.now();
  console.log(`Opening the shop's data in ${settings.data} ...`);
  const data = await openData(settings, console.log);
  const shop = openShop({ database: data.database, cacheFolder: data.cacheFolder("cache") });
  const local = settings.host === "localhost" || settings.host === "::1" || isLoopback(settings.host);
  const app = shopApp(shop, { token: settings.adminToken, local });
  const end = async () => {
    await shop.close();
    await data.close();
  };
  const listening = await listen(app, settings.host, settings.port).catch(async (error) => {
    await end();
    throw error;
  });
  // npm and the terminal may both pass on a signal: the second of a kind is no reason to hurry.
  let ending = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (ending) return;
      ending = true;
      setTimeout(() => process.exit(1), LAST_MOMENT).unref();
      void listening
        .close()
        .then(end)
        .then(() => console.log("Closed."))
        .catch((error) => {
          console.error(error);
          process.exitCode = 1;
        });
    });
  }
  if (listening.note !== undefined) console.log(listening.note);
  const made = data.seeded ? `generated ${settings.products} products, ` : "";
  console.log(
    `Ready after ${((performance.now() - began) / 1_000).toFixed(1)} s (${made}${data.database.kind}).`,
  );
  console.log(`Listening on ${listening.address}\n`);
  console.log(tour(listening.address));
}

function isLoopback(host: string): boolean {
  return isIPv4(host) && host.startsWith("127.");
}

main().catch((error: unknown) => {
  const expected = error instanceof SettingError || error instanceof TraceError;
  console.error(expected ? error.message : error);
  process.exitCode = 1;
});
