import { createHash } from "node:crypto";
import { KeyError, OptionError } from "./errors.ts";

/** A key: a string, or a tuple of scalars (`["user", id]`) in which no content can forge another key. */
export type Key = string | readonly [KeyPart, ...KeyPart[]];
/** One part of a tuple key. */
export type KeyPart = string | number | bigint | boolean | null;

/** How a hashed key ends: "#" and a sha256 in base64url. Keys given in that form are hashed too, so none can pose as one. */
const HASHED = /#[\w-]{43}$/;
const HASH_LENGTH = 44;
const AT = 64; // "@"
const HASH_SIGN = 35; // "#"

/**
 * Whether a non-empty key cannot be in need of rewriting but for its length or ill-formed text: it does not
 * begin as a namespace, nor end as a hashed key does.
 */
export function isPlainKey(key: string): boolean {
  return key.charCodeAt(0) !== AT && key.charCodeAt(key.length - HASH_LENGTH) !== HASH_SIGN;
}

/**
 * The stored form of a key. A string stays as it is but for a leading "@", which is doubled ("@" begins
 * namespaces); a tuple becomes its parts joined by ":", each part's own ":" (and what patterns give a
 * meaning) percent-encoded, and text that reads like another scalar marked by "'".
 * @param maxLength longest stored form in bytes; a longer one keeps its head and ends in its hash.
 * @throws {KeyError} for what is not a key.
 */
export function encodeKey(key: Key, maxLength: number): string {
  if (typeof key === "string") {
    // Fast path: no UTF-16 unit takes more than three bytes.
    if (
      key.length * 3 <= maxLength &&
      key.length > 0 &&
      key.charCodeAt(0) !== AT &&
      key.charCodeAt(key.length - HASH_LENGTH) !== 35
    ) {
      if (!key.isWellFormed()) throw new KeyError(key, "well-formed Unicode (it has a lone surrogate)");
      return key;
    }
    if (key === "") throw new KeyError(key, "a key that is not empty");
    return bounded(key.charCodeAt(0) === AT ? `@${key}` : key, maxLength, key);
  }
  if (!Array.isArray(key) || key.length === 0)
    throw new KeyError(
      key,
      "a string, or an array of one or more strings, numbers, bigints, booleans or null",
    );
  let text = encodePart(key[0], key);
  for (let i = 1; i < key.length; i++) text += `:${encodePart(key[i], key)}`;
  return bounded(text, maxLength, key);
}

function bounded(text: string, maxLength: number, key: unknown): string {
  if (!text.isWellFormed()) throw new KeyError(key, "well-formed Unicode (it has a lone surrogate)");
  const fits = text.length * 3 <= maxLength || Buffer.byteLength(text) <= maxLength;
  if (fits && (text.charCodeAt(text.length - HASH_LENGTH) !== HASH_SIGN || !HASHED.test(text))) return text;
  const hash = createHash("sha256").update(text).digest("base64url");
  const head = Buffer.from(text)
    .subarray(0, maxLength - HASH_LENGTH)
    .toString("utf8");
  // A character cut in the middle decodes to U+FFFD.
  return `${head.replace(/\uFFFD+$/, "")}#${hash}`;
}

function encodePart(part: unknown, key: unknown): string {
  switch (typeof part) {
    case "string":
      return (
        (readsAsScalar(part) ? "'" : "") + (RESERVED.test(part) ? part.replace(RESERVED_ALL, percent) : part)
      );
    case "number":
      if (!Number.isFinite(part)) throw new KeyError(key, "parts that are finite numbers");
      return Object.is(part, -0) ? "-0" : String(part);
    case "bigint":
      return `${part}n`;
    case "boolean":
      return String(part);
    default:
      if (part === null) return "null";
      throw new KeyError(key, "parts that are strings, numbers, bigints, booleans or null");
  }
}

