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
 * @returns {Promise<Map<object, number[]>>} operations a second of each round, by contender
 */
export async function interleave(list, rounds, work, count) {
  const results = new Map(list.map((contender) => [contender, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < list.length; i++) {
      const contender = list[(i + round) % list.length];
      const figure = await rate((n) => work(contender, n), count);
      if (round > 0) results.get(contender).push(figure);
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

const spread = (ratios) =>
  `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}..${Math.max(...ratios).toFixed(2)})`;

/**
 * Prints operations a second, and the ratio of the first row to each, round by round.
 * @param {number} need what the median ratio to the fastest peer of each round has to be
 * @returns {boolean} whether it is
 */
export function table(title, results, need, note = () => "") {
  const [[, ours]] = results;
  console.log(`\n${title}\n  ${"".padEnd(24)}${"ops/s".padStart(12)}   ours / it (min..max)`);
  for (const [contender, figures] of results) {
    const ratios = ours.map((figure, i) => figure / figures[i]);
    const ops = Math.round(median(figures)).toLocaleString("en");
    const ratio = contender.own ? "" : spread(ratios);
    console.log(`  ${contender.name.padEnd(24)}${ops.padStart(12)}   ${ratio.padEnd(24)}${note(contender)}`);
  }
  const peers = [...results].filter(([contender]) => !contender.own);
  const toFastest = ours.map((figure, i) => figure / Math.max(...peers.map(([, figures]) => figures[i])));
  const met = need === undefined || median(toFastest) >= need;
  const bound = need === undefined ? "" : ` [need >= ${need}]`;
  console.log(`  ratio to the fastest peer: ${spread(toFastest)}${bound}${met ? "" : "  NOT MET"}`);
  return met;
}
