/** One way to ask each cache for a key: as its documentation writes it, with the bound and lifetime of the rest. */
import { createCache as createDedupe } from "async-cache-dedupe";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { createCache as createManager } from "cache-manager";
import { Cacheable, createKeyv } from "cacheable";
import { createCache, memory } from "../dist/index.js";

/** Most entries each of them keeps, where it can be told. */
export const ENTRIES = 10_000;

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {(key: string, load: () => unknown) => Promise<unknown>} get one key, loaded when it is missing
 * @property {(keys: string[], load: (key: string) => unknown) => Promise<unknown[]>} getMany many keys
 * @property {string} many how `getMany` is done
 * @property {boolean} [own] ours: not a peer to be compared with
 * @property {() => Promise<void>} close
 */

const each = (get) => (keys, load) => Promise.all(keys.map((key) => get(key, () => load(key))));

/**
 * cacheable's memory store with its bound. One map instead of sixteen that are chosen by a hash of the key: its
 * documentation offers it, and hits are three times as fast.
 */
const bounded = (lruSize, useClone) => createKeyv({ lruSize, storeHashSize: 1, useClone });

/** @returns {Contender} */
export function ours(entries = ENTRIES) {
  const cache = createCache({ layers: [memory({ maxEntries: entries, maxBytes: "1gb" })], logger: false });
  return {
    name: "caching-universal",
    own: true,
    get: (key, load) => cache.getOrSet(key, load, { ttl: "10m" }),
    many: "getOrSetMany",
    getMany: (keys, load) =>
      cache.getOrSetMany(keys, (missing) => new Map(missing.map((key) => [key, load(key)])), { ttl: "10m" }),
    close: () => cache.close(),
  };
}

/** Ours with the lifetime given once, to the cache: calls without options. Only for single keys. */
export function oursPlain(entries = ENTRIES) {
  const layers = [memory({ maxEntries: entries, maxBytes: "1gb" })];
  const cache = createCache({ layers, ttl: "10m", logger: false });
  return {
    name: "  without options",
    own: true,
    get: (key, load) => cache.getOrSet(key, load),
    close: () => cache.close(),
  };
}

/** @returns {Contender} */
export function bento(entries = ENTRIES) {
  const cache = new BentoCache({
    default: "memory",
    // `serialize: false` is what its documentation gives for speed: objects are handed out as they are.
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: entries, serialize: false })) },
  });
  const get = (key, load) => cache.getOrSet({ key, ttl: "10m", factory: load });
  return {
    name: "bentocache",
    get,
    many: "Promise.all",
    getMany: each(get),
    close: () => cache.disconnectAll(),
  };
}

/** @returns {Contender} */
export function cacheable(entries = ENTRIES, useClone = true) {
  const cache = new Cacheable({ primary: bounded(entries, useClone) });
  const get = (key, load) => cache.getOrSet(key, load, { ttl: "10m" });
  return {
    name: useClone ? "cacheable" : "cacheable (no clone)",
    get,
    many: "Promise.all",
    getMany: each(get),
    close: () => cache.disconnect(),
  };
}

/** @returns {Contender} */
export function manager(entries = ENTRIES) {
  const cache = createManager({ stores: [bounded(entries, false)] });
  const get = (key, load) => cache.wrap(key, load, 600_000);
  return {
    name: "cache-manager",
    get,
    many: "Promise.all",
    getMany: each(get),
    close: async () => void (await cache.disconnect()),
  };
}

/** @returns {Contender} */
export function dedupe(entries = ENTRIES) {
  let load;
  const cache = createDedupe({ ttl: 600, storage: { type: "memory", options: { size: entries } } });
  // Its loader is defined once; this one asks whoever called last, which is right for calls made in one go.
  cache.define("value", (key) => load(key));
  return {
    name: "async-cache-dedupe",
    get: (key, loader) => {
      load = loader;
      return cache.value(key);
    },
    many: "Promise.all",
    getMany: (keys, loader) => {
      load = loader;
      return Promise.all(keys.map((key) => cache.value(key)));
    },
    close: async () => undefined,
  };
}

export const contenders = [ours, bento, cacheable, (entries) => cacheable(entries, false), manager, dedupe];
