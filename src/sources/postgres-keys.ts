/** Ranges of the integer types. */
const INTEGERS: Readonly<Record<string, bigint>> = {
  smallint: 2n ** 15n,
  integer: 2n ** 31n,
  bigint: 2n ** 63n,
  int2: 2n ** 15n,
  int4: 2n ** 31n,
  int8: 2n ** 63n,
};
const WHOLE = /^[+-]?\d{1,40}$/;
const UUID = /^[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/i;

/**
 * Whether a row can have this key at all. Keys come from requests, and one that its type cannot read would
 * fail the statement, and with it the load of everyone else in the batch: it is "nothing there" instead.
 */
export function canExist(text: string, keyType: string): boolean {
  // PostgreSQL stores neither; encoding would turn a lone surrogate into another key.
  if (text.includes("\0") || !text.isWellFormed()) return false;
  const bound = INTEGERS[keyType];
  if (bound !== undefined) {
    if (!WHOLE.test(text)) return false;
    const value = BigInt(text.replace("+", ""));
    return value >= -bound && value < bound;
  }
  return keyType !== "uuid" || UUID.test(text);
}

/** Keys of a call by their text: 5, 5n and "5" are the same key to the database, and each is answered. */
export function byText<K extends string | number | bigint>(keys: readonly K[]): Map<string, Set<K>> {
  const texts = new Map<string, Set<K>>();
  for (const key of keys) {
    const text = String(key);
    const same = texts.get(text);
    if (same === undefined) texts.set(text, new Set([key]));
    else same.add(key);
  }
  return texts;
}
