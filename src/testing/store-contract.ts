import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { LayerContext } from "../coherence/log.ts";
import type { Store, StoredEntry, StoreLayer, StoreRead } from "../stores/store.ts";
import { type ManualClock, manualClock } from "./manual-clock.ts";
import type { SuiteApi } from "./suite.ts";

/** What the suite is told of a driver. */
export interface StoreContractOptions {
  /** `false`: the store goes by a clock of its own (a server's), so the suite really waits [true]. */
  readonly injectedClock?: boolean;
}

/** A store entry with every fact filled in; for tests of drivers. */
export function storedEntry(facts: Partial<StoredEntry> = {}): StoredEntry {
  return {
    value: new Uint8Array([1, 2, 3]),
    ttl: 10_000,
    grace: 0,
    asOf: 1,
    generation: "g",
    tags: [],
    cost: 0,
    sliding: 0,
    shape: 0,
    ...facts,
  };
}

/**
 * The suite every store driver passes.
 * @param open makes a fresh, empty layer; called once a test.
 * @example storeContract({ describe, it }, "redis", () => redis({ url }));
 */
export function storeContract(
  { describe, it }: SuiteApi,
  name: string,
  open: () => StoreLayer | Promise<StoreLayer>,
  options: StoreContractOptions = {},
): void {
  const using = (
    title: string,
    body: (
      store: Store,
      wait: (ms: number) => Promise<void>,
      reopen: (cacheName: string) => Store,
    ) => Promise<void>,
  ): void => {
    it(title, async () => {
      const clock: ManualClock = manualClock();
      const real = options.injectedClock === false;
      const layer = await open();
      const context = (cacheName: string): LayerContext => ({
        cacheName,
        maxLag: 5_000,
        clock,
        random: Math.random,
        warn: () => undefined,
      });
      const stores: Store[] = [];
      const make = (cacheName: string): Store => {
        const store = layer.open(context(cacheName));
        stores.push(store);
        return store;
      };
      try {
        await body(make("contract"), async (ms) => (real ? sleep(ms) : clock.tick(ms)), make);
      } finally {
        for (const store of stores) await store.close();
      }
    });
  };
  const one = async (store: Store, key: string, read = {}) => {
    const [answer] = await store.read([key], read);
    assert.ok(answer !== undefined);
    return answer;
  };

  /** The value of a read that has to have found one. */
  const bytesOf = (read: StoreRead | undefined): Buffer => {
    assert.ok(read?.found !== undefined, "an entry is there");
    return Buffer.from(read.found.entry.value);
  };

  /** The token of a read that has to have been lent one. */
  const tokenOf = (read: StoreRead): string => {
    assert.ok(read.lease !== undefined && read.lease !== "busy", "a lease is lent");
    return read.lease;
  };

  describe(`store contract: ${name}`, () => {
    using("gives back what was written, in the order of the keys", async (store) => {
      const full = storedEntry({
        value: Buffer.from("value"),
        grace: 5_000,
        asOf: 42,
        generation: "gen",
        tags: ["a", "ü"],
        cost: 12.5,
        sliding: 10_000,
        shape: 0xfedcba98,
      });
      await store.write([
        ["a", full],
        ["b", storedEntry({ value: new Uint8Array(0) })],
      ]);
      const reads = await store.read(["b", "missing", "a", "a"]);
      assert.equal(reads.length, 4);
      assert.deepEqual(bytesOf(reads[0]), Buffer.alloc(0));
      assert.equal(reads[1]?.found, undefined);
      assert.ok(reads[2]?.found !== undefined);
      const { value, ...facts } = reads[2].found.entry;
      assert.deepEqual(Buffer.from(value), Buffer.from("value"));
      const { value: _, ...expected } = full;
      assert.deepEqual({ ...facts, tags: [...facts.tags] }, expected);
      assert.deepEqual(bytesOf(reads[3]), bytesOf(reads[2]));
    });

    using("tells the age, and drops an entry when ttl and grace have passed", async (store, wait) => {
      await store.write([["k", storedEntry({ ttl: 200, grace: 300 })]]);
      await wait(250);
      const { found } = await one(store, "k");
      assert.ok(found !== undefined && found.age >= 240 && found.age < 500);
      await wait(300);
      assert.equal((await one(store, "k")).found, undefined);
    });

    using("keeps entries without an end", async (store, wait) => {
      await store.write([
        ["k", storedEntry({ ttl: Infinity })],
        ["g", storedEntry({ ttl: 50, grace: Infinity })],
      ]);
      await wait(100);
      assert.equal((await one(store, "k")).found?.entry.ttl, Infinity);
      assert.equal((await one(store, "g")).found?.entry.grace, Infinity);
    });

    using("takes values from nothing to 5 MB, and any key", async (store) => {
      const big = Buffer.alloc(5 * 1024 * 1024, 7);
      const keys = [
        "a:b",
        "a*b?[c]",
        "line\nbreak",
        "nul\0",
        "ünï©ødé 🙂",
        " ",
        "k".repeat(250),
        "@ns:x:y",
        "__proto__",
      ];
      await store.write([
        ["big", storedEntry({ value: big })],
        ...keys.map((key) => [key, storedEntry({ value: Buffer.from(key) })] as const),
      ]);
      assert.ok(big.equals(bytesOf(await one(store, "big"))));
      for (const key of keys) assert.equal(bytesOf(await one(store, key)).toString(), key);
    });

    using("reads and writes a thousand keys in one step", async (store) => {
      const keys = Array.from({ length: 1_000 }, (_, i) => `k${i}`);
      await store.write(keys.map((key) => [key, storedEntry({ value: Buffer.from(key) })]));
      const reads = await store.read(keys);
      assert.deepEqual(
        reads.map((read) => bytesOf(read).toString()),
        keys,
      );
      assert.deepEqual(await store.read([]), []);
    });

    using("lends one lease at a time, and only with it fills", async (store) => {
      const first = await one(store, "k", { lease: 10_000 });
      assert.ok(first.lease !== undefined && first.lease !== "busy");
      assert.equal((await one(store, "k", { lease: 10_000 })).lease, "busy");
      assert.equal((await one(store, "k")).lease, undefined);
      assert.equal(await store.fill("k", storedEntry(), "another token"), "refused");
      assert.equal(await store.fill("k", storedEntry(), first.lease), "awaited");
      assert.equal(await store.fill("k", storedEntry(), first.lease), "refused");
      const after = await one(store, "k", { lease: 10_000 });
      assert.ok(after.found !== undefined && after.lease === undefined);
    });

    using(
      "lends a lease next to a stale entry, and next to a fresh one when asked to refresh",
      async (store, wait) => {
        await store.write([["k", storedEntry({ ttl: 100, grace: 60_000 })]]);
        const eager = await one(store, "k", { lease: 10_000, refresh: true });
        assert.ok(eager.found !== undefined && eager.lease !== undefined && eager.lease !== "busy");
        await store.release("k", eager.lease);
        await wait(150);
        const stale = await one(store, "k", { lease: 10_000 });
        assert.ok(stale.found !== undefined && stale.lease !== undefined && stale.lease !== "busy");
        assert.ok((await one(store, "k")).found !== undefined);
        assert.equal(
          await store.fill("k", storedEntry({ value: Buffer.from("new") }), stale.lease),
          "stored",
        );
        assert.equal(bytesOf(await one(store, "k")).toString(), "new");
      },
    );

    using("lets a lease run out, be renewed and be given back", async (store, wait) => {
      const dead = tokenOf(await one(store, "k", { lease: 150 }));
      await wait(200);
      const next = tokenOf(await one(store, "k", { lease: 300 }));
      assert.notEqual(next, dead);
      assert.equal(await store.fill("k", storedEntry(), dead), "refused");
      assert.equal(await store.renew("k", dead, 1_000), false);
      await wait(200);
      assert.equal(await store.renew("k", next, 10_000), true);
      await wait(200);
      assert.equal((await one(store, "k", { lease: 300 })).lease, "busy");
      assert.equal(await store.release("k", dead), false);
      assert.equal((await one(store, "k", { lease: 300 })).lease, "busy");
      assert.equal(await store.release("k", next), true);
      assert.notEqual((await one(store, "k", { lease: 300 })).lease, "busy");
    });

    for (const how of ["remove", "write", "expire"] as const) {
      using(`refuses a fill that began before ${how}`, async (store) => {
        const lease = tokenOf(await one(store, "k", { lease: 10_000 }));
        if (how === "remove") await store.remove(["k"]);
        if (how === "write") await store.write([["k", storedEntry({ value: Buffer.from("written") })]]);
        if (how === "expire") await store.expire(["k"]);
        assert.equal(await store.fill("k", storedEntry({ value: Buffer.from("old") }), lease), "refused");
        const { found } = await one(store, "k");
        assert.equal(
          found === undefined ? "" : Buffer.from(found.entry.value).toString(),
          how === "write" ? "written" : "",
        );
      });
    }

    using("tells whether anybody was told busy while a lease was held", async (store) => {
      const alone = tokenOf(await one(store, "k", { lease: 10_000 }));
      assert.equal(await store.release("k", alone), false);
      const again = tokenOf(await one(store, "k", { lease: 10_000 }));
      assert.equal(await store.renew("k", again, 10_000), true);
      await one(store, "k"); // asks for no lease: does not wait
      assert.equal(await store.fill("k", storedEntry(), again), "stored");
      const eager = tokenOf(await one(store, "k", { lease: 10_000, refresh: true }));
      assert.equal((await one(store, "k", { lease: 10_000, refresh: true })).lease, "busy");
      assert.equal(await store.renew("k", eager, 10_000), true);
      assert.equal(await store.fill("k", storedEntry(), eager), "awaited");
      await store.ping();
    });

    using("of many fills at once with one token accepts one", async (store) => {
      const lease = tokenOf(await one(store, "k", { lease: 10_000 }));
      const fills = await Promise.all(
        Array.from({ length: 20 }, () => store.fill("k", storedEntry(), lease)),
      );
      assert.equal(fills.filter((filled) => filled !== "refused").length, 1);
    });

    using("of many readers at once lends to one", async (store) => {
      const reads = await Promise.all(Array.from({ length: 20 }, () => one(store, "k", { lease: 10_000 })));
      assert.equal(reads.filter((read) => read.lease !== "busy").length, 1);
    });

    using("removes entries and counts them", async (store) => {
      await store.write([
        ["a", storedEntry()],
        ["b", storedEntry()],
      ]);
      assert.equal(await store.remove(["a", "missing", "a"]), 1);
      assert.equal((await one(store, "a")).found, undefined);
      assert.ok((await one(store, "b")).found !== undefined);
    });

    using("sweeps only what is older than a position, and leaves leases", async (store) => {
      await store.write([
        ["old", storedEntry({ asOf: 4 })],
        ["new", storedEntry({ asOf: 5 })],
      ]);
      const lease = tokenOf(await one(store, "leased", { lease: 10_000 }));
      assert.equal(await store.remove(["old", "new", "leased"], 5), 1);
      assert.equal((await one(store, "old")).found, undefined);
      assert.ok((await one(store, "new")).found !== undefined);
      assert.equal(await store.fill("leased", storedEntry(), lease), "stored");
    });

    using("makes entries stale and counts them", async (store) => {
      await store.write([["k", storedEntry({ ttl: 60_000, grace: 60_000 })]]);
      assert.equal(await store.expire(["k", "missing"]), 1);
      const { found } = await one(store, "k");
      assert.ok(found !== undefined && found.age >= found.entry.ttl);
    });

    using("starts a lifetime anew by touch", async (store, wait) => {
      await store.write([["k", storedEntry({ ttl: 150, tags: ["t"] })]]);
      assert.equal(await store.touch("k", 60_000), true);
      await wait(250);
      const { found } = await one(store, "k");
      assert.ok(found !== undefined && found.age < found.entry.ttl);
      assert.deepEqual([...found.entry.tags], ["t"]);
      assert.equal(await store.touch("missing", 1_000), false);
      await store.write([["stale", storedEntry({ ttl: 60_000, grace: 60_000 })]]);
      await store.expire(["stale"]);
      assert.equal(await store.touch("stale", 60_000), false);
    });

    using("lists the keys of live entries by prefix, each once", async (store, wait) => {
      const keys = Array.from({ length: 2_500 }, (_, i) => `p:${i}`);
      await store.write(keys.map((key) => [key, storedEntry()]));
      await store.write([
        ["q:1", storedEntry()],
        ["p", storedEntry()],
        ["p:dead", storedEntry({ ttl: 50 })],
      ]);
      await one(store, "p:leased", { lease: 10_000 });
      await wait(100);
      const list = async (prefix: string): Promise<string[]> => {
        const all: string[] = [];
        for await (const batch of store.keys(prefix)) all.push(...batch);
        return all.sort();
      };
      assert.deepEqual(await list("p:"), [...keys].sort());
      assert.deepEqual(await list("q:"), ["q:1"]);
      assert.equal((await list("")).length, 2_502);
      await assert.rejects(async () => {
        for await (const _ of store.keys("p:", AbortSignal.abort(new Error("stop"))))
          assert.fail("a batch after the abort");
      }, /stop/);
    });

    using("lists keys by prefixes of any content", async (store) => {
      const keys = ["a*b", "a*c", "aXb", "line\nbreak", "line", "ü:1", "ü:2", "u:1", "[x]", "k".repeat(250)];
      await store.write(keys.map((key) => [key, storedEntry()]));
      for (const prefix of ["a*", "line\n", "ü:", "[", "k".repeat(249), "\\"]) {
        const listed: string[] = [];
        for await (const batch of store.keys(prefix)) listed.push(...batch);
        assert.deepEqual(listed.sort(), keys.filter((key) => key.startsWith(prefix)).sort());
      }
    });

    using("clears what is of another generation", async (store) => {
      await store.write([
        ["old", storedEntry({ generation: "g1" })],
        ["new", storedEntry({ generation: "g2" })],
      ]);
      await store.clear("g2");
      assert.equal((await one(store, "old")).found, undefined);
      assert.ok((await one(store, "new")).found !== undefined);
      assert.equal((await store.stats()).entries, 1);
    });

    using("keeps caches of two names apart", async (store, _wait, reopen) => {
      const other = reopen("another");
      await store.write([["k", storedEntry()]]);
      assert.equal((await one(other, "k")).found, undefined);
      await other.remove(["k"]);
      await other.clear("");
      assert.ok((await one(store, "k")).found !== undefined);
    });

    using("counts entries and bytes", async (store) => {
      await store.write([
        ["a", storedEntry({ value: Buffer.alloc(1_000) })],
        ["b", storedEntry({ value: Buffer.alloc(1_000) })],
      ]);
      const full = await store.stats();
      assert.equal(full.entries, 2);
      assert.ok(full.bytes >= 2_000);
      await store.remove(["a", "b"]);
      const empty = await store.stats();
      assert.equal(empty.entries, 0);
      assert.ok(empty.bytes < full.bytes);
    });

    using("rejects a read whose signal is aborted, and every call once closed", async (store) => {
      await assert.rejects(store.read(["k"], { signal: AbortSignal.abort(new Error("stop")) }), /stop/);
      await store.close();
      await assert.rejects(store.read(["k"]));
      await assert.rejects(store.write([["k", storedEntry()]]));
      await assert.rejects(store.remove(["k"]));
      await assert.rejects(store.fill("k", storedEntry(), "token"));
      await assert.rejects(store.renew("k", "token", 1_000));
      await assert.rejects(store.release("k", "token"));
      await assert.rejects(store.expire(["k"]));
      await assert.rejects(store.touch("k", 1_000));
      await assert.rejects(store.clear("g"));
      await assert.rejects(store.stats());
      await assert.rejects(store.ping());
      await assert.rejects(async () => {
        for await (const _ of store.keys("")) assert.fail("a batch after the end");
      });
    });
  });
}
