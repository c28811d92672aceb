import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyError, OptionError } from "../../src/base/errors.ts";
import {
  encodeKey,
  escapeGlob,
  globMatcher,
  isPlainKey,
  type Key,
  namespacePrefix,
  parsePattern,
  scopePrefix,
} from "../../src/base/key.ts";
import { anyText } from "./arbitrary.ts";

const encode = (key: Key): string => encodeKey(key, 250);
const hash = "a".repeat(43);
/** How a hashed key ends. */
const stamp = `#${hash}`;
/** Text of the characters that mean something to keys. */
const tricky = fc
  .array(
    fc.constantFrom(..."@:%*?[]\\'#-=,.0123en", "true", "null", "@ns:", "@of:", "%3A", "é", "😀", hash),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(""));
const text = fc.oneof(
  tricky,
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.double({ noNaN: true }).map(String),
  fc.bigInt().map((n) => `${n}n`),
);
const key = text.filter((value) => value !== "");
const part = fc.oneof(
  text,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
);
const tuple = fc.array(part, { minLength: 1, maxLength: 4 }) as unknown as fc.Arbitrary<Exclude<Key, string>>; // at least one
const anyKey: fc.Arbitrary<Key> = fc.oneof(key, tuple);

describe("encodeKey()", () => {
  it.each<[Key, string]>([
    ["user:1", "user:1"],
    ["a*b?[c]%", "a*b?[c]%"],
    ["@admin", "@@admin"],
    ["a@b", "a@b"],
    [["user", 42], "user:42"],
    [["user", "42"], "user:'42"],
    [["a"], "a"],
    [["a:b", "c"], "a%3Ab:c"],
    [["50%", "*?[]\\"], "50%25:%2A%3F%5B%5D%5C"],
    [["@x", "me@example.org", "@y"], "%40x:me@example.org:%40y"],
    [[-0, 0, 1.5, 1e21, 1e-7], "-0:0:1.5:1e+21:1e-7"],
    [[5n, "5n", -5n], "5n:'5n:-5n"],
    [[true, "true", null, "null", false, "false"], "true:'true:null:'null:false:'false"],
    [["", "'a", "1e+21", "-0", "1.", "01"], "':''a:'1e+21:'-0:1.:'01"],
  ])("writes %o as %s", (given, stored) => {
    expect(encode(given)).toBe(stored);
  });

  it("never gives two tuples one key", () => {
    const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
      a.length === b.length && a.every((item, i) => Object.is(item, b[i]));
    fc.assert(
      fc.property(tuple, tuple, (a, b) => {
        expect(encode(a) === encode(b)).toBe(same(a, b));
      }),
      { numRuns: 5_000 },
    );
    // Tuples that only differ in how the same text is cut, or in types.
    fc.assert(
      fc.property(tuple, (a) => {
        const joined: Key = [a.map(String).join(":")];
        const texts = a.map(String) as unknown as Exclude<Key, string>; // of the same length
        for (const b of [joined, texts]) expect(encode(a) === encode(b)).toBe(same(a, b));
      }),
      { numRuns: 5_000 },
    );
  });

  it("never gives two strings one key", () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(encodeKey(a, 100) === encodeKey(b, 100)).toBe(a === b);
        expect(encodeKey(a, 100)).not.toBe(encodeKey(`@${a}`, 100));
      }),
      { numRuns: 2_000 },
    );
  });

  it("bounds every key in bytes, keeps a readable head, and stays well-formed", () => {
    fc.assert(
      fc.property(
        anyKey,
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 100, max: 250 }),
        (given, times, bound) => {
          const long = typeof given === "string" ? given.repeat(times) : given;
          const stored = encodeKey(long, bound);
          expect(Buffer.byteLength(stored)).toBeLessThanOrEqual(bound);
          expect(stored.isWellFormed()).toBe(true);
          expect(stored).not.toBe("");
        },
      ),
    );
    const stored = encode(`article:${"é".repeat(200)}`);
    expect(stored).toMatch(/^article:é+#[\w-]{43}$/);
    expect(Buffer.byteLength(stored)).toBeGreaterThan(246);
  });

  it("tells long keys apart by all of their content", () => {
    const long = "x".repeat(400);
    expect(encode(`${long}a`)).not.toBe(encode(`${long}b`));
    expect(encode([long, 1])).not.toBe(encode([long, "1"]));
    expect(encode(`${long}a`)).toBe(encode(`${long}a`));
  });

  it("keeps keys of up to the bound as they are", () => {
    expect(encode("x".repeat(250))).toBe("x".repeat(250));
    expect(encode("é".repeat(125))).toBe("é".repeat(125));
    expect(encode("x".repeat(251))).toMatch(/#/);
    expect(encode("é".repeat(126))).toMatch(/#/);
  });

  it("lets no short key pose as the hashed form of a long one", () => {
    const stored = encode("x".repeat(300));
    expect(encode(stored)).not.toBe(stored);
    expect(encode([stored])).not.toBe(stored);
    expect(encode(`short#${hash}`)).not.toBe(`short#${hash}`);
    expect(encode(`#${hash}`)).toMatch(/#/);
    expect(encode(`short#${hash}.`)).toBe(`short#${hash}.`);
  });

  it.each<[unknown]>(
    [
      "",
      [],
      undefined,
      null,
      5,
      {},
      Symbol("x"),
      () => "k",
      [undefined],
      [{}],
      [["a"]],
      [Number.NaN],
      [Number.POSITIVE_INFINITY],
      [Symbol("x")],
      Array(1),
      "a\ud800",
      ["\udc00"],
      `${"x".repeat(300)}\ud800`,
    ].map((given: unknown) => [given]),
  )("refuses %o with what to do", (given) => {
    expect(() => encode(given as Key)).toThrow(KeyError); // not keys by their type
    expect(() => encode(given as Key)).toThrow(/cannot be used: expected/);
  });
});

describe("isPlainKey()", () => {
  it("says yes only of keys that are stored as they are, if they are keys that fit", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          key,
          key.map((head) => head + stamp),
        ),
        (given) => {
          if (isPlainKey(given) && given.isWellFormed() && Buffer.byteLength(given) <= 250)
            expect(encode(given)).toBe(given);
        },
      ),
      { numRuns: 2_000 },
    );
    expect(isPlainKey("user:1")).toBe(true);
    expect(isPlainKey("@ns:a:b")).toBe(false);
    expect(isPlainKey(`a${stamp}`)).toBe(false);
  });
});

