import { reason, StoreError } from "../../base/errors.ts";

/** How long the first connection is waited for, in milliseconds. */
const FIRST_CONNECTION = 2_000;

/** Lets commands through while a client is connected, and tells of outages, once each. */
export class Gate {
  readonly #where: string;
  readonly #warn: (message: string) => void;
  readonly #isOpen: () => boolean;
  #waiters: ((error: StoreError | undefined) => void)[] = [];
  /** Whether the first connection is made, or has failed. */
  #tried = false;
  #outage = false;
  #closed = false;
  #why = "not connected yet";

  /** @param isOpen whether commands can be sent, asked anew for each. */
  constructor(where: string, isOpen: () => boolean, warn: (message: string) => void) {
    this.#where = where;
    this.#isOpen = isOpen;
    this.#warn = warn;
  }

  /** Undefined: go. @throws {StoreError} while not connected. */
  admit(): Promise<void> | undefined {
    if (this.#isOpen() && !this.#closed) return undefined;
    if (this.#tried || this.#closed) throw this.#refusal();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(this.#refusal()), FIRST_CONNECTION);
      this.#waiters.push((error) => {
        clearTimeout(timer);
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** The client says why it is going to be disconnected. */
  failed(error: unknown): void {
    this.#why = reason(error);
  }

  connected(): void {
    this.#outage = false;
    this.#why = "the connection ended";
    this.#settle(undefined);
  }

  disconnected(): void {
    if (this.#closed) return;
    if (!this.#outage)
      this.#warn(`${this.#where} is not reached: ${this.#why}. It is tried again until it is.`);
    this.#outage = true;
    this.#settle(this.#refusal());
  }

  close(): void {
    this.#closed = true;
    this.#why = "the connection was closed by this program";
    this.#settle(this.#refusal());
  }

  #refusal(): StoreError {
    return new StoreError(`${this.#where} is not connected: ${this.#why}.`);
  }

  #settle(error: StoreError | undefined): void {
    this.#tried = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const settle of waiters) settle(error);
  }
}
