/** Bytes V8 needs for an object header with its map, properties and elements pointers. */
const HEADER = 24;
/** Bytes of one field or element (a tagged pointer). */
const SLOT = 8;
/** Objects looked at in one estimate; the rest is extrapolated, so that a huge value cannot stall a `set`. */
const MAX_NODES = 10_000;
/** Lists longer than this are estimated from a sample of their elements. */
const LONG_LIST = 1_000;
/** Elements of a long list that stand for all of it. */
const SAMPLE = 50;

/**
 * Estimated bytes that a value keeps alive in memory: exact for buffers, close for strings, a cheap model of V8's
 * layout for objects. Shared and circular references count once.
 */
export function sizeOf(value: unknown): number {
  if (typeof value !== "object" || value === null)
    return typeof value === "string" ? stringSize(value) : SLOT;
  const size = flatSize(value);
  return size === undefined ? deepSize(value) : size;
}

/** The size of a plain object without objects in it, which most rows are: no bookkeeping. */
function flatSize(value: object): number | undefined {
  if (Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  let total = HEADER;
  for (const key in value) {
    const child = (value as Record<string, unknown>)[key]; // any object can be read by name
    if (typeof child === "object" && child !== null) return undefined;
    total += scalarSize(child);
  }
  return total;
}

function deepSize(value: object): number {
  const seen = new Set<object>([value]);
  const queue: object[] = [value];
  let total = 0;
  let visited = 0;
  const add = (child: unknown): void => {
    if (typeof child !== "object" || child === null) total += scalarSize(child);
    else {
      total += SLOT;
      if (!seen.has(child)) {
        seen.add(child);
        queue.push(child);
      }
    }
  };
  for (let node = queue.pop(); node !== undefined && visited < MAX_NODES; node = queue.pop()) {
    visited++;
    total += HEADER;
    if (ArrayBuffer.isView(node)) total += 72 + node.byteLength;
    else if (node instanceof ArrayBuffer) total += 48 + node.byteLength;
    else if (Array.isArray(node)) {
      if (node.length <= LONG_LIST) for (const child of node) add(child);
      else total += listSize(node);
    } else if (node instanceof Map) {
      total += 32 + node.size * SLOT;
      if (node.size <= LONG_LIST)
        for (const [key, child] of node) {
          add(key);
          add(child);
        }
      else
        total +=
          listSize([...firstOf(node.values())], node.size) + listSize([...firstOf(node.keys())], node.size);
    } else if (node instanceof Set) {
      total += 32 + node.size * SLOT;
      if (node.size <= LONG_LIST) for (const child of node) add(child);
      else total += listSize([...firstOf(node)], node.size);
    } else {
      if (node instanceof Error) total += stringSize(node.message) + stringSize(node.stack ?? "");
      for (const key in node) add((node as Record<string, unknown>)[key]); // any object can be read by name
    }
  }
  return queue.length > 0 ? Math.ceil((total * (visited + queue.length)) / visited) : total;
}

/** The size of a long list, from evenly spaced elements. */
function listSize(list: readonly unknown[], length = list.length): number {
  let sampled = 0;
  const step = Math.ceil(list.length / SAMPLE);
  let count = 0;
  for (let i = 0; i < list.length; i += step, count++) sampled += SLOT + sizeOf(list[i]);
  return Math.ceil((sampled / count) * length);
}

function* firstOf(values: Iterable<unknown>): Generator<unknown> {
  let left = SAMPLE;
  for (const value of values) {
    if (left-- === 0) return;
    yield value;
  }
}

function scalarSize(value: unknown): number {
  if (typeof value === "string") return SLOT + stringSize(value);
  if (typeof value === "bigint") return SLOT + 16;
  return typeof value === "number" && !Number.isInteger(value) ? SLOT + 12 : SLOT;
}

function stringSize(text: string): number {
  // V8 keeps Latin-1 text in one byte a character, other text in two; telling costs a scan, so the start speaks for all.
  return 16 + (isNarrow(text) ? text.length : text.length * 2);
}

function isNarrow(text: string): boolean {
  const end = Math.min(text.length, 256);
  for (let i = 0; i < end; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}
