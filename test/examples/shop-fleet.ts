import { expect } from "vitest";
import { asker, launch, type Service } from "./shop-process.ts";

/** The shop in several processes. */
export interface Fleet {
  /** By number, from 1. */
  readonly processes: readonly {
    readonly pid: number;
    readonly address: string;
    readonly ask: Service["ask"];
  }[];
  output(): string;
  printed(pattern: RegExp | string): Promise<RegExpMatchArray>;
  /** Ends the first process; resolves once none of them has its output open any more, which is when all are gone. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts the shop in `count` processes and waits until its demonstration is over. */
export async function startFleet(
  data: string,
  count: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Fleet> {
  const shop = launch(data, ["--processes", String(count)], env);
  await shop.printed("Ctrl-C ends all of them.");
  const started = shop.output().matchAll(/^Process \d+: pid (\d+), (\S+)$/gm);
  const processes = [...started].map(([, pid, address = ""]) => ({
    pid: Number(pid),
    address,
    ask: asker(address),
  }));
  return { processes, output: shop.output, printed: shop.printed, end: shop.end };
}

/** One step of the demonstration, as it was printed. */
export interface Step {
  readonly last: number;
  readonly old: number;
  readonly price: string;
  /** The price and the layer that each process showed. */
  readonly rows: readonly { readonly price: string; readonly layer: string }[];
}

/** The changes of a demonstration: what each process showed of them, and when the last one did. */
export function stepsIn(output: string): Step[] {
  const steps = output.matchAll(
    /the last process showed ([\d.]+) after ([\d.]+) ms; (\d+) answers had the old price\.\n.*shown after\n((?: +\d.*\n)+)/g,
  );
  return [...steps].map(([, price = "", last, old, table = ""]) => ({
    price,
    last: Number(last),
    old: Number(old),
    rows: [...table.matchAll(/^ +\d+ +([\d.]+) +(\w+) /gm)].map(([, shown = "", layer = ""]) => ({
      price: shown,
      layer,
    })),
  }));
}

/** The stampede of a demonstration. */
export interface Stampede {
  readonly requests: number;
  readonly statements: number;
  /** Reads of a shared layer that were given up, on a machine which is too busy: each may cost a statement. */
  readonly timeouts: number;
}

export function stampedeIn(output: string): Stampede | undefined {
  const found =
    /Stampede: (\d+) requests at once .*: (\d+) database statements?\n(?:\((\d+) reads? of)?/.exec(output);
  if (found === null) return undefined;
  const [, requests, statements, timeouts = 0] = found;
  return { requests: Number(requests), statements: Number(statements), timeouts: Number(timeouts) };
}

/** One statement for all, however busy the machine: a process that gave up waiting is the only excuse. */
export function expectOneStatement(output: string, requests: number): void {
  const stampede = stampedeIn(output);
  expect(stampede).toMatchObject({ requests });
  expect(stampede?.statements).toBeGreaterThanOrEqual(1);
  expect(stampede?.statements).toBeLessThanOrEqual(1 + (stampede?.timeouts ?? 0));
}
