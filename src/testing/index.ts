/** What tests of caches and authors of drivers need: contract suites, a manual clock, fault injection. */
export * from "./faults.ts";
export * from "./log-contract.ts";
export * from "./manual-clock.ts";
export * from "./map-store.ts";
export * from "./source-contract.ts";
export * from "./stale-reads.ts";
export * from "./store-contract.ts";
export type { SuiteApi } from "./suite.ts";
