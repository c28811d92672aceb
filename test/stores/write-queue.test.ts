import { describe, expect, it } from "vitest";
import { WriteQueue } from "../../src/stores/disk/write-queue.ts";

describe("the disk store's write queue", () => {
  it("shares a transaction among those that wait, and keeps their order", async () => {
    const batches: number[][] = [];
    const queue = new WriteQueue(async (work) => {
      await Promise.resolve();
      batches.push([]);
      work();
    });
    const jobs = [1, 2, 3].map((n) => queue.add(() => batches.at(-1)?.push(n) && n));
    expect(await Promise.all(jobs)).toEqual([1, 2, 3]);
    expect(batches).toEqual([[1, 2, 3]]);
    await queue.idle();
  });

  it("ends a transaction when its time is used up, so that the event loop is not held", async () => {
    let transactions = 0;
    const queue = new WriteQueue(async (work) => {
      await Promise.resolve();
      transactions++;
      work();
    });
    const slow = () => {
      for (const until = performance.now() + 6; performance.now() < until; );
    };
    await Promise.all([queue.add(slow), queue.add(slow), queue.add(slow)]);
    expect(transactions).toBe(3);
  });

  it("tells each job of its own error, and all of a batch when it is not committed", async () => {
    let full = false;
    const queue = new WriteQueue(async (work) => {
      await Promise.resolve();
      work();
      if (full) throw new Error("no space");
    });
    const bad = queue.add(() => {
      throw new Error("mine");
    });
    const good = queue.add(() => "done");
    await expect(bad).rejects.toThrow("mine");
    expect(await good).toBe("done");
    full = true;
    const [one, two] = [queue.add(() => 1), queue.add(() => 2)];
    await expect(one).rejects.toThrow("no space");
    await expect(two).rejects.toThrow("no space");
    full = false;
    expect(await queue.add(() => 3)).toBe(3);
  });

  it("rejects all that wait when no transaction can be begun", async () => {
    const queue = new WriteQueue(() => Promise.reject(new Error("closed")));
    const jobs = [queue.add(() => 1), queue.add(() => 2)];
    for (const job of jobs) await expect(job).rejects.toThrow("closed");
    await queue.idle();
  });
});
