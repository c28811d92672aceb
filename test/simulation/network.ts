import { StoreError } from "../../src/base/errors.ts";
import type { Host, Scheduler } from "./scheduler.ts";
import type { ServerNode } from "./server.ts";

/** How a link treats what is sent over it. */
export type Weather =
  | "well"
  /** Slower than any timeout. */
  | "slow"
  /** Nothing gets through until it is well again; then everything does (TCP sends it again). */
  | "stalled"
  /** What is sent is lost: its call never settles, until the connection is reset. */
  | "lossy"
  /** Nobody listens. */
  | "refusing";

interface Call {
  open: boolean;
  readonly fail: (error: Error) => void;
}

/** One connection of a process to a server: what is sent on it arrives in order. */
export class Link {
  readonly node: ServerNode;
  weather: Weather = "well";
  readonly #world: Scheduler;
  readonly #host: Host;
  readonly #random: () => number;
  readonly #calls = new Set<Call>();
  #stalled: (() => void)[] = [];
  #arrival = 0;
  #answer = 0;
  #connection = 0;
  /** Something was lost on it. */
  #holed = false;

  constructor(world: Scheduler, host: Host, node: ServerNode, random: () => number) {
    this.#world = world;
    this.#host = host;
    this.node = node;
    this.#random = random;
  }

  /** Calls under way. */
  get calls(): number {
    return this.#calls.size;
  }

  /**
   * Sends a request. @param execute runs on the server when it arrives; may answer later.
   */
  send<T>(execute: (reply: (answer: T) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const call: Call = {
        open: true,
        fail: (error) => {
          if (!call.open) return;
          call.open = false;
          this.#calls.delete(call);
          reject(error);
        },
      };
      if (this.weather === "refusing") {
        this.#world.after(1, () => call.fail(new StoreError("connection refused")), this.#host);
        return;
      }
      this.#calls.add(call);
      if (this.weather === "lossy") return;
      const connection = this.#connection;
      const answer = (value: T): void => {
        if (!call.open || connection !== this.#connection || this.weather === "lossy") return;
        this.#answer = Math.max(this.#answer, this.#world.now + this.#delay());
        const arrive = (): void => {
          if (this.weather === "lossy") return;
          if (this.weather === "stalled") {
            this.#stalled.push(arrive);
            return;
          }
          // The process takes it in its own time.
          const settle = (): void => {
            if (!call.open) return;
            call.open = false;
            this.#calls.delete(call);
            resolve(value);
          };
          this.#world.after(0, settle, this.#host);
        };
        this.#world.after(this.#answer - this.#world.now, arrive);
      };
      this.#arrival = Math.max(this.#arrival, this.#world.now + this.#delay());
      const arrive = (): void => {
        // A connection that was reset: what it carried is executed all the same, at times.
        if (connection !== this.#connection && this.#random() < 0.5) return;
        if (this.weather === "lossy") return;
        if (this.weather === "stalled") this.#stalled.push(arrive);
        else if (this.node.frozen) this.node.queue.push(() => execute(answer));
        else execute(answer);
      };
      this.#world.after(this.#arrival - this.#world.now, arrive);
    });
  }

  /** The connection ends: calls under way reject, though what was sent may still be executed. */
  reset(): void {
    this.#connection++;
    this.#arrival = 0;
    this.#answer = 0;
    for (const call of [...this.#calls])
      this.#world.after(0, () => call.fail(new StoreError("connection reset")), this.#host);
  }

  change(weather: Weather): void {
    const stalled = this.#stalled;
    this.weather = weather;
    if (weather === "lossy") this.#holed = true;
    // A half-open connection is noticed once something gets through again.
    if (weather === "well" && this.#holed) {
      this.#holed = false;
      this.reset();
    }
    if (weather === "stalled") return;
    this.#stalled = [];
    for (const arrive of stalled) this.#world.after(0, arrive);
  }

  #delay(): number {
    const drawn = this.#random();
    if (this.weather === "slow") return 50 + drawn * 900;
    return drawn < 0.9 ? 0.2 + drawn * 2 : 2 + (drawn - 0.9) * 180;
  }
}
