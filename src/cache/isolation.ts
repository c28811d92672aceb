import { CodecError, reason } from "../base/errors.ts";
import type { Isolate } from "./options.ts";

/** `Isolate`, resolved. */
export type Protection = Isolate;

/** The form in which a value is kept in memory. @throws {CodecError} when a clone cannot be made. */
export function protect(value: unknown, how: Protection): unknown {
  if (how === "clone") return clone(value);
  return how === "freeze" ? deepFreeze(value) : value;
}

/** The form in which a value is handed out. What cannot be cloned was not kept either: nobody else has it. */
export function handOut(value: unknown, how: Protection): unknown {
  if (how !== "clone") return value;
  try {
    return clone(value);
  } catch {
    return value;
  }
}

function clone(value: unknown): unknown {
  if (typeof value !== "object" || value === null) {
    if (typeof value !== "function") return value;
  }
  try {
    return structuredClone(value);
  } catch (error) {
    throw new CodecError("", `The value cannot be cloned, as isolate: "clone" asks: ${reason(error)}`, {
      cause: error,
    });
  }
}

/** Freezes objects and arrays all the way down. Maps, Sets, Dates and buffers keep their own mutators: JavaScript cannot freeze those. */
function deepFreeze(value: unknown): unknown {
  const queue: unknown[] = [value];
  const seen = new Set<object>();
  while (queue.length > 0) {
    const node = queue.pop();
    if (typeof node !== "object" || node === null || ArrayBuffer.isView(node) || seen.has(node)) continue;
    seen.add(node);
    Object.freeze(node);
    if (node instanceof Map) queue.push(...node.keys(), ...node.values());
    else if (node instanceof Set) queue.push(...node);
    else queue.push(...Object.values(node));
  }
  return value;
}
