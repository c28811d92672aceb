import { OptionError } from "./errors.ts";

/** Names in `given` that no option has are refused: a typing error must not silently change nothing. */
export function refuseUnknown(given: object, path: string, known: (name: string) => boolean): void {
  if (typeof given !== "object" || given === null)
    throw new OptionError(path === "" ? "options" : path, given, "an object of options");
  for (const name of Object.keys(given)) {
    if (!known(name))
      throw new OptionError(
        path === "" ? name : `${path}.${name}`,
        (given as Record<string, unknown>)[name],
        "an option that exists; check its spelling",
      );
  }
}
