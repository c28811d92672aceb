import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions as TlsOptions } from "node:tls";
import { RefusedError, reason, StoreError } from "../../base/errors.ts";
import type { Address } from "./address.ts";
import { type Reply, ReplyParser } from "./reply-parser.ts";

/** How a server is reached; the same for all servers of a store. */
export interface Access {
  /** A server that owes an answer and says nothing for this many milliseconds has failed. */
  readonly silence: number;
  readonly auth: { readonly username: string; readonly password: string } | undefined;
  readonly tls: TlsOptions | undefined;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** First and longest time in milliseconds that a server is left alone after a failure. */
const BACK_OFF = { first: 25, longest: 1_000 };
/** What a stored item takes beside key and value, generously. */
const ITEM_OVERHEAD = 128;

interface Pending {
  readonly sentAt: number;
  /** Told of each line of an answer that has many, ended by `END`; one line is the whole answer without. */
  readonly line: ((line: string) => void) | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection to one server. Any number of commands may be under way; answers come in their order. It
 * connects when it is first used, again when it is used after a failure, and in between, for a growing while,
 * commands reject at once. A server that stops answering is given up after `silence`: nothing hangs.
 */
export class Connection {
  readonly address: Address;
  readonly #access: Access;
  #socket: Socket | undefined;
  #pending: Pending[] = [];
  #first = 0;
  #heardAt = 0;
  #watch: NodeJS.Timeout | undefined;
  #corked = false;
  #failures = 0;
  #retryAt = 0;
  #lastError: StoreError | undefined;
  #largestItem: number | undefined;
  #closed = false;

  constructor(address: Address, access: Access) {
    this.address = address;
    this.#access = access;
  }

  /** Whether it was well when last used. */
  get up(): boolean {
    return this.#failures === 0 && this.#lastError === undefined;
  }

