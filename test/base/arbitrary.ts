import fc from "fast-check";

/** Any value that the structured codec promises to carry (built-in classes nested in each other). */
export const rich = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withSparseArray: true,
  withNullPrototype: true,
  withUnicodeString: true,
  maxDepth: 4,
  key: fc
    .oneof(fc.string({ unit: "binary" }), fc.constantFrom("constructor", "toJSON", "length", "0", "then"))
    .filter((key) => key !== "__proto__"),
});

/** Any text, lone surrogates included. */
export const anyText = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 12 })
  .map((units) => String.fromCharCode(...units));