/** What has a meaning in stored keys and patterns; a global expression would remember where it stopped. */
const RESERVED = /^@|[%:*?[\]\\]/;
const RESERVED_ALL = new RegExp(RESERVED, "g");
/** Text that another scalar is written as, or that begins as such text is marked. */
const SCALAR = /^(?:'.*|true|false|null|-?\d+(?:n|(?:\.\d+)?(?:e[+-]\d+)?)|)$/s;

function readsAsScalar(text: string): boolean {
  return SCALAR.test(text);
}

function percent(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

/** What all keys of a namespace begin with, and no other key. @throws {OptionError} for an empty name. */
export function namespacePrefix(name: string): string {
  if (!isName(name)) throw new OptionError("namespace", name, "a non-empty name");
  return `@ns:${encodeName(name)}:`;
}

/** What all keys of an owner begin with, and no other key. @throws {OptionError} without an owner: such a scope would be shared by all. */
export function scopePrefix(owner: Readonly<Record<string, string | number | bigint>>): string {
  const isOwner = typeof owner === "object" && owner !== null && !Array.isArray(owner);
  const kinds = isOwner ? Object.keys(owner).sort() : [];
  if (kinds.length === 0) throw new OptionError("scope", owner, 'an owner such as { user: "42" }');
  const pairs = kinds.map((kind) => {
    const id: unknown = owner[kind];
    const named = typeof id === "bigint" || (typeof id === "number" ? Number.isFinite(id) : isName(id));
    if (!named)
      throw new OptionError(`scope.${kind}`, id, "the owner's id: a non-empty string, a number or a bigint");
    if (!isName(kind)) throw new OptionError("scope", owner, "kinds of owner that are not empty");
    return `${encodeName(kind)}=${encodeName(String(id))}`;
  });
  return `@of:${pairs.join(",")}:`;
}

function isName(text: unknown): boolean {
  return typeof text === "string" && text !== "" && text.isWellFormed();
}

function encodeName(name: string): string {
  return name.replace(/[%:*?[\]\\@,=]/g, percent);
}

/** What a pattern means: one key, all keys with a prefix, or a glob. */
export type Pattern =
  | { readonly kind: "key"; readonly key: string }
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "glob"; readonly glob: string };

/** @throws {OptionError} for an empty or malformed pattern. */
export function parsePattern(pattern: string): Pattern {
  const tokens = tokenize(pattern);
  const wild = tokens.findIndex((token) => typeof token !== "string");
  const literal = (list: readonly Token[]): string => list.join("");
  if (wild === -1) return { kind: "key", key: literal(tokens) };
  if (wild === tokens.length - 1 && tokens[wild] === ANY_RUN)
    return { kind: "prefix", prefix: literal(tokens.slice(0, -1)) };
  return { kind: "glob", glob: pattern };
}

const ANY_RUN = Symbol("*");
const ANY_ONE = Symbol("?");
interface CharClass {
  readonly negated: boolean;
  readonly ranges: readonly (readonly [number, number])[];
}
/** A literal character, a wildcard or a class. */
type Token = string | typeof ANY_RUN | typeof ANY_ONE | CharClass;

function tokenize(glob: string): Token[] {
  if (typeof glob !== "string" || glob === "")
    throw new OptionError("pattern", glob, 'a pattern that is not empty; "*" is everything');
  const tokens: Token[] = [];
  for (let i = 0; i < glob.length; i++) {
    const char = glob.charAt(i);
    if (char === "*") {
      if (tokens.at(-1) !== ANY_RUN) tokens.push(ANY_RUN);
    } else if (char === "?") tokens.push(ANY_ONE);
    else if (char === "\\") {
      if (++i >= glob.length) throw new OptionError("pattern", glob, "a character after the last backslash");
      tokens.push(glob.charAt(i));
    } else if (char === "[") {
      const [token, end] = charClass(glob, i);
      tokens.push(token);
      i = end;
    } else tokens.push(char);
  }
  return tokens;
}

function charClass(glob: string, start: number): [CharClass, number] {
  const ranges: [number, number][] = [];
  let i = start + 1;
  const negated = glob.charAt(i) === "^" || glob.charAt(i) === "!";
  if (negated) i++;
  const next = (): number => {
    if (glob.charAt(i) === "\\") i++;
    return glob.charCodeAt(i++);
  };
  while (i < glob.length && (glob.charAt(i) !== "]" || ranges.length === 0)) {
    const from = next();
    let to = from;
    if (glob.charAt(i) === "-" && i + 1 < glob.length && glob.charAt(i + 1) !== "]") {
      i++;
      to = next();
    }
    if (!(from <= to)) throw new OptionError("pattern", glob, "ranges such as [a-z], the lower end first");
    ranges.push([from, to]);
  }
  if (i >= glob.length)
    throw new OptionError("pattern", glob, "every [ to be closed by a ] (write \\[ for the character)");
  return [{ negated, ranges }, i];
}

/** A matcher of whole keys; linear in pattern times key at worst, whatever the pattern. */
export function globMatcher(glob: string): (key: string) => boolean {
  const tokens = tokenize(glob);
  return (key) => {
    let t = 0;
    let k = 0;
    let star = -1;
    let resume = 0;
    while (k < key.length) {
      const token = tokens[t];
      if (token === ANY_RUN) {
        star = t++;
        resume = k;
      } else if (token !== undefined && matchesOne(token, key, k)) {
        t++;
        k++;
      } else if (star >= 0) {
        // The last run of "*" takes one more; earlier ones never need to be tried again.
        t = star + 1;
        k = ++resume;
      } else return false;
    }
    while (tokens[t] === ANY_RUN) t++;
    return t === tokens.length;
  };
}

function matchesOne(token: Token, key: string, at: number): boolean {
  if (typeof token === "string") return key.charAt(at) === token;
  if (typeof token === "symbol") return token === ANY_ONE;
  const code = key.charCodeAt(at);
  return token.ranges.some(([from, to]) => code >= from && code <= to) !== token.negated;
}

/** Text as a glob that matches only itself. */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\]/g, "\\$&");
}
