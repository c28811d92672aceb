import { describe, expect, it } from "vitest";
import { type Applier, Following } from "../../src/cache/following.ts";
import type { ActivePattern, Follower, Log, LogRecord } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";

/** A log of which a test says what each call answers. */
function scripted(answers: Partial<Log>) {
  const clock = manualClock();
  let follower: Follower | undefined;
  const did: string[] = [];
  const log: Log = {
    name: "scripted",
    shared: true,
    open(to) {
      follower = to;
      return { generation: "g", position: 5 };
    },
    append: (records) => 5 + records.length,
    tagPositions: (tags) => tags.map(() => ({ hard: 0, soft: 0 })),
    patterns: () => [],
    swept: () => undefined,
    lag: () => 0,
    settled: () => undefined,
    catchUp: () => undefined,
    close: () => undefined,
    ...answers,
  };
  const to: Applier = {
    apply: (records) => void did.push(...records.map(({ position }) => `apply ${position}`)),
    forget: () => void did.push("forget"),
    forgetThese: (records) => void did.push(`forget ${records.map(({ kind }) => kind).join()}`),
    detachAll: () => void did.push("detach"),
    failed: (action) => void did.push(`failed to ${action}`),
    warn: () => undefined,
  };
  const following = new Following(log, 5_000, clock, to);
  return { clock, did, following, follower: () => follower as Follower };
}

const key = (position: number) => ({ position, record: { kind: "keys" as const, keys: [`k${position}`] } });
const prefix: ActivePattern = { position: 3, record: { kind: "prefix", prefix: "a" } };

describe("a cache that begins to follow its log", () => {
  it("applies what the log tells before it is known where that began, once it is", async () => {
    const gate = Promise.withResolvers<{ generation: string; position: number }>();
    let follower: Follower | undefined;
    const { clock, did, following } = scripted({
      open(to) {
        follower = to;
        return gate.promise;
      },
      patterns: async () => [prefix],
    });
    following.open();
    follower?.apply([key(6)]);
    expect(did).toEqual([]);
    gate.resolve({ generation: "g", position: 5 });
    await clock.advance(0);
    expect(did).toEqual(["apply 6"]);
    expect(following.invalidations.position).toBe(6);
    expect(following.invalidations.verdict("a:1", [], 2)).toBe("invalid");
    expect(following.trusts()).toBe(true);
  });

  it("starts again when the log says so before it was open", async () => {
    const gate = Promise.withResolvers<{ generation: string; position: number }>();
    let follower: Follower | undefined;
    const { clock, did, following } = scripted({
      open(to) {
        follower = to;
        return gate.promise;
      },
    });
    following.open();
    follower?.reset({ generation: "h", position: 9 }, "it was another one");
    expect(did).toEqual(["forget"]);
    gate.reject(new Error("too late"));
    await clock.advance(0);
    expect(did).toEqual(["forget", "failed to open its log"]);
    await following.close();
  });

  it("that opens at once waits for patterns that do not come at once", async () => {
    const { clock, following } = scripted({ patterns: async () => [prefix] });
    following.open();
    expect(following.trusts()).toBe(false);
    await clock.advance(0);
    expect(following.trusts()).toBe(true);
    expect(following.invalidations.verdict("a:1", [], 2)).toBe("invalid");
  });

  it("after a loss believes nothing until the patterns are known, and asks for them again", async () => {
    let fails = 0;
    const { clock, did, following, follower } = scripted({
      patterns: () => (fails-- > 0 ? Promise.reject(new Error("not now")) : []),
    });
    following.open();
    expect(following.trusts()).toBe(true);
    fails = 1;
    follower().reset({ generation: "h", position: 9 }, "flushed");
    await clock.advance(0);
    expect(did).toEqual(["forget", "failed to ask its log for patterns"]);
    expect(following.trusts()).toBe(false);
    await clock.advance(1_000);
    expect(following.trusts()).toBe(true);
    fails = 1;
    follower().reset({ generation: "i", position: 10 }, "flushed");
    await following.close();
    await clock.advance(2_000);
    expect(following.trusts()).toBe(false);
  });
});

describe("what the log did not take", () => {
  it("is appended later, as one clear when it is very much", async () => {
    const taken: LogRecord[][] = [];
    let refuses = true;
    const { clock, following } = scripted({
      append: (records) => {
        if (refuses) throw new Error("away");
        taken.push([...records]);
        return 6;
      },
    });
    following.open();
    for (let i = 0; i < 1_200; i++)
      await expect(following.append([{ kind: "tags", tags: [`t${i}`] }])).rejects.toThrow("away");
    await clock.advance(1_000);
    refuses = false;
    await clock.advance(3_000);
    const kinds = taken.flat().map(({ kind }) => kind);
    expect(kinds).toContain("clear");
    expect(kinds.length).toBeLessThan(1_200);
    await following.close();
  });

  it("of endings is nobody's trouble", async () => {
    const { following } = scripted({
      append: () => {
        throw new Error("away");
      },
    });
    following.open();
    await following.tellEnded(["k"]);
    expect(following.lastError).toBe("away");
  });

  it("makes a wait for all fail by name, unless it was aborted", async () => {
    const { following } = scripted({ settled: () => Promise.reject(new Error("away")) });
    following.open();
    await expect(following.settled(1, undefined)).rejects.toThrow("hear from all followers");
    await expect(following.settled(1, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});
