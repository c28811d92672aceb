import { describe, expect, it } from "vitest";
import { schemaFingerprint, shapeOf } from "../../../src/base/fingerprint.ts";
import { keySlot } from "../../../src/stores/redis/key-slot.ts";
import { decodeRecord, encodeRecord } from "../../../src/stores/redis/record.ts";
import { plainText } from "../../../src/stores/redis/record-json.ts";
import type { RedisLink, Reply } from "../../../src/stores/redis/redis-link.ts";
import { isSamePattern, parsePattern, parseRecord } from "../../../src/stores/redis/redis-log-record.ts";
import {
  listOf,
  numberOf,
  recordsOf,
  standingOf,
  textOf,
} from "../../../src/stores/redis/redis-log-reply.ts";
import { RedisReader } from "../../../src/stores/redis/redis-reader.ts";
import { storedEntry } from "../../../src/testing/index.ts";

const EVERYTHING = { kind: "prefix", prefix: "" };

describe("answers of a server that the log does not know", () => {
  it("are errors that show them, whatever was expected", () => {
    for (const reply of [null, undefined, []])
      expect(() => textOf(reply)).toThrow("an answer that the log does not know");
    expect(textOf(Buffer.from("a"))).toBe("a");
    expect(textOf(7)).toBe("7");
    expect(() => numberOf("1.5")).toThrow("does not know");
    expect(() => numberOf("many")).toThrow("does not know");
    expect(() => listOf("text")).toThrow("does not know");
    expect(() => standingOf("elsewhere")).toThrow("does not know");
  });

  it("of a stream are read in both forms of the protocol; foreign entries are left out or distrusted", () => {
    expect(recordsOf(null)).toEqual([]);
    const entries: Reply = [
      ["5-0", ["r", '{"kind":"keys","keys":["k"]}', "i", "id", "a", "before"]],
      ["6-1", ["r", "{}"]],
      ["99999999999999999999-0", ["r", "{}"]],
      ["7-0", null],
      ["8-0", ["r", "not JSON", "i", "x"]],
    ];
    const expected = [
      { position: 5, id: "id", before: "before", record: { kind: "keys", keys: ["k"] } },
      { position: 7, id: "", before: undefined, record: expect.objectContaining(EVERYTHING) },
      { position: 8, id: "x", before: undefined, record: expect.objectContaining(EVERYTHING) },
    ];
    expect(recordsOf([["stream", entries]])).toEqual(expected);
    expect(recordsOf(["stream", entries])).toEqual(expected);
  });

  it("of records are distrusted where they are not understood", () => {
    for (const text of [
      "null",
      "7",
      "{}",
      '{"kind":"later"}',
      '{"kind":"keys","keys":[1]}',
      '{"kind":"tags","tags":"t"}',
    ])
      expect(parseRecord(text)).toMatchObject(EVERYTHING);
    for (const text of [
      '{"kind":"prefix"}',
      '{"kind":"glob","glob":1}',
      '{"kind":"clear"}',
      '{"kind":"ended"}',
    ])
      expect(parseRecord(text)).toMatchObject(EVERYTHING);
    expect(parseRecord('{"kind":"keys","keys":["k"],"soft":"yes"}')).toMatchObject(EVERYTHING);
    expect(parsePattern(3, '{"kind":"tags","tags":["t"]}')).toEqual({ position: 3, record: EVERYTHING });
    expect(isSamePattern({ kind: "prefix", prefix: "a" }, { kind: "prefix", prefix: "a", soft: true })).toBe(
      false,
    );
    expect(isSamePattern({ kind: "glob", glob: "a*" }, { kind: "glob", glob: "a*" })).toBe(true);
    expect(isSamePattern({ kind: "keys", keys: ["a"] }, { kind: "keys", keys: ["b"] })).toBe(false);
    expect(isSamePattern({ kind: "tags", tags: [] }, { kind: "tags", tags: ["t"] })).toBe(true);
  });
});

