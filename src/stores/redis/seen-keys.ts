/** Tables that the keys are spread over, so that none of them takes long to grow. */
const TABLES = 256;
const FIRST_SIZE = 64;

/**
 * Which keys were told already: by 53 bits of hash each, in typed arrays. A set of the keys themselves would
 * keep millions of texts alive, which the garbage collector has to carry while the walk goes on. Two keys of one
 * hash are as good as impossible (one in ten thousand walks over a million keys), and cost one key of a walk.
 */
export class SeenKeys {
  readonly #tables = Array.from({ length: TABLES }, () => ({ slots: new Float64Array(FIRST_SIZE), used: 0 }));
  readonly #most: number;
  #size = 0;

  /** @param most keys remembered; later ones are taken for new. */
  constructor(most: number) {
    this.#most = most;
  }

  /** False: it was there. */
  add(key: string): boolean {
    const [high, low] = hashOf(key);
    const mark = high * 2 ** 32 + low + 1; // 0 is an empty slot
    const table = this.#tables[low % TABLES];
    if (table === undefined) return true;
    const at = place(table.slots, mark);
    if (table.slots[at] === mark) return false;
    if (this.#size >= this.#most) return true;
    this.#size++;
    table.slots[at] = mark;
    if (++table.used > table.slots.length / 2) table.slots = grown(table.slots);
    return true;
  }
}

/** Where a mark is, or where it would be put (open addressing, one step at a time). */
function place(slots: Float64Array<ArrayBuffer>, mark: number): number {
  const { length } = slots;
  let at = Math.floor(mark / TABLES) % length;
  while (slots[at] !== 0 && slots[at] !== mark) at = (at + 1) % length;
  return at;
}

function grown(slots: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(slots.length * 2);
  for (const mark of slots) if (mark !== 0) larger[place(larger, mark)] = mark;
  return larger;
}

/** 21 and 32 bits of a text: two runs of FNV-1a with different beginnings. */
function hashOf(key: string): [high: number, low: number] {
  let one = 0x811c9dc5;
  let two = 0x01000193 ^ key.length;
  for (let at = 0; at < key.length; at++) {
    const code = key.charCodeAt(at);
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ code, 0x85ebca6b);
    two ^= two >>> 13;
  }
  return [(two >>> 0) & 0x1fffff, one >>> 0];
}
