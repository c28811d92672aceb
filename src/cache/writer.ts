import { CodecError, OptionError, reason } from "../base/errors.ts";
import { globMatcher, parsePattern } from "../base/key.ts";
import { validate } from "../base/standard-schema.ts";
import { newGeneration } from "../coherence/local-log.ts";
import type { KeysRecord, LogRecord, Position } from "../coherence/log.ts";
import type { StoredEntry } from "../stores/store.ts";
import type { Core } from "./core.ts";
import type { Entry } from "./entry.ts";
import { UNAVAILABLE } from "./guarded-store.ts";
import type { InvalidateOptions, InvalidationReport, SetOptions } from "./options.ts";
import { jittered, Promoter, sizeOfEntry } from "./promoter.ts";
import { shapeOfCall } from "./reader.ts";
import { checkTag, type LifetimeOptions, refuseUnknown } from "./resolve.ts";
import { literalHead, Sweeper } from "./sweeper.ts";
import { Turns } from "./turns.ts";

const INVALIDATE_OPTIONS = new Set(["soft", "dryRun", "wait", "progress", "signal"]);

/** A typing error in an option must not turn a dry run into the real thing. */
function check(core: Core, options: InvalidateOptions): void {
  core.assertOpen();
  refuseUnknown(options, "", (name) => INVALIDATE_OPTIONS.has(name));
  if (options.wait !== undefined && options.wait !== "all")
    throw new OptionError("wait", options.wait, '"all", or nothing');
  if (options.progress !== undefined && typeof options.progress !== "function")
    throw new OptionError("progress", options.progress, "a function");
  options.signal?.throwIfAborted();
}

/** Keys of one record of the log. */
const RECORD_KEYS = 1_000;

/** A record of very many keys as several; one that has to be remembered as a whole stays whole. */
function inParts(record: KeysRecord): KeysRecord[] {
  if (record.pending === true || record.keys.length <= RECORD_KEYS) return [record];
  const parts: KeysRecord[] = [];
  for (let at = 0; at < record.keys.length; at += RECORD_KEYS)
    parts.push({ ...record, keys: record.keys.slice(at, at + RECORD_KEYS) });
  return parts;
}

/** What a sweep or a count looks at. */
interface Scope {
  /** Keys to look at in the stores start with it. */
  readonly prefix: string;
  readonly concerns: (key: string, tags: readonly string[]) => boolean;
}

/** The write path: far layers first, then the log, then this process's own memory. */
export class Writer {
  readonly #core: Core;
  readonly #promoter: Promoter;
  readonly #turns = new Turns();
  readonly #sweeper: Sweeper;

  constructor(core: Core) {
    this.#core = core;
    this.#promoter = new Promoter(core);
    this.#sweeper = new Sweeper(core);
    if (core.log.shared && core.stores.length > 0) this.#sweeper.watch();
  }

