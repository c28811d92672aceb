import { createHash } from "node:crypto";

/** Memcached takes keys of up to 250 bytes. */
const LONGEST_KEY = 250;
/** What a cache's name may take of that. */
const LONGEST_NAME = 60;
const SAFE = /^[!-$&-~]+$/;
const UNSAFE = /[^!-$&-~]+/g;

/**
 * Names of a cache's items in Memcached: printable ASCII. Keys stay readable where they can; what has no place
 * in a key of Memcached is percent-encoded, and what is too long then goes by its hash.
 */
export class KeyNames {
  readonly #plain: string;
  readonly #hashed: string;
  readonly #log: string;

  constructor(cacheName: string) {
    const name = encoded(cacheName)?.replaceAll(":", "%3A");
    const space = name === undefined || name.length > LONGEST_NAME ? `#${hashOf(cacheName)}` : name;
    this.#plain = `cu:${space}:e:`;
    this.#hashed = `cu:${space}:h:`;
    this.#log = `cu:${space}:l:`;
  }

  /** Name of the item of a key's entry. */
  entry(key: string): string {
    const text = SAFE.test(key) ? key : encoded(key);
    return text === undefined || this.#plain.length + text.length > LONGEST_KEY
      ? this.#hashed + hashOf(key)
      : this.#plain + text;
  }

  /** Name of an item of the log. */
  log(what: string): string {
    return this.#log + what;
  }

  /** Whether the key can only be told from what the item holds. */
  isHashed(name: string): boolean {
    return name.startsWith(this.#hashed);
  }

  isEntry(name: string): boolean {
    return name.startsWith(this.#plain) || name.startsWith(this.#hashed);
  }

  /** The key of an entry's item; undefined for other items, and for one that goes by its hash. */
  keyOf(name: string): string | undefined {
    return name.startsWith(this.#plain) ? decoded(name.slice(this.#plain.length)) : undefined;
  }
}

/** Undefined for what nobody encoded so: in Memcached anybody may put anything. */
export function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Of tags in the log too. */
export function hashOf(text: string): string {
  // By UTF-16: that tells broken surrogates apart, which UTF-8 does not.
  return createHash("sha256").update(text, "utf16le").digest("base64url");
}

/** Undefined for text that has no UTF-8. */
function encoded(text: string): string | undefined {
  return text.isWellFormed() ? text.replace(UNSAFE, encodeURIComponent) : undefined;
}