describe("namespacePrefix() and scopePrefix()", () => {
  it("writes names so that nothing in them means anything", () => {
    expect(namespacePrefix("shop")).toBe("@ns:shop:");
    expect(namespacePrefix("a:b%*?[]\\@")).toBe("@ns:a%3Ab%25%2A%3F%5B%5D%5C%40:");
    expect(scopePrefix({ user: 42, tenant: "a,b=c:d" })).toBe("@of:tenant=a%2Cb%3Dc%3Ad,user=42:");
    expect(scopePrefix({ a: 1n, b: "x" })).toBe(scopePrefix({ b: "x", a: 1n }));
  });

  it("never lets a key or a name reach into another namespace, scope or the root", () => {
    const space = fc.oneof(
      key.map((name) => ["ns", name] as const),
      fc
        .dictionary(key, fc.oneof(key, fc.integer(), fc.bigInt()), { minKeys: 1, maxKeys: 3 })
        .map((owner) => ["of", owner] as const),
    );
    const path = fc.array(space, { maxLength: 3 });
    const prefixOf = (
      spaces: readonly (
        | readonly ["ns", string]
        | readonly ["of", Record<string, string | number | bigint>]
      )[],
    ): string =>
      spaces.map(([kind, what]) => (kind === "ns" ? namespacePrefix(what) : scopePrefix(what))).join("");
    fc.assert(
      fc.property(path, anyKey, path, anyKey, (pathA, keyA, pathB, keyB) => {
        const [a, b] = [prefixOf(pathA), prefixOf(pathB)];
        const [storedA, storedB] = [a + encode(keyA), b + encode(keyB)];
        if (a !== b) expect(storedA).not.toBe(storedB);
        // What invalidates all of B by its prefix reaches A only when A is B or nested in it.
        if (storedA.startsWith(b)) expect(a.startsWith(b)).toBe(true);
      }),
      { numRuns: 3_000 },
    );
    // And with contents that try.
    fc.assert(
      fc.property(path, anyKey, (pathA, keyA) => {
        const stored = prefixOf(pathA) + encode(keyA);
        if (pathA.length > 0) {
          expect(encode(stored)).not.toBe(stored);
          expect(encode([stored])).not.toBe(stored);
          expect(encode(stored.slice(1))).not.toBe(stored);
          expect(encode(stored).startsWith("@ns:") || encode(stored).startsWith("@of:")).toBe(false);
        }
      }),
    );
  });

  it("gives different owners different scopes", () => {
    const owner = fc.dictionary(
      tricky.filter((k) => k !== "" && k !== "__proto__"),
      tricky.filter((v) => v !== ""),
      { minKeys: 1, maxKeys: 3 },
    );
    fc.assert(
      fc.property(owner, owner, (a, b) => {
        const content = (o: Record<string, string>): string =>
          JSON.stringify(Object.entries(o).sort(([x], [y]) => (x < y ? -1 : 1)));
        expect(scopePrefix(a) === scopePrefix(b)).toBe(content(a) === content(b));
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<unknown>(["", undefined, null, 5, "\ud800"])("refuses the namespace %o", (name) => {
    expect(() => namespacePrefix(name as string)).toThrow(OptionError);
  });

  it.each<[unknown]>(
    [
      {},
      undefined,
      null,
      "user",
      { user: "" },
      { user: undefined },
      { user: Number.NaN },
      { user: null },
      { "": "a" },
      { user: true },
      { user: "\ud800" },
      { "\ud800": "a" },
      ["a"],
    ].map((owner) => [owner]),
  )("refuses the owner %o: such a scope would be shared by all", (owner) => {
    expect(() => scopePrefix(owner as Record<string, string>)).toThrow(OptionError);
  });
});

/** The plain definition of a glob: slow, and obviously right. */
function matches(glob: readonly string[], text: string): boolean {
  const [first, ...rest] = glob;
  if (first === undefined) return text === "";
  if (first === "*") return matches(rest, text) || (text !== "" && matches(glob, text.slice(1)));
  const char = text.charAt(0);
  if (text === "") return false;
  const one =
    first === "?" ||
    (first === "[a-c]" && "abc".includes(char)) ||
    (first === "[^a]" && char !== "a") ||
    (first === "[!a]" && char !== "a") ||
    (first === "[]x]" && "]x".includes(char)) ||
    (first === "\\*" && char === "*") ||
    first === char;
  return one && matches(rest, text.slice(1));
}

describe("globMatcher()", () => {
  it("matches what the definition says", () => {
    const glob = fc.array(
      fc.constantFrom("*", "?", "a", "b", "]", "-", "[a-c]", "[^a]", "[!a]", "[]x]", "\\*"),
      { minLength: 1, maxLength: 7 },
    );
    const subject = fc
      .array(fc.constantFrom("a", "b", "c", "d", "*", "]", "-", "x", "\n"), { maxLength: 8 })
      .map((units) => units.join(""));
    fc.assert(
      fc.property(glob, subject, (tokens, subject) => {
        expect(globMatcher(tokens.join(""))(subject)).toBe(matches(tokens, subject));
      }),
      { numRuns: 5_000 },
    );
  });

  it("matches whole keys, ranges, escapes and code units", () => {
    expect(globMatcher("user:*:name")("user:1:2:name")).toBe(true);
    expect(globMatcher("user:*")("xuser:1")).toBe(false);
    expect(globMatcher("[0-9a-f][\\]-]")("e]")).toBe(true);
    expect(globMatcher("[0-9a-f][\\]-]")("e-")).toBe(true);
    expect(globMatcher("[^\\^]")("^")).toBe(false);
    expect(globMatcher("\\?")("?")).toBe(true);
    expect(globMatcher("\\?")("a")).toBe(false);
    expect(globMatcher("??")("😀")).toBe(true);
  });

  it("takes bounded steps for patterns that make a RegExp backtrack without end", () => {
    const matcher = globMatcher(`${"*a".repeat(200)}*b`);
    expect(matcher("a".repeat(20_000))).toBe(false);
    expect(globMatcher(`${"*".repeat(10_000)}a`)("b".repeat(10_000))).toBe(false);
  });

  it("matches exactly a text that was escaped", () => {
    fc.assert(
      fc.property(fc.oneof(tricky, anyText), fc.oneof(tricky, anyText), (a, b) => {
        fc.pre(a !== "");
        expect(globMatcher(escapeGlob(a))(a)).toBe(true);
        expect(globMatcher(escapeGlob(a))(b)).toBe(a === b);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each(["", "[", "a[b", "[^", "[]", "a\\", "[a\\", "[z-a]", "[a-"])("refuses the malformed %o", (glob) => {
    expect(() => globMatcher(glob)).toThrow(OptionError);
    expect(() => parsePattern(glob)).toThrow(OptionError);
  });
});

describe("parsePattern()", () => {
  it.each<[string, object]>([
    ["user:1", { kind: "key", key: "user:1" }],
    ["a\\*b", { kind: "key", key: "a*b" }],
    ["user:*", { kind: "prefix", prefix: "user:" }],
    ["*", { kind: "prefix", prefix: "" }],
    ["user:**", { kind: "prefix", prefix: "user:" }],
    ["a\\[b*", { kind: "prefix", prefix: "a[b" }],
    ["a\\*", { kind: "key", key: "a*" }],
    ["*:1", { kind: "glob", glob: "*:1" }],
    ["user:*:*", { kind: "glob", glob: "user:*:*" }],
    ["user:?", { kind: "glob", glob: "user:?" }],
    ["user:[ab]*", { kind: "glob", glob: "user:[ab]*" }],
  ])("reads %s", (pattern, meaning) => {
    expect(parsePattern(pattern)).toEqual(meaning);
  });

  it("means what the glob means", () => {
    fc.assert(
      fc.property(tricky, tricky, fc.boolean(), (a, b, exact) => {
        fc.pre(a !== "");
        const pattern = escapeGlob(a) + (exact ? "" : "*");
        const parsed = parsePattern(pattern);
        const meant =
          parsed.kind === "key"
            ? parsed.key === a + b
            : parsed.kind === "prefix" && (a + b).startsWith(parsed.prefix);
        expect(meant).toBe(globMatcher(pattern)(a + b));
      }),
    );
  });

  it("refuses what is not text", () => {
    expect(() => parsePattern(5 as unknown as string)).toThrow(OptionError); // from JavaScript
  });
});
