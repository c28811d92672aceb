import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Mutant } from "./mutants.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const COPIES = join(ROOT, "test/simulation/.mutants");
/** What the simulator needs of the sources. */
const ROOMS = ["base", "cache", "coherence", "memory", "observe", "sources/source.ts", "stores/store.ts"];
const SIMULATOR = [
  ...["clients.ts", "history.ts", "network.ts", "schedule.ts", "scheduler.ts", "server.ts", "simulate.ts"],
  "world.ts",
];

/** A copy of the engine and the simulator without some guard. */
export interface Copy {
  /** Where its `simulate.ts` is, to import. */
  readonly url: string;
  remove(): void;
}

/** @throws {Error} when what is to be taken out is not there exactly once. */
export function copyWithout(mutant: Mutant, number: number): Copy {
  const folder = join(COPIES, `${process.pid}-${number}`);
  const simulator = join(folder, "test/simulation");
  mkdirSync(simulator, { recursive: true });
  for (const room of ROOMS) cpSync(join(ROOT, "src", room), join(folder, "src", room), { recursive: true });
  for (const file of SIMULATOR) cpSync(join(ROOT, "test/simulation", file), join(simulator, file));
  for (const { file, find, replace } of mutant.edits) {
    const path = join(folder, file);
    const [before, after, ...more] = readFileSync(path, "utf8").split(find);
    if (before === undefined || after === undefined || more.length > 0)
      throw new Error(`${file} does not have exactly one ${JSON.stringify(find)}`);
    writeFileSync(path, before + replace + after);
  }
  return {
    url: pathToFileURL(join(simulator, "simulate.ts")).href,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Takes away what interrupted runs left. */
export function removeCopies(): void {
  rmSync(COPIES, { recursive: true, force: true });
}
