import assert from "node:assert/strict";
import type { Appended, Follower, LayerContext, Log, LogFactory, LogHead } from "../coherence/log.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";
import type { SuiteApi } from "./suite.ts";

/** A follower that keeps what it is told. */
export interface RecordingFollower extends Follower {
  readonly seen: Appended[];
  readonly resets: { head: LogHead; reason: string }[];
}

/** Makes a follower that keeps what it is told. */
export function recordingFollower(): RecordingFollower {
  const seen: Appended[] = [];
  const resets: { head: LogHead; reason: string }[] = [];
  return {
    seen,
    resets,
    apply: (records) => void seen.push(...records),
    reset: (head, reason) => void resets.push({ head, reason }),
  };
}

/**
 * The suite every log passes.
 * @param open makes a factory of a fresh log; called once a test. All logs it opens are of the same cache.
 */
export function logContract(
  { describe, it }: SuiteApi,
  name: string,
  open: () => LogFactory | Promise<LogFactory>,
): void {
  type Opened = { log: Log; follower: RecordingFollower; head: LogHead };
  const using = (
    title: string,
    body: (join: () => Promise<Opened>, clock: ManualClock) => Promise<void>,
  ): void => {
    it(title, async () => {
      const factory = await open();
      const clock = manualClock();
      const context: LayerContext = {
        cacheName: "contract",
        maxLag: 5_000,
        clock,
        random: Math.random,
        warn: () => undefined,
      };
      const logs: Log[] = [];
      try {
        await body(async () => {
          const log = factory(context);
          logs.push(log);
          const follower = recordingFollower();
          return { log, follower, head: await log.open(follower) };
        }, clock);
      } finally {
        for (const log of logs) await log.close();
      }
    });
  };

  describe(`log contract: ${name}`, () => {
    using(
      "gives each record a higher position, and its own follower has it when append resolves",
      async (join) => {
        const { log, follower, head } = await join();
        const first = await log.append([{ kind: "keys", keys: ["a"] }]);
        const last = await log.append([
          { kind: "tags", tags: ["t"], soft: true },
          { kind: "prefix", prefix: "p:" },
        ]);
        assert.ok(first > head.position && last > first);
        assert.deepEqual(
          follower.seen.map((one) => one.record),
          [
            { kind: "keys", keys: ["a"] },
            { kind: "tags", tags: ["t"], soft: true },
            { kind: "prefix", prefix: "p:" },
          ],
        );
        assert.equal(follower.seen.at(-1)?.position, last);
        const positions = follower.seen.map((one) => one.position);
        assert.deepEqual(
          positions,
          [...new Set(positions)].sort((a, b) => a - b),
        );
      },
    );

    using("keeps the order of appends made at once", async (join) => {
      const { log, follower } = await join();
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => log.append([{ kind: "keys", keys: [`k${i}`] }])),
      );
      assert.deepEqual(
        follower.seen.map(({ record }) => (record.kind === "keys" ? record.keys[0] : "")),
        Array.from({ length: 100 }, (_, i) => `k${i}`),
      );
    });

    using("remembers the last invalidations of tags, hard and soft apart", async (join) => {
      const { log } = await join();
      const hard = await log.append([{ kind: "tags", tags: ["a", "b"] }]);
      const soft = await log.append([{ kind: "tags", tags: ["a"], soft: true }]);
      const [a] = await log.tagPositions(["a", "b"]);
      // A log may answer with a later position (what it cannot tell is taken as invalidated), never an earlier one.
      assert.ok(a !== undefined && a.hard >= hard && a.soft >= soft);
    });

    using("begins a new generation with clear", async (join) => {
      const { log, follower } = await join();
      await log.append([{ kind: "clear", generation: "next" }]);
      assert.deepEqual(follower.seen.at(-1)?.record, { kind: "clear", generation: "next" });
    });

    using("tells all its followers everything once, in one order", async (join, clock) => {
      const one = await join();
      if (!one.log.shared) return;
      const two = await join();
      assert.equal(two.head.generation, one.head.generation);
      for (let i = 0; i < 20; i++)
        await (i % 3 === 0 ? two : one).log.append([{ kind: "keys", keys: [`k${i}`] }]);
      await clock.advance(1_000);
      await one.log.catchUp();
      await two.log.catchUp();
      assert.equal(one.follower.seen.length, 20);
      assert.deepEqual(two.follower.seen, one.follower.seen);
      const [later] = [await join()];
      assert.equal(later.head.position, one.follower.seen.at(-1)?.position);
      assert.equal(later.follower.seen.length, 0);
    });

    using("keeps patterns until they are swept, for those who join later", async (join) => {
      const one = await join();
      if (!one.log.shared) return;
      await one.log.append([
        { kind: "prefix", prefix: "user:" },
        { kind: "glob", glob: "a*b", soft: true },
      ]);
      const two = await join();
      const active = [...(await two.log.patterns())];
      assert.deepEqual(
        active.map((pattern) => pattern.record),
        [
          { kind: "prefix", prefix: "user:" },
          { kind: "glob", glob: "a*b", soft: true },
        ],
      );
      for (const pattern of active) await two.log.swept(pattern);
      assert.deepEqual(await one.log.patterns(), []);
    });

    using("tells nothing more once closed", async (join, clock) => {
      const one = await join();
      if (!one.log.shared) return;
      const two = await join();
      await two.log.close();
      await one.log.append([{ kind: "keys", keys: ["k"] }]);
      await clock.advance(1_000);
      assert.equal(two.follower.seen.length, 0);
    });
  });
}
