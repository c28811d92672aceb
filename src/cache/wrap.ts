import { canonicalArguments } from "../base/canonical.ts";
import { OptionError } from "../base/errors.ts";
import type { Cache, WrapOptions, Wrapped } from "./api.ts";
import type { GetOrSetOptions, Key } from "./options.ts";
import { isCallOption, refuseUnknown } from "./resolve.ts";

const WRAP_OPTIONS = new Set(["key", "name"]);

/**
 * A function whose results are cached by its arguments.
 * @throws {OptionError} when neither the function nor the options name it and there is no `key`.
 */
export function wrapFunction<A extends unknown[], R>(
  cache: Cache,
  fn: (...args: A) => R | Promise<R>,
  options: WrapOptions<A, R> = {},
): Wrapped<A, R> {
  if (typeof fn !== "function") throw new OptionError("fn", fn, "a function to wrap");
  refuseUnknown(options, "wrap", (option) => WRAP_OPTIONS.has(option) || isCallOption(option));
  const { key, name = fn.name, tags, ...rest } = options;
  if (key === undefined && name === "")
    throw new OptionError(
      "name",
      name,
      "a name for the generated keys, since the function has none (or a `key` function)",
    );
  if (key !== undefined && typeof key !== "function")
    throw new OptionError("key", key, "a function of the arguments that returns a key");
  const keyOf = (...args: A): Key => (key === undefined ? [name, canonicalArguments(args)] : key(...args));
  const call = function (this: unknown, ...args: A): Promise<Awaited<R>> {
    const given: GetOrSetOptions<Awaited<R>> =
      tags === undefined ? rest : { ...rest, tags: typeof tags === "function" ? tags(...args) : tags };
    const loader = async (): Promise<Awaited<R>> => await Reflect.apply(fn, this, args);
    try {
      return cache.getOrSet(keyOf(...args), loader, given);
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return Object.assign(call, {
    keyOf,
    delete: (...args: A) => cache.delete(keyOf(...args)),
  });
}

/**
 * TC39 method decorator: `wrap` for a method. Results are shared by all instances unless `key` says otherwise,
 * so keys are named after class and method only with `name`.
 * @example
 * class Quotes {
 *   @cached(cache, { name: "quote", ttl: "5m" })
 *   async quote(sku: string, qty: number) { ... }
 * }
 */
export function cached<This, A extends unknown[], R>(
  cache: Cache,
  options: WrapOptions<A, R> = {},
): (
  method: (this: This, ...args: A) => Promise<R>,
  context: ClassMethodDecoratorContext<This>,
) => (this: This, ...args: A) => Promise<R> {
  return (method, context) => {
    const name = options.name ?? String(context.name);
    const methods = new WeakMap<object, (...args: A) => Promise<Awaited<R>>>();
    return function (this: This, ...args: A): Promise<R> {
      // A wrapper per instance: the loader needs its `this`.
      const self = Object(this) as object; // methods are called on objects; `Object` keeps them as they are
      let wrapped = methods.get(self);
      if (wrapped === undefined) {
        wrapped = wrapFunction<A, R>(cache, (...given) => method.apply(this, given), { ...options, name });
        methods.set(self, wrapped);
      }
      return wrapped(...args) as Promise<R>; // a Promise<Awaited<R>> is what `await` makes of a Promise<R>
    };
  };
}
