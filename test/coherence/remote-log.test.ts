import { describe, expect, it } from "vitest";
import { type LayerContext, systemClock } from "../../src/index.ts";
import { logContract, type ManualClock, manualClock, recordingFollower } from "../../src/testing/index.ts";
import { logServerContract } from "./log-server-contract.ts";
import { mapLogServer } from "./map-log-server.ts";

logContract({ describe, it }, "remote log over a server in this process", () => mapLogServer().factory);

logServerContract("server in this process", async () => {
  const server = mapLogServer();
  const context: LayerContext = {
    cacheName: "t",
    maxLag: 5_000,
    clock: systemClock(),
    random: Math.random,
    warn: () => undefined,
  };
  return { connect: () => server.connect(context), end: async () => undefined };
});

/** Two processes that follow one server. */
async function following() {
  const server = mapLogServer();
  const clock = manualClock();
  const warnings: string[] = [];
  const context: LayerContext = {
    cacheName: "t",
    maxLag: 5_000,
    clock,
    random: () => 0.5,
    warn: (message) => warnings.push(message),
  };
  const join = async () => {
    const follower = recordingFollower();
    const log = server.factory(context);
    const head = await log.open(follower);
    return { log, follower, head };
  };
  const one = await join();
  const two = await join();
  return { server, clock, warnings, join, one, two };
}

async function appended(clock: ManualClock, append: Promise<number> | number): Promise<number> {
  const done = Promise.resolve(append);
  done.catch(() => undefined);
  await clock.advance(0);
  return done;
}

const keys = (key: string) => [{ kind: "keys" as const, keys: [key] }];