  /** Sends a command with a one-line answer. */
  send(command: string, value?: Uint8Array): Promise<Reply> {
    return new Promise((resolve, reject) => this.#send(command, value, undefined, resolve, reject));
  }

  /** Sends a command whose answer is many lines ended by `END`; `line` is told of each. */
  lines(command: string, line: (line: string) => void): Promise<Reply> {
    return new Promise((resolve, reject) => this.#send(command, undefined, line, resolve, reject));
  }

  /** The server's own figures, by `stats` and an optional group. */
  async stats(group = ""): Promise<Map<string, string>> {
    const figures = new Map<string, string>();
    await this.lines(`stats${group === "" ? "" : ` ${group}`}`, (line) => note(figures, line));
    return figures;
  }

  /** Rejects a value that the server would refuse, before anything of it is sent. */
  async assertFits(key: string, size: number): Promise<void> {
    if (this.#largestItem === undefined) await this.send("mn");
    const largest = this.#largestItem ?? Number.POSITIVE_INFINITY;
    if (size + key.length + ITEM_OVERHEAD > largest) throw tooLarge(size, this.address, largest);
  }

  /** Stops and starts reading: who walks through a long answer slowly need not hold it all. */
  pause(paused: boolean): void {
    if (paused) this.#socket?.pause();
    else this.#socket?.resume();
  }

  /** Gives up what is under way, and connects anew with the next command. */
  reset(why: string): void {
    if (this.#socket === undefined) return;
    this.#fail(new StoreError(`Memcached ${this.address.text}: ${why}.`));
    this.#retryAt = 0;
  }

  close(): void {
    this.#closed = true;
    if (this.#socket !== undefined) this.#fail(this.#closedError());
  }

  #send(
    command: string,
    value: Uint8Array | undefined,
    line: Pending["line"],
    resolve: Pending["resolve"],
    reject: Pending["reject"],
  ): void {
    try {
      const socket = this.#socket ?? this.#connect();
      this.#write(socket, command, value, { sentAt: performance.now(), line, resolve, reject });
    } catch (error) {
      // Options of TLS that Node refuses throw anything.
      reject(error instanceof StoreError ? error : this.#error(error));
    }
  }

  #write(socket: Socket, command: string, value: Uint8Array | undefined, pending: Pending): void {
    if (this.#first === this.#pending.length) socket.ref(); // while somebody waits, the process lives
    this.#pending.push(pending);
    if (!this.#corked) {
      // All commands of one turn travel together.
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    socket.write(`${command}\r\n`, "latin1");
    if (value !== undefined) {
      socket.write(value);
      socket.write("\r\n", "latin1");
    }
    this.#watch ??= setTimeout(() => this.#look(socket), this.#access.silence).unref();
  }

  #connect(): Socket {
    if (this.#closed) throw this.#closedError();
    if (performance.now() < this.#retryAt) throw this.#lastError ?? this.#error("it failed a moment ago");
    const { auth, tls } = this.#access;
    const { host, port, path } = this.address;
    const target = path === undefined ? { host, port, keepAlive: true, noDelay: true } : { path };
    const socket =
      tls === undefined ? connectTcp(target) : connectTls({ servername: host, ...tls, ...target });
    this.#socket = socket;
    this.#heardAt = performance.now();
    const parser = new ReplyParser();
    socket.on("data", (piece) => {
      this.#heardAt = performance.now();
      try {
        parser.push(piece, (reply) => {
          if (this.#socket === socket) this.#answer(socket, reply);
        });
      } catch (error) {
        this.#failOf(socket, error);
      }
    });
    socket.on("error", (error) => this.#failOf(socket, error));
    socket.on("close", () => this.#failOf(socket, "the connection was closed"));
    this.#greet(socket, auth);
    return socket;
  }

  /** First on every connection: who we are, whether it speaks the meta protocol, how large items may be. */
  #greet(socket: Socket, auth: Access["auth"]): void {
    const sentAt = performance.now();
    const must = (expected: string, why: string): Pending => ({
      sentAt,
      line: undefined,
      resolve: ({ line }) => {
        if (line !== expected) this.#failOf(socket, `${why} (it answered "${line}")`);
      },
      reject: () => undefined, // the commands behind it are told
    });
    if (auth !== undefined) {
      const secret = Buffer.from(`${auth.username} ${auth.password}`);
      this.#write(socket, `set auth 0 0 ${secret.length}`, secret, must("STORED", "it refused the password"));
    }
    this.#write(socket, "mn", undefined, must("MN", "it needs a password, or is older than 1.6"));
    const figures = new Map<string, string>();
    this.#write(socket, "stats settings", undefined, {
      sentAt,
      line: (line) => note(figures, line),
      resolve: () => {
        this.#largestItem = Number(figures.get("item_size_max") ?? Number.POSITIVE_INFINITY);
        this.#failures = 0;
        this.#lastError = undefined;
      },
      reject: () => undefined,
    });
  }

  #answer(socket: Socket, reply: Reply): void {
    const pending = this.#pending[this.#first];
    const { line } = reply;
    if (pending === undefined) this.#failOf(socket, "it answered what nobody asked");
    else if (pending.line !== undefined && /^(?:STAT|key=)/.test(line)) pending.line(line);
    else {
      this.#shift(socket);
      if (/^SERVER_ERROR (?:object too large|out of memory storing)/.test(line))
        pending.reject(new RefusedError(`Memcached ${this.address.text} refused: ${line}.`));
      else {
        pending.resolve(reply);
        // What it makes of the bytes that follow cannot be told: begin anew.
        if (/^(?:SERVER_ERROR|CLIENT_ERROR|ERROR)/.test(line) && pending.line === undefined)
          this.#failOf(socket, `it answered "${line}"`);
      }
    }
  }

  /** The first that waited has its answer. */
  #shift(socket: Socket): void {
    this.#first++;
    if (this.#first === this.#pending.length) {
      this.#pending = [];
      this.#first = 0;
      socket.unref(); // nobody waits: it does not keep the process alive
    } else if (this.#first > 1_000) {
      this.#pending = this.#pending.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Looks whether the server still answers. */
  #look(socket: Socket): void {
    this.#watch = undefined;
    if (this.#socket !== socket) return;
    const oldest = this.#pending[this.#first];
    if (oldest === undefined) return;
    const { silence } = this.#access;
    const quiet = (): number => performance.now() - Math.max(this.#heardAt, oldest.sentAt);
    if (quiet() < silence || socket.isPaused()) {
      this.#watch = setTimeout(() => this.#look(socket), Math.max(1, silence - quiet())).unref();
      return;
    }
    // This process may have been busy itself: an answer that has come meanwhile is read before it is judged.
    setImmediate(() => {
      if (this.#socket !== socket || this.#watch !== undefined) return;
      if (this.#pending[this.#first] === oldest && quiet() >= silence)
        this.#failOf(socket, `it did not answer within ${Math.round(silence)} ms`);
      else if (this.#first < this.#pending.length)
        this.#watch = setTimeout(() => this.#look(socket), silence).unref();
    });
  }

  #failOf(socket: Socket, why: unknown): void {
    if (this.#socket !== socket) return;
    // A server that closes an idle connection (a restart) has not failed anybody.
    const idle = this.#first === this.#pending.length;
    this.#fail(this.#error(why));
    if (idle) this.#retryAt = 0;
  }

  #fail(error: StoreError): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
    clearTimeout(this.#watch);
    this.#watch = undefined;
    this.#lastError = error;
    const pause = Math.min(BACK_OFF.first * 2 ** this.#failures++, BACK_OFF.longest);
    // Jitter, so that many processes do not come back at the same moment.
    this.#retryAt = performance.now() + pause * (0.5 + this.#access.random() / 2);
    const pending = this.#pending.slice(this.#first);
    this.#pending = [];
    this.#first = 0;
    for (const one of pending) one.reject(error);
  }

  #error(why: unknown): StoreError {
    return new StoreError(`Memcached ${this.address.text} failed: ${reason(why)}.`, { cause: why });
  }

  #closedError(): StoreError {
    return new StoreError(`The connection to Memcached ${this.address.text} is closed.`);
  }
}

function tooLarge(size: number, { text }: Address, largest: number): RefusedError {
  return new RefusedError(
    `An entry of ${size} bytes is larger than Memcached ${text} takes (${largest} bytes): start it with a larger -I.`,
  );
}

/** Notes a line `STAT name value`. */
function note(figures: Map<string, string>, line: string): void {
  const [, name, value] = /^STAT (\S+) (.*)$/.exec(line) ?? [];
  if (name !== undefined && value !== undefined) figures.set(name, value);
}
