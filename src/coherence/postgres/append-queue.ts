import { StoreError } from "../../base/errors.ts";
import type { LogHead } from "../log.ts";
import type { SignedRecord } from "../log-server.ts";

/** Most records in one statement; a single append may have more. */
const BATCH = 1_000;

interface Waiting {
  readonly records: readonly SignedRecord[];
  readonly resolve: (head: LogHead) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Appends of this process one after another, in the order they came in; those that come while one is under way
 * share the next (group commit).
 */
export class AppendQueue {
  readonly #send: (records: readonly SignedRecord[]) => Promise<LogHead>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(send: (records: readonly SignedRecord[]) => Promise<LogHead>) {
    this.#send = send;
  }

  append(records: readonly SignedRecord[]): Promise<LogHead> {
    if (this.#closed) return Promise.reject(new StoreError("The log is closed."));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Takes no more, and resolves when those taken have their answers. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Appends of the same turn travel together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        const head = await this.#send(batch.flatMap(({ records }) => records));
        let position = head.position - count(batch);
        for (const { records, resolve } of batch) {
          position += records.length;
          resolve({ generation: head.generation, position });
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = undefined;
  }

  #take(): Waiting[] {
    let records = 0;
    const upTo = this.#waiting.findIndex((one, at) => {
      records += one.records.length;
      // Those before a `clear` are of the generation before it, and the answer knows one generation.
      return at > 0 && (records > BATCH || one.records.some(({ record }) => record.kind === "clear"));
    });
    return this.#waiting.splice(0, upTo === -1 ? this.#waiting.length : upTo);
  }
}

function count(batch: readonly Waiting[]): number {
  return batch.reduce((sum, { records }) => sum + records.length, 0);
}
