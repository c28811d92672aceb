/** Milliseconds without a byte from a server that owes an answer, after which its connection is dropped. */
const SILENCE = 2_000;
/** How often connections are looked at, in milliseconds. */
const TICK = 500;

/** A socket as the watchdog sees it. */
export interface WatchedSocket {
  readonly bytesRead: number;
  readonly writableLength: number;
  destroy(): void;
}

/** A connection as the watchdog sees it. */
export interface Watched {
  /** Answers that the server owes. */
  owed(): number;
  socket(): WatchedSocket | undefined;
}

/**
 * Drops connections that owe answers and are silent: a half-open TCP connection, a frozen server. TCP itself
 * takes many minutes to notice. Looks at bytes and not at commands, so that it costs a command nothing and a
 * large answer on a slow line counts as life.
 */
export class Watchdog {
  readonly #seen = new WeakMap<WatchedSocket, { bytes: number; unsent: number; since: number }>();
  readonly #timer: NodeJS.Timeout;
  #tickedAt = performance.now();

  /** @param watched the connections there are at a moment. */
  constructor(watched: () => Iterable<Watched>) {
    this.#timer = setInterval(() => this.#tick(watched()), TICK);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(connections: Iterable<Watched>): void {
    const now = performance.now();
    // This process itself stood still: answers may lie in the socket, unread.
    const stood = now - this.#tickedAt > 2 * TICK;
    this.#tickedAt = now;
    for (const watched of connections) {
      const socket = watched.socket();
      if (socket === undefined) continue;
      const seen = this.#seen.get(socket);
      const { bytesRead: bytes, writableLength: unsent } = socket;
      const alive =
        seen === undefined || stood || watched.owed() === 0 || bytes !== seen.bytes || unsent < seen.unsent;
      if (!alive && now - seen.since >= SILENCE) socket.destroy();
      else this.#seen.set(socket, { bytes, unsent, since: alive ? now : seen.since });
    }
  }
}
