// What the first process and its workers tell each other through Node's channel between them.
import type { Settings } from "../settings.ts";

/** From the first process to a worker. */
export type ToWorker =
  | { readonly start: WorkerStart }
  | { readonly end: true }
  | { readonly reply: number; readonly rows: Record<string, unknown>[] }
  | {
      readonly reply: number;
      readonly error: { readonly message: string; readonly code: string | undefined };
    };

/** What a worker is to do. */
export interface WorkerStart {
  /** Its number, from 1. */
  readonly number: number;
  readonly settings: Settings;
  readonly dataName: string;
  readonly cacheFolder: string;
  readonly port: number | undefined;
  readonly usualPort: number;
  /** Most connections to a PostgreSQL server. */
  readonly connections: number;
}

/** From a worker to the first process. */
export type FromWorker =
  | {
      readonly ready: { readonly address: string; readonly port: number; readonly layers: readonly string[] };
    }
  | { readonly failed: string }
  | DatabaseRequest;

/**
 * A statement for the database of the first process, alone or in the transaction with the number `transaction`;
 * or the begin or end of one. Each has a number of its own (`request`), which the reply names.
 */
export type DatabaseRequest =
  | {
      readonly request: number;
      readonly sql: string;
      readonly params: readonly unknown[];
      readonly transaction: number | undefined;
    }
  | { readonly request: number; readonly begin: number }
  | { readonly request: number; readonly finish: number; readonly commit: boolean };
