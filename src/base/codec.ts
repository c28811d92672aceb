/**
 * Turns values into bytes and back for layers outside the process. `decode(encode(value))` gives back an
 * equal value of the same types, or `encode` throws `CodecError` naming the path of what it cannot carry.
 */
export interface Codec {
  readonly name: string;
  /** Distinguishes what was written by this codec; entries of another id are a miss. 0-255; 0-15 are taken. */
  readonly id: number;
  encode(value: unknown): Uint8Array;
  /** @throws {CodecError} when the bytes are not what `encode` wrote. */
  decode(bytes: Uint8Array): unknown;
}
