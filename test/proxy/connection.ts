// One client of the proxy and its connection to the server: two flows, late, held back, or swallowed.
import { connect, type Socket } from "node:net";

/** The faults of a proxy, shared by its connections and changed while they run. */
export interface ProxyFaults {
  delay: number;
  jitter: number;
  mode: "pass" | "drop" | "hold";
  /** Chunks still to be swallowed, by the side they come from. */
  dropNext: { client: number; server: number; readonly effect: "reset" | "silence" };
  readonly random: () => number;
}

/** One connection through the proxy. */
export interface ProxyConnection {
  /** It has lost bytes or a hang-up, so it swallows everything. */
  readonly silent: boolean;
  /** Resolves once both of its sockets are closed. */
  readonly closed: Promise<void>;
  /** From now on it swallows everything, and what is on its way. */
  silence(): void;
  /** Delivers what was held back. */
  flush(): void;
  /** Ends it on both sides. */
  reset(): void;
}

/** Bytes on their way in one direction after which the sender is read no more, as TCP's window does. */
const WINDOW = 1024 * 1024;

/** Connects a client of the proxy to the server. */
export function connectPair(client: Socket, targetPort: number, faults: ProxyFaults): ProxyConnection {
  let silent = faults.mode === "drop";
  const reset = () => {
    client.resetAndDestroy();
    server?.resetAndDestroy();
  };
  const silence = () => {
    silent = true;
    for (const flow of flows) flow.swallow();
  };
  /** Whether this chunk is one of those to be swallowed; then the connection is broken already. */
  const breaks = (side: "client" | "server") => {
    if (faults.dropNext[side] === 0) return false;
    faults.dropNext[side]--;
    if (faults.dropNext.effect === "reset") reset();
    else silence();
    return true;
  };
  // What connects while the network is dead is accepted by the proxy, and the server never hears of it.
  const server = silent
    ? undefined
    : connect({ host: "127.0.0.1", port: targetPort, allowHalfOpen: true, noDelay: true });
  const flows =
    server === undefined
      ? [flow(client, undefined, faults, () => true)]
      : [
          flow(client, server, faults, () => breaks("client")),
          flow(server, client, faults, () => breaks("server")),
        ];
  if (silent) silence();
  return {
    get silent() {
      return silent;
    },
    closed: Promise.all([isClosed(client), isClosed(server)]).then(() => {}),
    silence,
    flush: () => {
      for (const flow of flows) flow.pump();
    },
    reset,
  };
}

/** What travels: bytes, the end of them, or a broken connection. */
type Parcel = Buffer | "end" | "reset";

interface Flow {
  /** Delivers what is due, unless it is to be held back. */
  pump(): void;
  /** Loses what is on its way, and all that comes. */
  swallow(): void;
}

/** Carries what `from` says to `to`, in order. */
function flow(from: Socket, to: Socket | undefined, faults: ProxyFaults, breaks: () => boolean): Flow {
  let queue: { readonly due: number; readonly parcel: Parcel }[] = [];
  let bytes = 0;
  let swallowing = false;
  let timer: NodeJS.Timeout | undefined;
  const pump = () => {
    clearTimeout(timer);
    if (swallowing || to === undefined) return;
    while (faults.mode !== "hold") {
      const next = queue[0];
      if (next === undefined) break;
      const wait = next.due - performance.now();
      if (wait > 0) {
        timer = setTimeout(pump, wait);
        break;
      }
      queue.shift();
      if (typeof next.parcel !== "string") bytes -= next.parcel.length;
      deliver(next.parcel, to);
    }
    if (bytes > WINDOW || to.writableNeedDrain) from.pause();
    else from.resume();
  };
  const send = (parcel: Parcel) => {
    if (swallowing) return;
    // One that is due early waits for those before it: only the first of the queue is ever looked at.
    const due = performance.now() + faults.delay + faults.jitter * faults.random();
    queue.push({ due, parcel });
    if (typeof parcel !== "string") bytes += parcel.length;
    pump();
  };
  from.on("data", (chunk: Buffer) => {
    if (swallowing || breaks()) return;
    send(chunk);
  });
  from.on("end", () => send("end"));
  from.on("error", () => send("reset"));
  from.on("close", () => {
    // Nobody is left to hear it, unless it waits for its time.
    if (to?.destroyed) clearTimeout(timer);
  });
  to?.on("drain", pump);
  return {
    pump,
    swallow() {
      swallowing = true;
      queue = [];
      clearTimeout(timer);
      from.resume();
    },
  };
}

function deliver(parcel: Parcel, to: Socket): void {
  if (to.destroyed) return;
  if (parcel === "reset") to.resetAndDestroy();
  else if (parcel === "end") to.end();
  else if (to.writable) to.write(parcel);
}

function isClosed(socket: Socket | undefined): Promise<void> {
  if (socket === undefined || socket.closed) return Promise.resolve();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
