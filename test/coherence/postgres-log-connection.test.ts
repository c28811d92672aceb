import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import type { LogHead } from "../../src/coherence/log.ts";
import type { SignedRecord } from "../../src/coherence/log-server.ts";
import { AppendQueue } from "../../src/coherence/postgres/append-queue.ts";
import { Bell } from "../../src/coherence/postgres/bell.ts";
import { isPool, type LentClient, type PostgresPool, type Row } from "../../src/coherence/postgres/client.ts";
import { pooledLink } from "../../src/coherence/postgres/link.ts";
import { manualClock } from "../../src/testing/manual-clock.ts";

/** A client whose statements are answered by the test. */
class FakeClient extends EventEmitter implements LentClient {
  readonly statements: string[] = [];
  readonly released: boolean[] = [];
  answer: (text: string) => Promise<{ rows: Row[] }> = async () => ({ rows: [] });
  query(text: string): Promise<{ rows: Row[] }> {
    this.statements.push(text);
    return this.answer(text);
  }
  release(destroy = false): void {
    this.released.push(destroy);
  }
}

/** A pool that lends when the test says so. */
function fakePool() {
  const asked: ((client: LentClient) => void)[] = [];
  const pool: PostgresPool & { totalCount: number } = {
    totalCount: 0,
    query: () => Promise.reject(new Error("Not used.")),
    connect: () => new Promise((resolve) => asked.push(resolve)),
  };
  return { pool, asked };
}

const turn = () => new Promise(setImmediate);
const never = () => new Promise<never>(() => {});

function linked() {
  const clock = manualClock();
  const bell = new Bell(clock);
  const { pool, asked } = fakePool();
  return { clock, bell, pool, asked, link: pooledLink(pool, 'a "channel', bell, clock) };
}

describe("the follower's connection", () => {
  it("listens before it is used, and rings for what it hears", async () => {
    const { link, bell, asked } = linked();
    const answer = link.follow("SELECT", []);
    const client = new FakeClient();
    asked[0]?.(client);
    await answer;
    expect(client.statements).toEqual(['LISTEN "a ""channel"', "SELECT"]);
    bell.arm();
    const heard = bell.wait(1_000);
    client.emit("notification", {});
    await heard;
  });

  it.each(["error", "end"])(
    "tells who waits for records when it is lost (%s), and is made anew",
    async (event) => {
      const { link, bell, asked } = linked();
      const answer = link.follow("SELECT", []);
      const client = new FakeClient();
      asked[0]?.(client);
      await answer;
      bell.arm();
      const waiting = bell.wait(1_000);
      client.emit(event, new Error("gone"));
      await expect(waiting).rejects.toThrow(/was lost/);
      client.emit("error", new Error("once more"));
      expect(client.released).toEqual([true]);
      void link.follow("SELECT", []);
      expect(asked).toHaveLength(2);
    },
  );

  it("is given back even when it is lent or answers only after it was given up", async () => {
    const { link, asked } = linked();
    const mute = new FakeClient();
    mute.answer = never;
    void link.follow("SELECT", []);
    asked[0]?.(mute);
    await turn();
    link.reconnect();
    link.reconnect();
    expect(mute.released).toEqual([true]);
    const second = link.follow("SELECT", []);
    link.reconnect();
    const late = new FakeClient();
    asked[1]?.(late);
    await expect(second).rejects.toThrow(/given up/);
    expect(late.released).toEqual([true]);
    link.close();
    await expect(link.follow("SELECT", [])).rejects.toThrow(/closed/);
  });

  it("asks a pool that lends nothing no more than twice", async () => {
    const { link, asked } = linked();
    for (let i = 0; i < 2; i++) {
      link.follow("SELECT", []).catch(() => {});
      link.reconnect();
    }
    await expect(link.follow("SELECT", [])).rejects.toThrow(/lends no client/);
    expect(asked).toHaveLength(2);
    for (const lend of asked) lend(new FakeClient());
    await turn();
    void link.follow("SELECT", []);
    expect(asked).toHaveLength(3);
  });
});

describe("a statement on the pool", () => {
  it("destroys its client when the answer does not come in time, and keeps one whose statement failed", async () => {
    const { link, asked, clock } = linked();
    const failing = new FakeClient();
    failing.answer = async () => {
      throw new Error("syntax error");
    };
    const failed = link.run("SELEC", []);
    asked[0]?.(failing);
    await expect(failed).rejects.toThrow("syntax error");
    expect(failing.released).toEqual([false]);
    expect(failing.listenerCount("error")).toBe(0);

    const mute = new FakeClient();
    mute.answer = never;
    const slow = link.run("SELECT", []);
    const expected = expect(slow).rejects.toThrow(/did not answer within 5000 ms/);
    asked[1]?.(mute);
    await clock.advance(5_000);
    await expected;
    expect(mute.released).toEqual([true]);
    // It may tell of its end later, and must not end the process by that.
    mute.emit("error", new Error("gone"));
  });

  it("gives a client that comes too late back unused", async () => {
    const { link, asked, clock } = linked();
    const waiting = expect(link.run("SELECT", [])).rejects.toThrow(/did not answer/);
    await clock.advance(5_000);
    await waiting;
    const late = new FakeClient();
    asked[0]?.(late);
    await turn();
    expect([late.released, late.statements]).toEqual([[false], []]);
  });
});

describe("the queue of appends", () => {
  const record = (id: string): SignedRecord => ({ id, record: { kind: "ended", keys: [] } });

  it("sends one statement at a time, in order, and gathers what comes meanwhile", async () => {
    const sent: { ids: string[]; answer: (head: LogHead) => void; fail: (error: Error) => void }[] = [];
    const queue = new AppendQueue(
      (records) =>
        new Promise((answer, fail) => sent.push({ ids: records.map(({ id }) => id), answer, fail })),
    );
    const first = queue.append([record("a")]);
    await turn();
    const failing = queue.append([record("b")]);
    await turn();
    const failingToo = queue.append([record("c"), record("d")]);
    await turn();
    expect(sent.map(({ ids }) => ids)).toEqual([["a"]]);
    sent[0]?.answer({ generation: "g", position: 7 });
    expect(await first).toEqual({ generation: "g", position: 7 });
    await turn();
    expect(sent[1]?.ids).toEqual(["b", "c", "d"]);
    const expected = [failing, failingToo].map((one) => expect(one).rejects.toThrow("lost"));
    const last = queue.append([record("e")]);
    const closed = queue.close();
    await expect(queue.append([record("f")])).rejects.toThrow(/closed/);
    sent[1]?.fail(new Error("lost"));
    await Promise.all(expected);
    await turn();
    sent[2]?.answer({ generation: "g", position: 9 });
    expect((await last).position).toBe(9);
    await closed;
    expect(sent).toHaveLength(3);
  });

  it("sends at most a thousand records at once, but for a single append of more", async () => {
    const sizes: number[] = [];
    const queue = new AppendQueue(async (records) => {
      sizes.push(records.length);
      return { generation: "g", position: 0 };
    });
    const many = (n: number) => Array.from({ length: n }, () => record("x"));
    await Promise.all([600, 400, 1, 5_000, 999, 1].map((n) => queue.append(many(n))));
    expect(sizes).toEqual([1_000, 1, 5_000, 1_000]);
  });
});

describe("a client", () => {
  it("is a pool only when it counts what it lends", () => {
    const query = async () => ({ rows: [] });
    expect(isPool(fakePool().pool)).toBe(true);
    expect(isPool({ query })).toBe(false);
    expect(isPool({ query, connect: async () => {} } as never)).toBe(false);
  });
});
