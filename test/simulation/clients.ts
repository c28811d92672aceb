import { StoreError } from "../../src/base/errors.ts";
import type { LogServer } from "../../src/coherence/log-server.ts";
import type { StoreLayer } from "../../src/stores/store.ts";
import type { Link } from "./network.ts";
import type { Scheduler } from "./scheduler.ts";
import type { ServerState } from "./server.ts";

/** How long a call of the simulated store may take, in milliseconds. */
export const STORE_TIMEOUT = 250;

/** Names that no two callers share. */
export type Namer = () => string;

/** A driver of the simulated store: one connection, no retries, no time of its own. */
export function storeClient(world: Scheduler, link: Link, name: Namer): StoreLayer {
  let closed = false;
  const call = <T>(work: (state: ServerState, now: number) => T): Promise<T> => {
    if (closed) return Promise.reject(new StoreError("The store is closed."));
    return link.send<T>((reply) => reply(link.node.step(world.now, work)));
  };
  return {
    kind: "store",
    name: "sim",
    timeout: STORE_TIMEOUT,
    open: () => ({
      name: "sim",
      read(keys, options = {}) {
        const token = name();
        return call((state, now) => state.readEntries(keys, options, token, now));
      },
      fill: (key, entry, token) => call((state, now) => state.fill(key, entry, token, now)),
      renew: (key, token, ms) => call((state, now) => state.renew(key, token, ms, now)),
      release: (key, token) => call((state, now) => state.release(key, token, now)),
      write: (entries) => call((state, now) => state.write(entries, now)),
      remove: (keys, before) => call((state, now) => state.remove(keys, before, now)),
      expire: (keys) => call((state, now) => state.expire(keys, now)),
      touch: (key, ttl) => call((state, now) => state.touch(key, ttl, now)),
      async *keys(prefix) {
        yield await call((state, now) => state.keys(prefix, now));
      },
      clear: (keep) => call((state) => state.clearEntries(keep)),
      stats: () => call((state) => ({ entries: state.slots.size, bytes: 0 })),
      ping: () => call(() => undefined),
      async close() {
        closed = true;
        link.reset();
      },
    }),
  };
}

/** A driver of the simulated log: one connection for commands, one for the follower. */
export function logClient(world: Scheduler, commands: Link, follower: Link, name: Namer): LogServer {
  const call = <T>(link: Link, work: (state: ServerState, now: number) => T): Promise<T> =>
    link.send<T>((reply) => reply(link.node.step(world.now, work)));
  return {
    name: "sim-log",
    join(node, applied, lease) {
      const generation = name();
      return call(follower, (state, now) => state.join(node, applied, lease, generation, now));
    },
    append(records) {
      const generation = name();
      return call(commands, (state, now) => state.append(records, generation, now));
    },
    read: (after, limit, wait) =>
      follower.send((reply) => {
        const { node } = follower;
        const found = node.state.readRecords(after, limit);
        if (found.length > 0) {
          reply(found);
          return;
        }
        const end = (): void => {
          const records = node.state.readRecords(after, limit);
          timer.cancel();
          node.readers.delete(end);
          reply(records);
        };
        const timer = world.after(wait, () => (node.frozen ? node.queue.push(end) : end()));
        node.readers.add(end);
      }),
    unacknowledged: (position) => call(commands, (state, now) => state.unacknowledged(position, now)),
    renounce(generation, above) {
      const next = name();
      return call(follower, (state) => state.renounce(generation, above, next));
    },
    tagPositions: (tags) => call(commands, (state) => state.tagPositions(tags)),
    patterns: () => call(commands, (state) => [...state.patterns]),
    swept: ({ position }) => call(commands, (state) => state.swept(position)),
    leave: (node) => call(commands, (state) => void state.followers.delete(node)),
    reconnect: () => follower.reset(),
    async close() {
      follower.reset();
      commands.reset();
    },
  };
}
