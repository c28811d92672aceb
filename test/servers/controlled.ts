// A server with troubles on demand: killed, frozen, started anew.
import type { ChildProcess } from "node:child_process";
import { end, hasEnded, isPortTaken, stopped, type TestServer } from "./process.ts";

/** A private server that a test may freeze, kill and start again. */
export interface ControlledServer extends TestServer {
  /** The loopback port, the same for all its life. */
  readonly port: number;
  /** The process id, another one after `restart`. */
  readonly pid: number;
  /** What `pause`, `kill` and the likes made of it, or its own end. */
  readonly state: "running" | "paused" | "dead";
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay, nothing answers; resolves once it does nothing any more. */
  pause(): Promise<void>;
  /** SIGCONT, after `pause`. */
  resume(): Promise<void>;
  /**
   * Starts anew on the same port, whether it was killed or not: empty, or with the files it had written when
   * `keepData` is set.
   */
  restart(options?: { readonly keepData?: boolean }): Promise<void>;
}

/** What `controlled` must know of a server. */
export interface Controls {
  readonly url: string;
  readonly port: number;
  /** Starts the process on the port, resolves once it is ready. */
  start(): Promise<ChildProcess>;
  /** Removes what it has written as data; the process is gone. */
  clear(): Promise<void>;
  /** Removes all it had; the process is gone for ever. */
  remove(): Promise<void>;
}

/** Milliseconds between tries to get the port back for a restart, and how many. */
const PORT_BACK = { pause: 50, tries: 100 };

/** Starts the server and gives the handle of it. */
export async function controlled(controls: Controls): Promise<ControlledServer> {
  let child = await controls.start();
  let paused = false;
  let over = false;
  let last: Promise<unknown> = Promise.resolve();
  // One step at a time: a stop during a restart must not leave the new process behind.
  const inTurn = <T>(step: () => Promise<T>): Promise<T> => {
    const result = last.then(step);
    last = result.catch(() => {});
    return result;
  };
  const kill = async () => {
    await end(child, "SIGKILL");
    paused = false;
  };
  return {
    url: controls.url,
    port: controls.port,
    get pid() {
      return child.pid ?? -1;
    },
    get state() {
      if (hasEnded(child)) return "dead";
      return paused ? "paused" : "running";
    },
    kill: () => inTurn(kill),
    pause: () =>
      inTurn(async () => {
        if (hasEnded(child)) throw new Error("A dead server cannot be paused.");
        child.kill("SIGSTOP");
        paused = true;
        await stopped(child);
      }),
    resume: () =>
      inTurn(async () => {
        child.kill("SIGCONT");
        paused = false;
      }),
    restart: ({ keepData = false } = {}) =>
      inTurn(async () => {
        if (over) throw new Error("A server cannot be restarted after stop().");
        await kill();
        if (!keepData) await controls.clear();
        child = await onSamePort(controls.start);
      }),
    stop: () =>
      inTurn(async () => {
        over = true;
        // Nobody needs the data, and a Redis asked nicely waits for its replicas.
        await kill();
        await controls.remove();
      }),
  };
}

/** Starts again while another process has the port by chance. */
async function onSamePort(start: Controls["start"]): Promise<ChildProcess> {
  for (let left = PORT_BACK.tries; ; left--) {
    try {
      return await start();
    } catch (error) {
      if (left <= 1 || !isPortTaken(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, PORT_BACK.pause));
    }
  }
}