describe("records of a key", () => {
  const full = storedEntry({
    value: Buffer.from("value"),
    ttl: 5_000,
    grace: 7_000,
    sliding: 5_000,
    cost: 12.5,
    shape: 77,
    tags: ["a", "ü"],
    asOf: 1.5,
    generation: "not base64url!",
  });

  for (const layout of ["binary", "json"] as const) {
    it(`in the ${layout} layout, cut off anywhere, are an entry or nothing, and never an error`, () => {
      const { record } = encodeRecord(full, layout);
      for (let length = 0; length < record.length; length++) {
        const found = decodeRecord(record.subarray(0, length), 0);
        if (layout === "json") expect(found).toBeUndefined();
        else expect([undefined, "not base64url!"]).toContain(found?.entry.generation);
      }
      expect(decodeRecord(record, 0)?.entry.tags).toEqual(["a", "ü"]);
    });

    it(`in the ${layout} layout, with any one byte changed, never end in an error`, () => {
      const { record } = encodeRecord(full, layout);
      for (let at = 0; at < record.length; at++)
        for (const byte of [0, 34, 92, 127, 255]) {
          const damaged = Buffer.from(record);
          damaged[at] = byte;
          expect(() => decodeRecord(damaged, 0)).not.toThrow();
        }
    });

    it(`in the ${layout} layout keep spans without end, and refuse a generation that is too long`, () => {
      const endless = encodeRecord({ ...full, ttl: Infinity, grace: Infinity, sliding: 0 }, layout);
      expect(endless.keep).toBe("inf");
      expect(decodeRecord(endless.record, 1e12)?.entry.ttl).toBe(Infinity);
      expect(() => encodeRecord({ ...full, generation: "é".repeat(200) }, layout)).toThrow("generation");
    });
  }

  it("in the JSON layout carry texts, JSON, and bytes that are neither", () => {
    for (const value of [
      Buffer.concat([Buffer.from([1, 0, 1]), Buffer.from("text")]),
      Buffer.concat([Buffer.from([1, 0, 1]), Buffer.from([0xff])]),
      Buffer.concat([Buffer.from([1, 0, 0]), Buffer.from('{"a":1}')]),
      Buffer.concat([Buffer.from([1, 0, 0]), Buffer.from("no JSON")]),
      Buffer.concat([Buffer.from([2, 0]), Buffer.from([0xff])]),
      Buffer.alloc(0),
    ]) {
      const { record } = encodeRecord({ ...full, value }, "json");
      expect(Buffer.from(decodeRecord(record, 0)?.entry.value ?? "none")).toEqual(value);
    }
    expect(plainText('a"b\\c')).toBe('"a\\u0022b\\u005cc"');
    const strange = encodeRecord(full, "json").record.toString();
    expect(decodeRecord(Buffer.from(strange.replace('"as":"bytes"', '"as":"later"')), 0)).toBeUndefined();
    expect(decodeRecord(Buffer.from(strange.replace(/"value":.*\}/, '"value":7}')), 0)).toBeUndefined();
  });
});

describe("the slot of a key", () => {
  it("is of the part in braces, when there is one that is not empty", () => {
    expect(keySlot("{user}:1")).toBe(keySlot("user"));
    expect(keySlot(Buffer.from("{user}:2"))).toBe(keySlot("x{user}y{other}"));
    expect(keySlot("{}user")).not.toBe(keySlot("user"));
    expect(keySlot("{user")).not.toBe(keySlot("user"));
    expect(keySlot("123456789")).toBe(0x31c3);
  });
});

describe("reads whose answers make no sense", () => {
  /** A link that answers what it is told to. */
  const linkOf = (answer: (command: string) => Reply, cluster = false): RedisLink => ({
    cluster,
    send: async (_key, [command]) => answer(String(command)),
    run: async () => answer("script"),
    masters: async () => [],
    dedicated: () => {
      throw new Error("not asked for");
    },
    close: async () => undefined,
  });

  it("reject: of MGET, of TIME, of the script", async () => {
    const none = { lease: undefined, refresh: false };
    const strange: [string, Record<string, Reply>][] = [
      ["of MGET", { MGET: "OK", TIME: ["1", "2"] }],
      ["of MGET", { MGET: [], TIME: ["1", "2"] }],
      ["did not tell its time", { MGET: [null], TIME: "now" }],
    ];
    for (const [message, answers] of strange) {
      const reader = new RedisReader(
        linkOf((command) => answers[command] ?? null),
        "binary",
      );
      await expect(reader.read(["k"], none)).rejects.toThrow(message);
      reader.stop();
    }
    const script = new RedisReader(
      linkOf(() => "OK", true),
      "binary",
    );
    await expect(script.read(["k"], none)).rejects.toThrow("than the script's");
    await expect(script.read(["k"], { lease: 10, refresh: true })).rejects.toThrow("than the script's");
    script.stop();
  });

  it("of no keys ask nothing; a key that holds something else is no entry", async () => {
    const reader = new RedisReader(
      linkOf((command) => (command === "MGET" ? ["text"] : ["1", "2"])),
      "binary",
    );
    expect(await reader.read([], { lease: undefined, refresh: false })).toEqual([]);
    expect(await reader.read(["k"], { lease: undefined, refresh: false })).toEqual([
      { found: undefined, lease: undefined },
    ]);
    reader.stop();
  });
});

describe("the fingerprint of a schema", () => {
  const schemaOf = (jsonSchema: unknown) => ({
    "~standard": { version: 1 as const, vendor: "t", validate: (value: unknown) => ({ value }), jsonSchema },
  });

  it("is of its JSON Schema; none where its library gives none, or cannot", () => {
    const one = schemaOf({ output: () => ({ type: "string" }) });
    expect(schemaFingerprint(one)).toBe(schemaFingerprint(schemaOf({ output: () => ({ type: "string" }) })));
    expect(schemaFingerprint(one)).toBe(schemaFingerprint(one));
    expect(schemaFingerprint(schemaOf(undefined))).toBe("");
    const unable = schemaOf({
      output: () => {
        throw new Error("a transformation has none");
      },
    });
    expect(schemaFingerprint(unable)).toBe("");
    expect([shapeOf(""), shapeOf("a") === shapeOf("b")]).toEqual([0, false]);
  });
});
