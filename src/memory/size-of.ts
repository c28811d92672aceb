/** Bytes V8 needs for an object header with its map, properties and elements pointers. */
const HEADER = 24;
/** Bytes of one field or element (a tagged pointer). */
const SLOT = 8;
/** Values looked at in one estimate; the rest is extrapolated, so that a huge value cannot stall a `set`. */
const MAX_NODES = 2_000;

/**
 * Estimated bytes that a value keeps alive in memory: exact for buffers, close for strings, a cheap model of V8's
 * layout for objects. Shared and circular references count once.
 */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return stringSize(value);
  if (typeof value !== "object" || value === null) return SLOT;
  const seen = new Set<object>([value]);
  const queue: object[] = [value];
  let total = 0;
  let visited = 0;
  const add = (child: unknown): void => {
    total += SLOT;
    if (typeof child === "string") total += stringSize(child);
    else if (typeof child === "bigint") total += 16;
    else if (typeof child === "object" && child !== null && !seen.has(child)) {
      seen.add(child);
      queue.push(child);
    } else if (typeof child === "number" && !Number.isInteger(child)) total += 12;
  };
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (++visited > MAX_NODES) break;
    total += HEADER;
    if (ArrayBuffer.isView(node)) total += 72 + node.byteLength;
    else if (node instanceof ArrayBuffer) total += 48 + node.byteLength;
    else if (Array.isArray(node)) {
      const unseen = eachOf(node, add); // before it is added: `add` changes the total
      total += unseen;
    } else if (node instanceof Map) {
      total += 32;
      for (const [key, child] of node) {
        add(key);
        add(child);
        total += SLOT;
      }
    } else if (node instanceof Set) {
      total += 32;
      for (const child of node) add(child);
    } else {
      if (node instanceof Error) total += stringSize(node.message) + stringSize(node.stack ?? "");
      for (const key in node) add((node as Record<string, unknown>)[key]); // any object can be read by name
    }
  }
  return queue.length > 0 ? Math.ceil((total * (visited + queue.length)) / visited) : total;
}

/** Adds the elements of an array; of a long one, a sample that stands for the rest. */
function eachOf(array: readonly unknown[], add: (child: unknown) => void): number {
  if (array.length <= MAX_NODES) {
    for (const child of array) add(child);
    return 0;
  }
  const step = Math.ceil(array.length / MAX_NODES);
  for (let i = 0; i < array.length; i += step) add(array[i]);
  return (array.length - Math.ceil(array.length / step)) * SLOT * 4;
}

function stringSize(text: string): number {
  // V8 keeps Latin-1 text in one byte a character; telling costs a scan, so long text is assumed narrow only when short text is.
  return 16 + (isNarrow(text) ? text.length : text.length * 2);
}

function isNarrow(text: string): boolean {
  const end = Math.min(text.length, 256);
  for (let i = 0; i < end; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}
