import { expect, it } from "vitest";
import type { LogServer, SignedRecord } from "../../src/coherence/log-server.ts";

let serial = 0;
const signed = (key: string): SignedRecord => ({
  id: `id${++serial}`,
  record: { kind: "keys", keys: [key] },
});

/** Of followers, in milliseconds; the tests wait for one to run out. */
const LEASE = 600;

/** Who followed an earlier history is unknown: after a founding, servers may wait one lease out for them. */
async function settledDown(server: LogServer): Promise<void> {
  const { position } = await server.join("first", undefined, LEASE);
  await server.leave("first");
  await expect.poll(() => server.unacknowledged(position), { timeout: 5_000 }).toBeLessThanOrEqual(0);
}

/**
 * What every server of a log must do, below `RemoteLog`.
 * @param open a new connection to the same, at first empty, log; called several times a test.
 */
export function logServerContract(
  name: string,
  open: () => Promise<{ connect: () => LogServer; end: () => Promise<void> }>,
): void {
  const using = (title: string, body: (connect: () => LogServer) => Promise<void>): void => {
    it(`${name}: ${title}`, async () => {
      const { connect, end } = await open();
      const servers: LogServer[] = [];
      try {
        await body(() => {
          const server = connect();
          servers.push(server);
          return server;
        });
      } finally {
        for (const server of servers) await server.close();
        await end();
      }
    });
  };

  using("founds a log once, whoever comes first", async (connect) => {
    const [one, two] = [connect(), connect()];
    const [a, b] = await Promise.all([one.join("a", undefined, 5_000), two.join("b", undefined, 5_000)]);
    expect(a.standing).toBe("new");
    expect(b.generation).toBe(a.generation);
    expect(b.position).toBe(a.position);
    const head = await one.append([signed("k")]);
    expect(head).toEqual({ generation: a.generation, position: a.position + 1 });
  });

  using("knows a follower by what it applied: the founding, a record, another history", async (connect) => {
    const server = connect();
    const first = await server.join("n", undefined, 5_000);
    const founding = { position: first.position, id: first.id };
    expect((await server.join("n", founding, 5_000)).standing).toBe("same");
    const record = signed("k");
    const { position } = await server.append([record, signed("l")]);
    expect((await server.join("n", founding, 5_000)).standing).toBe("same");
    expect((await server.join("n", { position: position - 1, id: record.id }, 5_000)).standing).toBe("same");
    expect((await server.join("n", { position: position - 1, id: "another" }, 5_000)).standing).toBe("other");
    expect((await server.join("n", { position: first.position, id: "another" }, 5_000)).standing).toBe(
      "other",
    );
    expect((await server.join("n", { position: position + 1, id: record.id }, 5_000)).standing).toBe("other");
    const head = await server.join("n", undefined, 5_000);
    expect(head.position).toBe(position);
    expect((await server.join("n", { position, id: head.id }, 5_000)).standing).toBe("same");
  });

  using("reads in order, at most as many as asked, and wakes who waits", async (connect) => {
    const [reader, writer] = [connect(), connect()];
    const { position } = await reader.join("n", undefined, 5_000);
    const sent = ["a", "b", "c"].map(signed);
    await writer.append(sent);
    const two = await reader.read(position, 2, 1);
    expect(two.map((one) => one.position)).toEqual([position + 1, position + 2]);
    expect(two.map(({ id, record }) => ({ id, record }))).toEqual(sent.slice(0, 2));
    const waiting = reader.read(position + 3, 10, 5_000);
    const last = signed("d");
    await writer.append([last]);
    expect(await waiting).toMatchObject([{ position: position + 4, ...last }]);
    expect(await reader.read(position + 4, 10, 1)).toEqual([]);
  });

  using("counts as acknowledged what is of its history, and nothing else (P3)", async (connect) => {
    const server = connect();
    await settledDown(server);
    const first = await server.join("a", undefined, LEASE);
    await server.join("a", { position: first.position, id: first.id }, LEASE);
    const record = signed("k");
    const { position } = await server.append([record]);
    const left = await server.unacknowledged(position);
    expect(left).toBeGreaterThan(LEASE / 2);
    expect(left).toBeLessThanOrEqual(LEASE + 100);
    await server.join("a", { position, id: "of another history" }, LEASE);
    expect(await server.unacknowledged(position)).toBeGreaterThan(0);
    await server.join("a", undefined, LEASE);
    expect(await server.unacknowledged(position)).toBeGreaterThan(0);
    await server.join("b", { position, id: record.id }, LEASE);
    expect(await server.unacknowledged(position)).toBeGreaterThan(0);
    await server.join("a", { position, id: record.id }, LEASE);
    expect(await server.unacknowledged(position)).toBeLessThanOrEqual(0);
  });

  using("waits for nobody who left, and for the dead until their lease ran out", async (connect) => {
    const server = connect();
    await settledDown(server);
    const first = await server.join("a", undefined, LEASE);
    await server.join("a", { position: first.position, id: first.id }, LEASE);
    const record = signed("k");
    const { position } = await server.append([record]);
    await server.join("b", { position, id: record.id }, LEASE);
    await server.leave("a");
    expect(await server.unacknowledged(position)).toBeLessThanOrEqual(0);
    await server.join("dead", { position: first.position, id: first.id }, LEASE);
    expect(await server.unacknowledged(position)).toBeGreaterThan(0);
    await expect.poll(() => server.unacknowledged(position), { timeout: 5_000 }).toBeLessThanOrEqual(0);
  });

  using("ends a generation once, above what was reached, and tells followers", async (connect) => {
    const server = connect();
    const first = await server.join("a", undefined, 5_000);
    const { position } = await server.append([signed("k")]);
    const renounced = await server.renounce(first.generation, position + 100);
    expect(renounced.generation).not.toBe(first.generation);
    expect(renounced.position).toBeGreaterThan(position + 100);
    // Followers see a gap, a clear, or are told that this is another history.
    const told = await server.read(position, 10, 1).catch(() => []);
    const gap = told[0]?.position !== position + 1;
    expect(gap || told[0]?.record.kind === "clear").toBe(true);
    expect(await server.renounce(first.generation, 0)).toEqual(renounced);
  });

  using(
    "counts all tags as invalidated where there is no log yet, and of before it was founded",
    async (connect) => {
      const server = connect();
      // It may also reject: what cannot be told is not believed either.
      const [before] = await server.tagPositions(["t"]).catch(() => []);
      const { position } = await server.join("a", undefined, LEASE);
      if (before !== undefined) expect(before.hard).toBeGreaterThanOrEqual(position);
      const [after] = await server.tagPositions(["t"]);
      expect(after?.hard).toBeGreaterThanOrEqual(position);
    },
  );

  using("keeps tags and patterns with the records", async (connect) => {
    const server = connect();
    await server.join("a", undefined, 5_000);
    const { position } = await server.append([
      { id: `id${++serial}`, record: { kind: "tags", tags: ["t", "u"] } },
      { id: `id${++serial}`, record: { kind: "tags", tags: ["t"], soft: true } },
      { id: `id${++serial}`, record: { kind: "keys", keys: ["k"], pending: true, written: 3 } },
      { id: `id${++serial}`, record: { kind: "glob", glob: "a*b" } },
    ]);
    const [t, u] = await server.tagPositions(["t", "u"]);
    expect(t?.hard).toBeGreaterThanOrEqual(position - 3);
    expect(t?.soft).toBeGreaterThanOrEqual(position - 2);
    expect(u?.hard).toBeGreaterThanOrEqual(position - 3);
    expect(await server.patterns()).toEqual([
      { position: position - 1, record: { kind: "keys", keys: ["k"], pending: true, written: 3 } },
      { position, record: { kind: "glob", glob: "a*b" } },
    ]);
    await server.swept({ position, record: { kind: "glob", glob: "a*b" } });
    expect((await server.patterns()).map((pattern) => pattern.position)).toEqual([position - 1]);
  });
}
