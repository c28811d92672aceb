import type { Store, StoreLayer } from "../stores/store.ts";

/** What {@link faulty} can do to a store. */
export interface Faults {
  /** The layer to give to `createCache`. */
  readonly layer: StoreLayer;
  /** Calls since the start, by method. */
  readonly calls: Readonly<Record<string, number>>;
  /** Every later call waits this many milliseconds (of the cache's clock) first. */
  delay(ms: number): void;
  /** Every later call rejects. */
  fail(error?: Error): void;
  /** Every later call never answers. */
  hang(): void;
  /** Later calls work again. */
  heal(): void;
  /** Runs before each call of a method, to interleave what a race would. Returns the function that stops it. */
  before(method: keyof Store, fn: () => unknown): () => void;
}

type Mode =
  | { readonly kind: "well" }
  | { readonly kind: "delay"; readonly ms: number }
  | { readonly kind: "fail"; readonly error: Error }
  | { readonly kind: "hang" };

/**
 * Puts faults between a cache and a store.
 * @example
 * const faults = faulty(mapStore());
 * const cache = createCache({ layers: [memory(), faults.layer] });
 * faults.hang(); // reads must still answer
 */
export function faulty(layer: StoreLayer): Faults {
  let mode: Mode = { kind: "well" };
  const calls: Record<string, number> = {};
  const hooks = new Map<PropertyKey, Set<() => unknown>>();
  const wrapped: StoreLayer = {
    ...layer,
    open(context) {
      const store = layer.open(context);
      const meet = async (method: string): Promise<void> => {
        calls[method] = (calls[method] ?? 0) + 1;
        for (const hook of hooks.get(method) ?? []) await hook();
        const met = mode;
        if (met.kind === "fail") throw met.error;
        if (met.kind === "hang") await new Promise(() => undefined);
        if (met.kind === "delay")
          await new Promise<void>((resolve) => context.clock.setTimer(met.ms, resolve));
      };
      return new Proxy(store, {
        get(target, method) {
          const member: unknown = Reflect.get(target, method);
          if (typeof member !== "function") return member;
          if (method === "close") return member.bind(target);
          if (method !== "keys")
            return async (...args: unknown[]) => {
              await meet(String(method));
              return Reflect.apply(member, target, args);
            };
          return async function* (prefix: string, signal?: AbortSignal) {
            await meet("keys");
            yield* target.keys(prefix, signal);
          };
        },
      });
    },
  };
  return {
    layer: wrapped,
    calls,
    delay(ms) {
      mode = { kind: "delay", ms };
    },
    fail(error = new Error("injected fault")) {
      mode = { kind: "fail", error };
    },
    hang() {
      mode = { kind: "hang" };
    },
    heal() {
      mode = { kind: "well" };
    },
    before(method, fn) {
      const set = hooks.get(method) ?? new Set();
      hooks.set(method, set.add(fn));
      return () => void set.delete(fn);
    },
  };
}
