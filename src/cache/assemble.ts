import { systemClock } from "../base/clock.ts";
import { structured } from "../base/codec-structured.ts";
import { milliseconds } from "../base/duration.ts";
import { OptionError } from "../base/errors.ts";
import { frame } from "../base/frame.ts";
import { bytes } from "../base/size.ts";
import { localLog } from "../coherence/local-log.ts";
import type { LayerContext } from "../coherence/log.ts";
import { type MemoryLayer, memory } from "../memory/memory.ts";
import { CacheCounters } from "../observe/counters.ts";
import { Emitter } from "../observe/emitter.ts";
import type { StoreLayer } from "../stores/store.ts";
import type { CacheEvents } from "./api.ts";
import { Core } from "./core.ts";
import type { Entry } from "./entry.ts";
import { GuardedStore } from "./guarded-store.ts";
import type { CacheOptions, Logger } from "./options.ts";
import { DEFAULTS, isEntryOption, type LifetimeOptions, refuseUnknown, resolveOptions } from "./resolve.ts";

const CACHE_OPTIONS = new Set([
  ...[
    "name",
    "layers",
    "log",
    "maxLag",
    "lease",
    "policies",
    "codec",
    "compressAbove",
    "isolate",
    "maxKeyLength",
    "logger",
  ],
  ...["clock", "random"],
]);
const ISOLATES: readonly unknown[] = [undefined, false, "freeze", "clone"];

/** A cache's parts and the options that only its face needs. */
export interface Assembled {
  readonly core: Core;
  readonly maxKeyLength: number;
  readonly advice: readonly string[];
}

/**
 * Turns what the user gave into a working core: every option resolved, every layer opened.
 * @throws {OptionError} naming the option that cannot be used.
 * @throws {StoreError} when a store cannot be opened.
 */
export function assemble(options: CacheOptions): Assembled {
  refuseUnknown(options, "", (name) => CACHE_OPTIONS.has(name) || isEntryOption(name));
  const name = options.name ?? "cache";
  if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name))
    throw new OptionError("name", name, "1 to 64 letters, digits, '.', '_' or '-'");
  if (!ISOLATES.includes(options.isolate))
    throw new OptionError("isolate", options.isolate, 'false, "freeze" or "clone"');
  const maxKeyLength = options.maxKeyLength ?? 250;
  if (!Number.isInteger(maxKeyLength) || maxKeyLength < 100)
    throw new OptionError("maxKeyLength", maxKeyLength, "a whole number of bytes, 100 or more");

  const warn = speaker(name, options.logger);
  const clock = options.clock ?? systemClock();
  const random = options.random ?? Math.random;
  const suspect = (path: string, ms: number): void =>
    warn(
      `${path}: ${ms} is ${ms} milliseconds. If seconds were meant, write "${ms}s"; if not, write "${ms}ms".`,
    );
  const defaults = Object.freeze(resolveOptions(DEFAULTS, options, "", suspect));
  const policies = new Map<string, LifetimeOptions>();
  for (const [policy, given] of Object.entries(options.policies ?? {})) {
    refuseUnknown(given, `policies.${policy}`, isEntryOption);
    policies.set(policy, Object.freeze(resolveOptions(defaults, given, `policies.${policy}`, suspect)));
  }
  const compressAbove =
    options.compressAbove === false ? false : bytes(options.compressAbove ?? "16kb", "compressAbove");
  const wire = frame(options.codec ?? structured(), compressAbove);
  const { near, far } = sortLayers(options.layers ?? [memory()]);

  const counters = new CacheCounters();
  const events = new Emitter<CacheEvents>(() => {
    counters.listenerErrors++;
  });
  const maxLag = milliseconds(options.maxLag ?? "5s", "maxLag");
  const lease = milliseconds(options.lease ?? "10s", "lease");
  if (lease < 100) throw new OptionError("lease", options.lease, "100 ms or more");
  const context: LayerContext = { cacheName: name, clock, random, warn, maxLag };
  const stores = far.map(
    (layer) =>
      new GuardedStore(layer.open(context), layer.timeout, clock, random, {
        error: (layer, action, error) => events.emit("layerError", { layer, action, error }),
        state: (layer, state) => events.emit("layerState", { layer, state }),
      }),
  );
  const logOf = options.log ?? far.findLast((layer) => layer.log !== undefined)?.log ?? localLog();
  const core = new Core({
    name,
    clock,
    random,
    stores,
    log: logOf(context),
    maxLag,
    lease,
    memory: near?.open<Entry>(clock, (key, _entry, cause) => {
      counters.evictions++;
      if (events.wants("evict")) events.emit("evict", { key, cause });
    }),
    frame: wire,
    isolate: options.isolate ?? false,
    defaults,
    policies,
    warn,
    events,
    counters,
  });
  return { core, maxKeyLength, advice: adviceFor(core, defaults, warn) };
}

function sortLayers(layers: readonly (MemoryLayer | StoreLayer)[]): {
  near: MemoryLayer | undefined;
  far: StoreLayer[];
} {
  if (!Array.isArray(layers) || layers.length === 0)
    throw new OptionError("layers", layers, "one layer or more, such as [memory()] or [memory(), disk()]");
  const far: StoreLayer[] = [];
  let near: MemoryLayer | undefined;
  for (const [i, layer] of layers.entries()) {
    const path = `layers[${i}]`;
    if (layer?.kind === "memory") {
      if (i !== 0) throw new OptionError(path, "memory()", "memory() once, as the first layer");
      near = layer;
    } else if (layer?.kind === "store") {
      if (far.some((other) => other.name === layer.name))
        throw new OptionError(
          path,
          layer.name,
          "each layer to have a name of its own; give this one another `name`",
        );
      far.push(layer);
    } else throw new OptionError(path, layer, "a layer: what memory(), disk() or another driver returns");
  }
  return { near, far };
}

/** Says what is off and why: what matters once aloud, all of it in `health()`. */
function adviceFor(core: Core, defaults: LifetimeOptions, warn: Logger): string[] {
  const advice: string[] = [];
  const shared = core.stores.length > 0;
  if (!shared)
    advice.push("No shared store: entries end with this process, and other processes load for themselves.");
  if (shared && !core.log.shared) {
    const line =
      "The log is local: invalidations by other processes do not reach this one's memory. Use a store that brings a log.";
    advice.push(line);
    warn(line);
  }
  if (core.memory === undefined) advice.push("No memory layer: every hit costs a read of a store.");
  if (defaults.ttl === Number.POSITIVE_INFINITY)
    advice.push("No default ttl: entries without their own live until they are invalidated or evicted.");
  if (defaults.grace === 0)
    advice.push("No default grace: when a load fails there is no stale value to serve instead.");
  return advice;
}

function speaker(name: string, logger: Logger | false | undefined): Logger {
  if (logger === false) return () => undefined;
  if (logger === undefined)
    return (message) => process.emitWarning(`[${name}] ${message}`, { type: "CachingUniversalWarning" });
  if (typeof logger !== "function")
    throw new OptionError("logger", logger, "a function that takes a message, or false");
  return logger;
}
