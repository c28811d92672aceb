import { type Duration, milliseconds } from "../../base/duration.ts";
import { OptionError } from "../../base/errors.ts";
import { refuseUnknown } from "../../base/known-options.ts";
import { bytes, type Size } from "../../base/size.ts";
import type { LayerContext } from "../../coherence/log.ts";
import type { StoreLayer } from "../store.ts";
import { DiskLog } from "./disk-log.ts";
import { DiskStore } from "./disk-store.ts";
import { openEnvironment } from "./environment.ts";
import { defaultFolder } from "./folder.ts";

/** Options of {@link disk}. */
export interface DiskOptions {
  /** The folder; made when it is not there [`$XDG_CACHE_HOME` or `~/.cache`, then `caching-universal/<cache name>`]. */
  readonly path?: string | undefined;
  /** Most bytes of entries kept; the oldest written go first [`"1gb"`]. */
  readonly maxBytes?: Size | undefined;
  /** Longest wait of a read ["250ms"]. */
  readonly timeout?: Duration | undefined;
}

/**
 * L2 on the local disk (LMDB by the package `lmdb`): shared by all processes of the machine, survives
 * restarts, and brings the log that keeps those processes coherent.
 * @throws {OptionError} for an option that cannot be used; `createCache` throws `StoreError` when the folder cannot be.
 * @example createCache({ name: "shop", layers: [memory(), disk({ path: "/var/cache/shop" })] })
 */
export function disk(options: DiskOptions = {}): StoreLayer {
  refuseUnknown(options, "disk", (name) => name === "path" || name === "maxBytes" || name === "timeout");
  const { path } = options;
  if (path !== undefined && (typeof path !== "string" || path === ""))
    throw new OptionError("disk.path", path, "the path of a folder");
  const maxBytes =
    options.maxBytes === Number.POSITIVE_INFINITY
      ? options.maxBytes
      : bytes(options.maxBytes ?? "1gb", "disk.maxBytes");
  const timeout = milliseconds(options.timeout ?? "250ms", "disk.timeout");
  const environment = (context: LayerContext) =>
    openEnvironment(path ?? defaultFolder(context.cacheName), context.warn);
  return {
    kind: "store",
    name: "disk",
    timeout,
    open(context) {
      const env = environment(context);
      return new DiskStore(env, context, maxBytes, () => env.release());
    },
    log(context) {
      const env = environment(context);
      return new DiskLog(env, context, () => env.release());
    },
  };
}
