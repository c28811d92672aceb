import { setTimeout as wait } from "node:timers/promises";
import type { Database } from "../database.ts";
import { type Asking, asking, type Counts, type PriceAnswer } from "./asking.ts";
import type { Worker } from "./workers.ts";

/** Requests at once of each process in the stampede. */
const STAMPEDE = 250;
/** Longest wait in milliseconds for a process to show a change. */
const PATIENCE = 10_000;

/** What the demonstration works with. */
export interface Stage {
  readonly workers: readonly Worker[];
  /** To change rows as any other program could. */
  readonly database: Pick<Database, "query">;
  /** How many products there are; at least 2. */
  readonly products: number;
  readonly token: string | undefined;
  readonly say: (line: string) => void;
}

/** An answer that shows a change, and how many milliseconds after the change was acknowledged it came. */
interface Shown extends PriceAnswer {
  readonly after: number;
  /** Answers of the process with the old price until then. */
  readonly old: number;
}

/**
 * Shows by real HTTP requests that a change through one process is seen by all, how soon, and that a thousand
 * requests at once for what nobody has cached are one statement in the database.
 */
export async function demonstrate(stage: Stage): Promise<void> {
  const { workers, database, say } = stage;
  const ask = asking(stage.token);
  const id = Math.min(42, stage.products - 1);
  const [first, changer = first, invalidator = changer] = workers;
  if (first === undefined || changer === undefined || invalidator === undefined) return;

  say(`Coherence, by HTTP requests to ${counted(workers.length, "process", "processes")}\n`);
  say(`Product ${id} asked of each process, and again, now that each has it in memory:`);
  const rounds = [];
  for (const _ of [1, 2]) for (const worker of workers) rounds.push(await ask.price(worker, id));
  say(table(rounds));
  let down = await trouble(ask, workers);
  // A machine that has just started everything may be a moment behind.
  for (let tries = 0; down.length > 0 && tries < 10; tries++) {
    await wait(300);
    down = await trouble(ask, workers);
  }
  if (down.length > 0) {
    say(`Not answering: ${down.join(", ")}. The shop serves without, and this ends here.\n`);
    return;
  }
  let cents = rounds[0]?.cents ?? 0;

  const show = async (what: string, change: (cents: number) => Promise<void>) => {
    for (const worker of workers) await ask.price(worker, id); // so that all have something to forget
    cents = (cents % 100_000) + 1;
    const began = performance.now();
    await acknowledged(() => change(cents));
    const took = performance.now() - began;
    const shown = await Promise.all(workers.map((worker) => firstShown(ask, worker, id, cents)));
    const last = Math.max(...shown.map(({ after }) => after));
    const old = shown.reduce((sum, answer) => sum + answer.old, 0);
    say(`${what}, acknowledged after ${took.toFixed(1)} ms:`);
    say(
      `the last process showed ${money(cents)} after ${last.toFixed(1)} ms; ${old} answers had the old price.`,
    );
    say(table(shown));
  };
  const behind = (price: number) =>
    // As psql or another program would: nobody tells the cache.
    database.query("update shop_products set price_cents = $1 where id = $2", [price, id]);

  say("Each process is asked every millisecond from the moment the change is acknowledged.\n");
  await show(`PATCH /products/${id} through process ${changer.number}`, (price) =>
    ask.setPrice(changer, id, price),
  );
  await show(
    `The row changed by SQL, then invalidateTags(["products"]) through process ${changer.number}`,
    async (price) => {
      await behind(price);
      await ask.invalidate(changer, "tags/products");
    },
  );
  await show(
    `The row changed by SQL, then delete("product:${id}") through process ${invalidator.number}`,
    async (price) => {
      await behind(price);
      await ask.invalidate(invalidator, `keys/product:${id}`);
    },
  );
  // Acknowledged only once no process can show the old price. It takes the next product out as well.
  await show(`The same strictly, invalidateTags(["products"], { wait: "all" })`, async (price) => {
    await behind(price);
    await ask.invalidate(invalidator, "tags/products?wait=all");
  });

  const { requests, statements, timeouts, ms } = await stampede(ask, workers, id + 1);
  say(
    `Stampede: ${requests} requests at once for product ${id + 1}, which nobody had cached, in ${ms.toFixed(0)} ms: ` +
      counted(statements, "database statement", "database statements"),
  );
  // On a machine this busy a process may not wait for the one that loads, and loads by itself: see `layerTimeout`.
  if (timeouts > 0) say(`(${counted(timeouts, "read", "reads")} of a layer timed out meanwhile)`);
  say("");
}

/** Makes a change; one that was refused (a layer did not answer in time) is made again, as a client would. */
async function acknowledged(change: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      await change();
      return;
    } catch (error) {
      if (tries === 5) throw error;
      await wait(200);
    }
}

/** Asks every millisecond until the price is there. */
async function firstShown(ask: Asking, worker: Worker, id: number, cents: number): Promise<Shown> {
  const began = performance.now();
  for (let next = began + 1, old = 0; ; next += 1, old += 1) {
    const answer = await ask.price(worker, id);
    const after = performance.now() - began;
    if (answer.cents === cents) return { ...answer, after, old };
    if (after > PATIENCE)
      throw new Error(
        `Process ${worker.number} still shows ${money(answer.cents)}, not ${money(cents)}, after ${after} ms.`,
      );
    const left = next - performance.now();
    if (left > 0) await wait(left);
    else next -= left;
  }
}

/** Asks all processes at once for a product that was strictly invalidated. */
async function stampede(ask: Asking, workers: readonly Worker[], id: number) {
  const count = async () => {
    const counts = await Promise.all(workers.map((worker) => ask.counts(worker)));
    const sum = (of: (counted: Counts) => number) => counts.reduce((total, each) => total + of(each), 0);
    return { statements: sum((each) => each.statements), timeouts: sum((each) => each.timeouts) };
  };
  const before = await count();
  const began = performance.now();
  const requests = workers.flatMap((worker) => Array.from({ length: STAMPEDE }, () => ask.price(worker, id)));
  await Promise.all(requests);
  const ms = performance.now() - began;
  const after = await count();
  return {
    requests: requests.length,
    statements: after.statements - before.statements,
    timeouts: after.timeouts - before.timeouts,
    ms,
  };
}

async function trouble(ask: Asking, workers: readonly Worker[]): Promise<readonly string[]> {
  const all = await Promise.all(workers.map((worker) => ask.trouble(worker)));
  return [...new Set(all.flat())];
}

function table(answers: readonly (PriceAnswer | Shown)[]): string {
  const timed = answers.some((answer) => "after" in answer);
  const lines = answers.map((answer) => {
    const after = "after" in answer ? `${answer.after.toFixed(1)} ms`.padStart(12) : "";
    const cells = [
      String(answer.worker.number).padStart(7),
      money(answer.cents).padStart(10),
      answer.layer.padEnd(10),
    ];
    return `  ${cells.join("  ")}${`${answer.took.toFixed(1)} ms`.padStart(10)}${after}`;
  });
  return [
    `  process       price  detail${"took".padStart(14)}${timed ? "shown after".padStart(12) : ""}`,
    ...lines,
    "",
  ].join("\n");
}

function money(cents: number): string {
  return (cents / 100).toFixed(2);
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