describe("a follower of a remote log", () => {
  it("is told of records at once, and acknowledges at its heartbeat", async () => {
    const { server, clock, one, two } = await following();
    const position = await appended(clock, one.log.append(keys("a")));
    expect(two.follower.seen.map((seen) => seen.position)).toEqual([position]);
    expect([...server.followers.values()].every(({ acked }) => acked < position)).toBe(true);
    await clock.advance(500);
    expect([...server.followers.values()].every(({ acked }) => acked === position)).toBe(true);
    expect(one.log.lag()).toBeLessThanOrEqual(500);
  });

  it("acknowledges a strict record at once: a wait for all is short (P3)", async () => {
    const { clock, one, two } = await following();
    const position = await appended(clock, one.log.append([{ kind: "tags", tags: ["t"], strict: true }]));
    let settled = false;
    void Promise.resolve(one.log.settled(position)).then(() => {
      settled = true;
    });
    await clock.advance(10);
    expect(settled).toBe(true);
    await two.log.close();
  });

  it("that is dead is waited for until its lease ran out, and no longer (P3)", async () => {
    const { server, clock, one, two } = await following();
    server.hang("join"); // nobody can acknowledge
    const position = await appended(clock, one.log.append(keys("a")));
    let settled = false;
    void Promise.resolve(one.log.settled(position)).then(() => {
      settled = true;
    });
    await clock.advance(4_400);
    expect(settled).toBe(false);
    await clock.advance(700);
    expect(settled).toBe(true);
    // And it stopped trusting itself no later than that.
    expect(two.log.lag()).toBeGreaterThan(5_000);
  });

  it("lets a wait for all be aborted", async () => {
    const { server, clock, one } = await following();
    server.hang("join");
    const position = await appended(clock, one.log.append(keys("a")));
    const controller = new AbortController();
    const wait = Promise.resolve(one.log.settled(position, controller.signal));
    wait.catch(() => undefined);
    await clock.advance(50);
    controller.abort(new Error("enough"));
    await expect(wait).rejects.toThrow("enough");
  });

  for (const [what, lose] of [
    ["was flushed", (server: ReturnType<typeof mapLogServer>) => server.flush()],
    ["fell back behind it", (server: ReturnType<typeof mapLogServer>) => server.rewind(1)],
  ] as const)
    it(`notices within a heartbeat that the server ${what}, also without traffic (P7)`, async () => {
      const { server, clock, one, two, warnings } = await following();
      await appended(clock, one.log.append(keys("a")));
      await appended(clock, one.log.append(keys("b")));
      const before = { ...one.head };
      lose(server);
      await clock.advance(500);
      for (const { follower } of [one, two]) {
        // The first to notice begins a new generation; the other is told so, or notices as well.
        const clears = follower.seen.map(({ record }) => record).filter((record) => record.kind === "clear");
        const generations = [
          ...follower.resets.map(({ head }) => head.generation),
          ...clears.map(({ generation }) => generation),
        ];
        expect(generations).toHaveLength(1);
        expect(generations[0]).not.toBe(before.generation);
      }
      expect(warnings).toEqual([]);
      // Both go on in the new generation.
      await appended(clock, one.log.append(keys("c")));
      expect(two.follower.seen.at(-1)?.record).toEqual({ kind: "keys", keys: ["c"] });
      expect(two.follower.seen.at(-1)?.position).toBe(one.follower.seen.at(-1)?.position);
    });

  it("notices another history that has grown past its own position (P7)", async () => {
    const { server, clock, one, two } = await following();
    for (const key of ["a", "b", "c"]) await appended(clock, one.log.append(keys(key)));
    server.hang("read"); // the followers hear nothing for a while
    server.hang("join");
    await clock.advance(600);
    server.rewind(2);
    server.heal();
    const late = one.log.append([...keys("x"), ...keys("y"), ...keys("z")]);
    await clock.advance(3_000);
    await late;
    const told = [
      ...two.follower.seen.map((seen) => seen.record.kind),
      ...two.follower.resets.map(() => "reset"),
    ];
    expect(told.some((kind) => kind === "reset" || kind === "clear")).toBe(true);
  });

  it("starts again when the log was trimmed past it, in the same generation", async () => {
    const { server, clock, one, two } = await following();
    server.hang("read");
    await clock.advance(100);
    const appends = [0, 1, 2, 3, 4].map((i) => one.log.append(keys(`k${i}`)));
    await clock.advance(250);
    await Promise.all(appends);
    server.trim(2);
    server.heal();
    await clock.advance(3_000);
    expect(two.follower.resets.map(({ reason }) => reason)).toContain(
      "this process was away longer than the log remembers",
    );
    expect(two.follower.resets.at(-1)?.head.generation).toBe(one.head.generation);
  });

  it("whose reads hang while its heartbeats are answered is not up to date (P2)", async () => {
    const { server, clock, one, two } = await following();
    await appended(clock, one.log.append(keys("a")));
    server.hang("read");
    await clock.advance(600);
    const append = one.log.append(keys("b"));
    await clock.advance(300);
    await append;
    await clock.advance(6_000);
    expect(two.log.lag()).toBeGreaterThan(5_000);
    server.heal();
    await clock.advance(2_000);
    expect(two.log.lag()).toBeLessThanOrEqual(500);
  });

  it("that does not hear in time of what it appended is behind: nothing is proved until it is", async () => {
    const { server, clock, one } = await following();
    server.hang("read");
    await clock.advance(500);
    const position = one.log.append(keys("a"));
    await clock.advance(250);
    expect(await position).toBeGreaterThan(0);
    expect(one.log.lag()).toBe(Number.POSITIVE_INFINITY);
    server.heal();
    await clock.advance(2_000);
    expect(one.follower.seen.at(-1)?.record).toEqual({ kind: "keys", keys: ["a"] });
    expect(one.log.lag()).toBeLessThanOrEqual(500);
  });

  it("drops a connection that does not answer, comes back with growing pauses, and says so once", async () => {
    const { server, clock, warnings, one, two } = await following();
    server.hang();
    await clock.advance(10_000);
    expect(server.calls.reconnect).toBeGreaterThan(4);
    expect(warnings).toHaveLength(2); // one a process
    expect(one.log.lag()).toBeGreaterThan(5_000);
    server.heal();
    await clock.advance(1_600);
    expect(one.log.lag()).toBeLessThanOrEqual(500);
    await appended(clock, one.log.append(keys("a")));
    expect(two.follower.seen).toHaveLength(1);
    expect(two.follower.resets).toEqual([]);
  });

  it("lets go of everything when it is closed in the middle of a wait", async () => {
    const { server, clock, one, two } = await following();
    server.hang("append");
    const append = Promise.resolve(one.log.append(keys("a")));
    append.catch(() => undefined);
    await clock.advance(0);
    const closed = Promise.all([one.log.close(), two.log.close()]);
    await clock.advance(1_500);
    await closed;
    await one.log.close();
    expect(server.followers.size).toBe(0);
    expect(clock.pending).toBeLessThanOrEqual(2); // waits of the server itself
  });
});
