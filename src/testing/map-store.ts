import { StoreError } from "../base/errors.ts";
import type { LayerContext, LogFactory } from "../coherence/log.ts";
import type { FoundEntry, Store, StoredEntry, StoreLayer, StoreRead } from "../stores/store.ts";

interface Slot {
  entry: StoredEntry | undefined;
  /** By the clock of the cache that wrote it. */
  storedAt: number;
  lease: { token: string; until: number; awaited: boolean } | undefined;
}

/** Options of {@link mapStore}. */
export interface MapStoreOptions {
  /** The layer's name ["map"]. */
  readonly name?: string;
  /** Milliseconds that a read waits for it [250]. */
  readonly timeout?: number;
  /** A log for the caches that share it [none]. */
  readonly log?: LogFactory;
}

/**
 * A store in a Map: the reference implementation of the store contract, for tests. Caches that are given
 * the same layer share what is in it, as they would share a server.
 */
export function mapStore(options: MapStoreOptions = {}): StoreLayer {
  const spaces = new Map<string, Map<string, Slot>>();
  let tokens = 0;
  return {
    kind: "store",
    name: options.name ?? "map",
    timeout: options.timeout ?? 250,
    ...(options.log === undefined ? {} : { log: options.log }),
    open(context) {
      const slots = spaces.get(context.cacheName) ?? new Map<string, Slot>();
      spaces.set(context.cacheName, slots);
      return open(options.name ?? "map", slots, context, () => `t${++tokens}`);
    },
  };
}

function open(name: string, slots: Map<string, Slot>, { clock }: LayerContext, token: () => string): Store {
  let closed = false;
  const live = (key: string): Slot | undefined => {
    const slot = slots.get(key);
    if (slot === undefined) return undefined;
    const now = clock.now();
    if (slot.entry !== undefined && now >= slot.storedAt + slot.entry.ttl + slot.entry.grace)
      slot.entry = undefined;
    if (slot.lease !== undefined && now >= slot.lease.until) slot.lease = undefined;
    if (slot.entry !== undefined || slot.lease !== undefined) return slot;
    slots.delete(key);
    return undefined;
  };
  const found = (slot: Slot | undefined): FoundEntry | undefined =>
    slot?.entry === undefined ? undefined : { entry: slot.entry, age: clock.now() - slot.storedAt };
  const holds = (key: string, held: string): Slot | undefined => {
    const slot = live(key);
    return slot?.lease?.token === held ? slot : undefined;
  };
  /** Every method is asynchronous as a real store's is, and refuses to work once closed. */
  const step = async <T>(work: () => T): Promise<T> => {
    await Promise.resolve();
    if (closed) throw new StoreError(`Store "${name}" is closed.`);
    return work();
  };
  return {
    name,
    read: (keys, options = {}) =>
      step(() => {
        options.signal?.throwIfAborted();
        return keys.map((key): StoreRead => {
          const slot = live(key);
          const entry = found(slot);
          const fresh = entry !== undefined && entry.age < entry.entry.ttl;
          if (options.lease === undefined || (fresh && options.refresh !== true))
            return { found: entry, lease: undefined };
          if (slot?.lease !== undefined) {
            slot.lease.awaited = true;
            return { found: entry, lease: "busy" };
          }
          const lease = { token: token(), until: clock.now() + options.lease, awaited: false };
          slots.set(key, { entry: slot?.entry, storedAt: slot?.storedAt ?? 0, lease });
          return { found: entry, lease: lease.token };
        });
      }),
    fill: (key, entry, held) =>
      step(() => {
        const lease = holds(key, held)?.lease;
        if (lease === undefined) return "refused";
        slots.set(key, { entry, storedAt: clock.now(), lease: undefined });
        return lease.awaited ? "awaited" : "stored";
      }),
    renew: (key, held, ms) =>
      step(() => {
        const slot = holds(key, held);
        if (slot?.lease !== undefined) slot.lease.until = clock.now() + ms;
        return slot !== undefined;
      }),
    release: (key, held) =>
      step(() => {
        const slot = holds(key, held);
        const awaited = slot?.lease?.awaited === true;
        if (slot !== undefined) slot.lease = undefined;
        return awaited;
      }),
    write: (entries) =>
      step(() => {
        for (const [key, entry] of entries)
          slots.set(key, { entry, storedAt: clock.now(), lease: undefined });
      }),
    remove: (keys, before) =>
      step(() => {
        let removed = 0;
        for (const key of keys) {
          const slot = live(key);
          if (slot === undefined) continue;
          const old = slot.entry !== undefined && (before === undefined || slot.entry.asOf < before);
          if (old) removed++;
          if (before === undefined) slots.delete(key);
          else if (old) slot.entry = undefined;
        }
        return removed;
      }),
    expire: (keys) =>
      step(() => {
        let expired = 0;
        for (const key of keys) {
          const slot = live(key);
          if (slot === undefined) continue;
          slot.lease = undefined;
          if (slot.entry === undefined) continue;
          expired++;
          const age = clock.now() - slot.storedAt;
          if (age < slot.entry.ttl) slot.entry = { ...slot.entry, ttl: age };
        }
        return expired;
      }),
    touch: (key, ttl) =>
      step(() => {
        const slot = live(key);
        if (slot?.entry === undefined || clock.now() - slot.storedAt >= slot.entry.ttl) return false;
        slot.entry = { ...slot.entry, ttl };
        slot.storedAt = clock.now();
        return true;
      }),
    async *keys(prefix, signal) {
      const all = await step(() => [...slots.keys()].filter((key) => key.startsWith(prefix)));
      for (let i = 0; i < all.length; i += 100) {
        signal?.throwIfAborted();
        yield all.slice(i, i + 100).filter((key) => live(key)?.entry !== undefined);
      }
    },
    clear: (keep) =>
      step(() => {
        for (const [key, slot] of slots)
          if (slot.entry !== undefined && slot.entry.generation !== keep) slots.delete(key);
      }),
    stats: () =>
      step(() => {
        let entries = 0;
        let bytes = 0;
        for (const key of [...slots.keys()]) {
          const entry = live(key)?.entry;
          if (entry === undefined) continue;
          entries++;
          bytes += Buffer.byteLength(key) + entry.value.length;
        }
        return { entries, bytes };
      }),
    ping: () => step(() => undefined),
    async close() {
      closed = true;
    },
  };
}
