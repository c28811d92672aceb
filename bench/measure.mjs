import { createHook } from "node:async_hooks";

/** The middle of a list of numbers. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Operations a second of `work(count)`, run once. */
export async function rate(work, count) {
  globalThis.gc?.();
  const start = process.hrtime.bigint();
  await work(count);
  return count / (Number(process.hrtime.bigint() - start) / 1e9);
}

/**
 * Runs every contender once a round, in an order that turns round, so that a slow moment of the machine hits
 * all alike. The first round warms up and is not counted.
 * @returns {Promise<Map<string, number[]>>} operations a second of each round, by name
 */
export async function interleave(list, rounds, measureOne) {
  const results = new Map(list.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < list.length; i++) {
      const contender = list[(i + round) % list.length];
      const figure = await measureOne(contender, round);
      if (round > 0) results.get(contender.name).push(figure);
    }
  }
  return results;
}

/** Promises that `fn` creates before it returns. */
export function promisesOf(fn) {
  let count = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === "PROMISE") count++;
    },
  });
  hook.enable();
  const promise = fn();
  hook.disable();
  return { count, promise };
}

/** Prints operations a second, and the ratio of the first row to each, round by round. */
export function table(title, results, note = "") {
  const [[first, ours], ...peers] = results;
  console.log(`\n${title}${note === "" ? "" : ` (${note})`}`);
  console.log(`  ${"".padEnd(24)}${"ops/s".padStart(14)}   ours / it`);
  for (const [name, figures] of results) {
    const ratios = figures.map((figure, i) => ours[i] / figure);
    const spread =
      name === first
        ? ""
        : `${median(ratios).toFixed(2)}  (${Math.min(...ratios).toFixed(2)}..${Math.max(...ratios).toFixed(2)})`;
    console.log(
      `  ${name.padEnd(24)}${Math.round(median(figures)).toLocaleString("en").padStart(14)}   ${spread}`,
    );
  }
  // Against the fastest peer of each round.
  const worst = ours.map((figure, i) => figure / Math.max(...peers.map(([, figures]) => figures[i])));
  console.log(
    `  ratio to the fastest peer: ${median(worst).toFixed(2)} (${Math.min(...worst).toFixed(2)}..${Math.max(...worst).toFixed(2)})`,
  );
  return median(worst);
}
