/** Longest time the whole end may take before the process goes anyway. */
const LAST_MOMENT = 10_000;

/** Ends the process in order on SIGINT and SIGTERM: `end` once, and then nothing should hold it. */
export function onEndSignal(end: () => Promise<void>): void {
  // npm and the terminal may both pass on a signal: the second of a kind is no reason to hurry.
  let ending = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (ending) return;
      ending = true;
      setTimeout(() => process.exit(1), LAST_MOMENT).unref();
      void end()
        .then(() => console.log("Closed."))
        .catch((error) => {
          console.error(error);
          process.exitCode = 1;
        });
    });
  }
}