  /** Stores values in all layers. `undefined` (without `negativeTtl`) and a ttl of 0 take the key out instead. */
  async setMany(
    entries: readonly (readonly [string, unknown])[],
    options: SetOptions | undefined,
  ): Promise<{ position: string }> {
    const core = this.#core;
    core.assertOpen();
    const resolved = core.resolve(options);
    const valid: [string, unknown][] = [];
    for (const [key, value] of entries) {
      const schema = options?.schema;
      if (typeof value === "object" && value !== null && "then" in value && typeof value.then === "function")
        throw new OptionError(
          "value",
          value,
          `a value for key ${JSON.stringify(key)}, not a promise of one; await it first`,
        );
      valid.push([
        key,
        schema === undefined || value === undefined ? value : await validate(schema, value, key),
      ]);
    }
    // Refused before anything is touched: a value that a store cannot carry must not end up in half the layers.
    const encoded = new Map<string, Uint8Array>();
    const stores = resolved.l2 ? core.stores : [];
    if (stores.length > 0) for (const [key, value] of valid) encoded.set(key, encodeFor(core, key, value));
    const keys = [...new Set(valid.map(([key]) => key))];
    if (keys.length === 0) return { position: core.following.show(core.invalidations.position) };
    return core.tracked(
      this.#turns.take(keys, () =>
        this.#setInTurn(keys, new Map(valid), encoded, resolved, shapeOfCall(options)),
      ),
    );
  }

  async #setInTurn(
    keys: readonly string[],
    values: ReadonlyMap<string, unknown>,
    encoded: ReadonlyMap<string, Uint8Array>,
    resolved: LifetimeOptions,
    shape: number,
  ): Promise<{ position: string }> {
    const core = this.#core;
    if (core.following.ready !== undefined) await core.following.writable();
    const asOf = core.invalidations.position;
    const made = new Map<string, Entry>();
    for (const [key, value] of values) {
      const entry = this.#make(key, value, asOf, resolved);
      if (entry !== undefined) made.set(key, entry);
    }
    const writes: [string, StoredEntry][] = [];
    if (resolved.l2) {
      for (const [key, bytes] of encoded) {
        const entry = made.get(key);
        if (entry !== undefined) writes.push([key, this.#promoter.toStored(entry, bytes, shape)]);
      }
    }
    // Also when a layer is left out by the options: what it still holds is older than this write.
    const gone = keys.filter((key) => !made.has(key) || !resolved.l2);
    core.writing(keys);
    try {
      let pending = false;
      for (const store of core.stores.toReversed()) {
        if (writes.length > 0 && !(await store.write(writes))) pending = true;
        if (gone.length > 0 && (await store.remove(gone)) === UNAVAILABLE) pending = true;
      }
      const record: KeysRecord = { kind: "keys", keys, written: asOf, ...(pending ? { pending } : {}) };
      const position = await core.following.append(inParts(record));
      if (pending) this.#owed(record, position);
      for (const [key, entry] of made) {
        // Another process wrote or invalidated it meanwhile: the next read asks the stores (P1).
        if (!resolved.l1 || core.overtaken(key)) continue;
        entry.asOf = position; // its own record does not concern it
        core.keep(key, entry);
      }
      core.counters.sets += made.size;
      if (core.events.wants("set")) for (const key of made.keys()) core.events.emit("set", { key });
      return { position: core.following.show(position) };
    } finally {
      core.written(keys);
    }
  }

  #make(key: string, value: unknown, asOf: Position, options: LifetimeOptions): Entry | undefined {
    const core = this.#core;
    const missing = value === undefined;
    const ttl = jittered(missing ? options.negativeTtl : options.ttl, options, core.random);
    if (ttl === 0) return undefined;
    const sliding = options.sliding && Number.isFinite(ttl) ? ttl : 0;
    const bytes = sizeOfEntry(key, value, options.tags);
    const { tags, grace } = options;
    return core.entry(
      {
        value,
        kind: missing ? "negative" : "value",
        tags,
        asOf,
        ttl,
        grace,
        cost: 0,
        sliding,
        bytes,
        age: 0,
      },
      options,
    );
  }

  /** Removes keys from all layers, or makes them stale. */
  async remove(keys: readonly string[], options: InvalidateOptions = {}): Promise<InvalidationReport> {
    const core = this.#core;
    check(core, options);
    const unique = [...new Set(keys)];
    const soft = options.soft === true;
    if (options.dryRun === true) return this.#countKeys(unique);
    if (unique.length === 0)
      return { position: core.following.show(core.invalidations.position), layers: {}, pending: [] };
    const removal = this.#turns.take(unique, async () => {
      if (core.following.ready !== undefined) await core.following.writable();
      const layers: Record<string, number | undefined> = {};
      const pending: string[] = [];
      for (const store of core.stores.toReversed()) {
        const removed = await store.remove(unique, soft);
        if (removed === UNAVAILABLE) pending.push(store.name);
        layers[store.name] = removed === UNAVAILABLE ? undefined : removed;
      }
      const now = core.clock.now();
      if (core.memory !== undefined)
        layers.memory = unique.filter((key) => core.glance(key, now) !== undefined).length;
      const record: KeysRecord = {
        kind: "keys",
        keys: unique,
        ...(soft ? { soft } : {}),
        ...(pending.length > 0 ? { pending: true } : {}),
        ...(options.wait === "all" ? { strict: true } : {}),
      };
      const position = await core.following.append(inParts(record));
      if (pending.length > 0) this.#owed(record, position);
      core.counters.invalidations++;
      if (options.wait === "all") await core.following.settled(position, options.signal);
      return { position: core.following.show(position), layers, pending };
    });
    return core.tracked(removal);
  }

  /** The stores that missed it make up for it in the background; until then the log tells everybody. */
  #owed(record: KeysRecord, position: Position): void {
    for (const store of this.#core.stores) store.owedBefore(record.keys, position);
    this.#core.background(this.#sweeper.sweep({ position, record }));
  }

  /** Makes every entry with any of these tags unusable, or stale. */
  async invalidateTags(
    tags: readonly string[],
    options: InvalidateOptions = {},
  ): Promise<InvalidationReport> {
    if (!Array.isArray(tags)) throw new OptionError("tags", tags, "an array of strings");
    for (const tag of tags) checkTag(tag, "tags");
    const wanted = new Set(tags);
    const scope: Scope = { prefix: "", concerns: (_key, has) => has.some((tag) => wanted.has(tag)) };
    check(this.#core, options);
    if (wanted.size === 0) return this.#count({ prefix: "", concerns: () => false });
    const soft = options.soft === true;
    return this.#byRecord({ kind: "tags", tags: [...wanted], ...(soft ? { soft } : {}) }, scope, options);
  }

  /** @param pattern a full key pattern, with the prefix of the namespace already in it. */
  async invalidatePattern(pattern: string, options: InvalidateOptions = {}): Promise<InvalidationReport> {
    const parsed = parsePattern(pattern);
    if (parsed.kind === "key") return this.remove([parsed.key], options);
    const flags = options.soft === true ? { soft: true } : {};
    if (parsed.kind === "prefix") return this.invalidatePrefix(parsed.prefix, options);
    const matches = globMatcher(parsed.glob);
    const prefix = literalHead(parsed.glob);
    return this.#byRecord(
      { kind: "glob", glob: parsed.glob, ...flags },
      { prefix, concerns: matches },
      options,
    );
  }

  async invalidatePrefix(prefix: string, options: InvalidateOptions = {}): Promise<InvalidationReport> {
    const soft = options.soft === true;
    const concerns = (key: string): boolean => key.startsWith(prefix);
    return this.#byRecord(
      { kind: "prefix", prefix, ...(soft ? { soft } : {}) },
      { prefix, concerns },
      options,
    );
  }

  /** Everything: a new generation, in which no entry of the old one is valid. Stores are emptied in the background. */
  async clear(options: InvalidateOptions = {}): Promise<InvalidationReport> {
    if (options.soft === true) return this.invalidatePrefix("", options);
    return this.#byRecord(
      { kind: "clear", generation: newGeneration() },
      { prefix: "", concerns: () => true },
      options,
    );
  }

  /** Starts lifetimes anew in all layers. */
  async touch(key: string, ttl: number | undefined): Promise<boolean> {
    const core = this.#core;
    core.assertOpen();
    const now = core.clock.now();
    const entry = core.trusts() ? core.lookup(key, now) : undefined;
    // What is stale (by its ttl, or by a soft invalidation) is not made fresh without a look at its source.
    if (entry !== undefined && now >= entry.freshUntil) return false;
    const lifetime = ttl ?? entry?.ttl ?? core.defaults.ttl;
    entry?.renew(now, lifetime);
    const touched = await Promise.all(core.stores.map((store) => store.touch(key, lifetime)));
    return entry !== undefined || touched.includes(true);
  }

  /** Ends sweeps that are under way. */
  stop(): void {
    this.#sweeper.stop();
  }

  async #byRecord(record: LogRecord, scope: Scope, options: InvalidateOptions): Promise<InvalidationReport> {
    const core = this.#core;
    check(core, options);
    if (options.dryRun === true) return this.#count(scope, options.signal);
    if (core.following.ready !== undefined) await core.following.writable();
    const strict = options.wait === "all";
    const position = await core.tracked(core.following.append([strict ? { ...record, strict } : record]));
    core.counters.invalidations++;
    if (record.kind === "clear") {
      const { generation } = record;
      core.background(Promise.all(core.stores.map((store) => store.clear(generation))));
    } else if (
      (record.kind === "prefix" || record.kind === "glob") &&
      record.soft !== true &&
      core.stores.length > 0
    ) {
      core.background(this.#sweeper.sweep({ record, position }, options));
    }
    if (strict) await core.following.settled(position, options.signal);
    const layers: Record<string, number | undefined> = {};
    if (core.memory !== undefined) layers.memory = undefined;
    for (const store of core.stores) layers[store.name] = undefined;
    return { position: core.following.show(position), layers, pending: [] };
  }

  async #countKeys(keys: readonly string[]): Promise<InvalidationReport> {
    const wanted = new Set(keys);
    const core = this.#core;
    const now = core.clock.now();
    const layers: Record<string, number | undefined> = {};
    if (core.memory !== undefined)
      layers.memory = keys.filter((key) => core.glance(key, now) !== undefined).length;
    for (const store of core.stores) {
      const reads = await store.read([...wanted], {});
      layers[store.name] =
        reads === UNAVAILABLE ? undefined : reads.filter((read) => read.found !== undefined).length;
    }
    return { position: "", layers, pending: [] };
  }

  /** Counts what an invalidation would reach, by walking all layers in steps. */
  async #count(scope: Scope, signal?: AbortSignal): Promise<InvalidationReport> {
    const core = this.#core;
    core.assertOpen();
    const now = core.clock.now();
    const layers: Record<string, number | undefined> = {};
    if (core.memory !== undefined) {
      let count = 0;
      for (const [key, entry] of core.memory.entries())
        if (scope.concerns(key, entry.tags) && core.glance(key, now) !== undefined) count++;
      layers.memory = count;
    }
    for (const store of core.stores) {
      let count = 0;
      let counted = true;
      const batches = store.keys(scope.prefix, signal);
      let next = await batches.next();
      for (; next.done !== true; next = await batches.next()) {
        const batch = next.value;
        signal?.throwIfAborted();
        const reads = await store.read(batch, {});
        if (reads === UNAVAILABLE) {
          counted = false;
          continue;
        }
        for (const [i, { found }] of reads.entries()) {
          const key = batch[i];
          if (key === undefined || found === undefined || !scope.concerns(key, found.entry.tags)) continue;
          const { generation, tags, asOf } = found.entry;
          const known = core.invalidations;
          if (generation === known.generation && known.verdict(key, tags, asOf) !== "invalid") count++;
        }
      }
      // A store that did not answer to the end was not counted: less than there is would be no answer.
      layers[store.name] = counted && next.value ? count : undefined;
    }
    return { position: "", layers, pending: [] };
  }
}

function encodeFor(core: Core, key: string, value: unknown): Uint8Array {
  try {
    return core.encode(value);
  } catch (error) {
    if (error instanceof CodecError)
      throw new CodecError(error.path, `Key ${JSON.stringify(key)} cannot be stored: ${error.message}`, {
        cause: error,
      });
    throw new CodecError("", `Key ${JSON.stringify(key)} cannot be stored: ${reason(error)}`, {
      cause: error,
    });
  }
}
