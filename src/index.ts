/** Coherent multi-layer caching for Node.js. See README.md and docs/. */
export type { Clock, Timer } from "./base/clock.ts";
export { systemClock } from "./base/clock.ts";
export type { Codec } from "./base/codec.ts";
export { json } from "./base/codec-json.ts";
export { structured } from "./base/codec-structured.ts";
export type { Duration } from "./base/duration.ts";
export {
  CacheError,
  ClosedError,
  CodecError,
  KeyError,
  LayerError,
  OptionError,
  RefusedError,
  SchemaError,
  StoreError,
  TimeoutError,
} from "./base/errors.ts";
export type { Size } from "./base/size.ts";
export type * from "./cache/api.ts";
export { createCache } from "./cache/cache.ts";
export type {
  Answer,
  BatchLoader,
  CacheOptions,
  CallOptions,
  Eager,
  EntryOptions,
  Found,
  GetOptions,
  GetOrSetOptions,
  InvalidateOptions,
  InvalidationReport,
  Isolate,
  Key,
  KeyPart,
  LoadContext,
  Loader,
  Logger,
  SetOptions,
  StaleEntry,
  SweepProgress,
} from "./cache/options.ts";
export { cached } from "./cache/wrap.ts";
export { localLog } from "./coherence/local-log.ts";
export type {
  ActivePattern,
  Appended,
  Follower,
  LayerContext,
  Log,
  LogFactory,
  LogHead,
  LogRecord,
  Position,
  TagPositions,
} from "./coherence/log.ts";
export { type MemoryLayer, type MemoryOptions, memory } from "./memory/memory.ts";
export type { LatencyStats } from "./observe/latency.ts";
export { type CustomSourceOptions, type Loaded, source } from "./sources/custom.ts";
export type { Source, SourceOptions } from "./sources/source.ts";
export type {
  FoundEntry,
  ReadOptions,
  Store,
  StoredEntry,
  StoreLayer,
  StoreRead,
  StoreStats,
} from "./stores/store.ts";
