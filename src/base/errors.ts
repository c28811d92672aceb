/** Base of every error this package throws. `code` is stable; `message` says what to do. */
export class CacheError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** An option has a value that cannot be used. Thrown where the option is given, naming its path and value. */
export class OptionError extends CacheError {
  readonly path: string;
  constructor(path: string, value: unknown, expected: string) {
    super("ERR_CACHE_OPTION", `Option "${path}" is ${show(value)}: expected ${expected}.`);
    this.path = path;
  }
}

/** A key cannot be used: not a string or tuple of scalars, empty, or not encodable. */
export class KeyError extends CacheError {
  constructor(key: unknown, expected: string) {
    super("ERR_CACHE_KEY", `Key ${show(key)} cannot be used: expected ${expected}.`);
  }
}

/** A value cannot be stored in (or read back from) a serialising layer. `path` names the place inside the value. */
export class CodecError extends CacheError {
  readonly path: string;
  constructor(path: string, message: string, options?: ErrorOptions) {
    super("ERR_CACHE_CODEC", message, options);
    this.path = path;
  }
}

/** A value did not match the `schema` it was given with. */
export class SchemaError extends CacheError {
  readonly issues: readonly { readonly message: string; readonly path: string }[];
  constructor(key: string, issues: readonly { readonly message: string; readonly path: string }[]) {
    const list = issues.map((issue) => `${issue.path || "(root)"}: ${issue.message}`).join("; ");
    super("ERR_CACHE_SCHEMA", `The value of key ${show(key)} does not match its schema: ${list}.`);
    this.issues = issues;
  }
}

/** A load did not answer within `hardTimeout` and no stale value could serve instead. */
export class TimeoutError extends CacheError {
  constructor(what: string, ms: number) {
    super("ERR_CACHE_TIMEOUT", `${what} did not answer within ${ms} ms.`);
  }
}

/** The authoritative layer (the source of a collection, or the log of an invalidation) failed; see `cause`. */
export class LayerError extends CacheError {
  readonly layer: string;
  constructor(layer: string, action: string, cause: unknown) {
    super("ERR_CACHE_LAYER", `Layer "${layer}" failed to ${action}: ${reason(cause)}`, { cause });
    this.layer = layer;
  }
}

/** A store's file or server cannot be used (corrupt, foreign, another format, no rights). */
export class StoreError extends CacheError {
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_CACHE_STORE", message, options);
  }
}

/** A store cannot keep this entry (it is too large); the store itself is well. */
export class RefusedError extends CacheError {
  constructor(message: string) {
    super("ERR_CACHE_REFUSED", message);
  }
}

/** The cache was used after `close()`. */
export class ClosedError extends CacheError {
  constructor(name: string) {
    super("ERR_CACHE_CLOSED", `Cache "${name}" is closed. Create a new one, or close it later.`);
  }
}

/** The message of anything that was thrown; loaders of others throw anything, and it must not hide behind this. */
export function reason(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return kind(error);
  }
}

/** A short, safe rendering of any value for an error message. */
export function show(value: unknown): string {
  let text: string;
  if (typeof value === "string") text = JSON.stringify(value);
  else if (typeof value === "bigint") text = `${value}n`;
  else if (typeof value === "function") text = "a function";
  else if (typeof value === "object" && value !== null) {
    try {
      text = JSON.stringify(value) ?? kind(value);
    } catch {
      text = kind(value);
    }
  } else text = String(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/** Such as "[object Map]". */
function kind(value: unknown): string {
  try {
    return Object.prototype.toString.call(value);
  } catch {
    // A revoked proxy, or a getter that throws.
    return "a value that cannot be shown";
  }
}
