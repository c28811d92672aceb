import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";

/** A trace that cannot be used; the message says what to do. */
export class TraceError extends Error {
  override name = "TraceError";
}

const ENDINGS = ["", ".u32.gz", ".u32.xz", ".u32"];
/** Most bytes a trace may have once it is decompressed: 64 million requests. */
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * The file of a trace given by path, or by name (`"web07"`) looked up in `folders` in order.
 * @throws {TraceError} when there is none, saying where it was looked for.
 */
export function findTrace(nameOrPath: string, folders: readonly string[]): string {
  const isPath = /[\\/]|\.u32/.test(nameOrPath);
  const places = isPath ? [resolve(nameOrPath)] : folders.map((folder) => resolve(folder, nameOrPath));
  const candidates = places.flatMap((place) => ENDINGS.map((ending) => place + ending));
  const found = candidates.find((file) => /\.u32(\.gz|\.xz)?$/.test(file) && existsSync(file));
  if (found !== undefined) return found;
  throw new TraceError(
    `No trace "${nameOrPath}": looked for ${places.map((place) => `${place}.u32[.gz|.xz]`).join(" and ")}. ` +
      "Give the path of one, or a name out of traces/.",
  );
}

/**
 * Reads a trace: little-endian unsigned 32-bit key numbers, plain (`.u32`) or compressed (`.gz`, `.xz`).
 * @throws {TraceError} when it cannot be read or is not of whole numbers of 4 bytes.
 */
export async function readTrace(file: string): Promise<Uint32Array> {
  const bytes = await decompressed(file);
  if (bytes.length === 0 || bytes.length % 4 !== 0)
    throw new TraceError(`${file} is no trace: ${bytes.length} bytes are not whole 4-byte key numbers.`);
  const keys = new Uint32Array(bytes.length / 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < keys.length; at++) keys[at] = view.getUint32(at * 4, true);
  return keys;
}

/** Key n of a trace is product n + 1; traces with more keys than there are products share them. */
export function productIds(keys: Uint32Array, products: number): Uint32Array {
  return keys.map((key) => 1 + (key % products));
}

async function decompressed(file: string): Promise<Buffer> {
  try {
    if (file.endsWith(".xz")) return await unxz(file);
    const bytes = await readFile(file);
    return file.endsWith(".gz") ? await promisify(gunzip)(bytes, { maxOutputLength: MAX_BYTES }) : bytes;
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

/** Node has no xz of its own; the program of that name is on nearly every Unix. */
async function unxz(file: string): Promise<Buffer> {
  try {
    const run = promisify(execFile);
    const { stdout } = await run("xz", ["--decompress", "--stdout", "--", file], {
      encoding: "buffer",
      maxBuffer: MAX_BYTES,
    });
    return stdout;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      throw new TraceError(
        `${file} is xz-compressed and the program "xz" is not installed. Install it (xz-utils), or decompress ` +
          "the file elsewhere and give the .u32 file.",
      );
    throw error;
  }
}
