// Imports point down only; docs/architecture.md draws it. `npm run check:imports`, test/architecture.test.ts.

/** Rooms from the ground up: what each may import besides itself. A room that is not here may not exist. */
const base = "^src/base/";
const logContract = "^src/coherence/log\\.ts$";
/** What a driver makes a log with. */
const logServer = "^src/coherence/(log-server|remote-log)\\.ts$";
const storeContract = "^src/stores/store\\.ts$";
const sourceContract = "^src/sources/source\\.ts$";
const journalContract = "^src/writing/journal\\.ts$";
const observe = "^src/observe/(?!dashboard/)";
const memory = "^src/memory/";
const coherence = "^src/coherence/[^/]+\\.ts$";
const cache = "^src/cache/";

const rooms = {
  base: [],
  memory: [base],
  observe: [base],
  stores: [base, logContract, logServer],
  coherence: [base, storeContract],
  sources: [base, logContract],
  writing: [base, logContract, sourceContract],
  edge: [base, logContract],
  guard: [base],
  cache: [base, memory, observe, coherence, storeContract, sourceContract, journalContract, "^src/guard/"],
  http: [base, cache, observe, "^src/edge/", "^src/guard/"],
  sessions: [base, cache],
  ratelimit: [base, cache],
  cli: [base, "^src/(?!testing/)"],
  // What users test their own drivers with: the contracts, and no driver.
  testing: [base, logContract, storeContract, sourceContract, journalContract, "^src/memory/engine\\.ts$"],
};

const room = (name, others) => ({
  name: `${name}-imports-down-only`,
  severity: "error",
  comment: `src/${name}/ imports only itself and: ${others.join(", ") || "nothing of ours"}.`,
  from: { path: `^src/${name}/` },
  to: { path: "^src/", pathNot: [`^src/${name}/`, ...others] },
});

/** Files of one room that must not know each other: each driver is loaded alone. */
const drivers = (name, contract) => ({
  name: `${name}-drivers-know-only-their-contract`,
  severity: "error",
  comment: `A driver in a folder of src/${name}/ imports its own folder and ${name}'s contract.`,
  from: { path: `^src/${name}/([^/]+)/` },
  to: { path: `^src/${name}/`, pathNot: [`^src/${name}/$1/`, contract] },
});

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      severity: "error",
      comment:
        "Two files that need each other are one thought in two places. Types may: they are gone at run time.",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    ...Object.entries(rooms).map(([name, others]) => room(name, others)),
    drivers("stores", storeContract),
    drivers("sources", sourceContract),
    {
      name: "contracts-import-contracts",
      severity: "error",
      comment: "A contract stands on base and other contracts.",
      from: { path: [storeContract, sourceContract, logContract, journalContract] },
      to: { path: "^src/", pathNot: [base, storeContract, sourceContract, logContract, journalContract] },
    },
    {
      name: "no-unknown-rooms",
      severity: "error",
      comment: "A new room is first given its place in the list above.",
      from: {},
      to: { path: "^src/[^/]+/", pathNot: Object.keys(rooms).map((name) => `^src/${name}/`) },
    },
    {
      name: "nobody-imports-the-face",
      severity: "error",
      comment: "src/index.ts is for users; inside, files import from where a thing is.",
      from: {},
      to: { path: "^src/index\\.ts$" },
    },
    {
      name: "only-declared-packages",
      severity: "error",
      comment:
        "What src imports at run time is in `dependencies` or `peerDependencies`, not in `devDependencies`.",
      from: {},
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown", "unknown"],
        dependencyTypesNot: ["type-only", "type-import", "npm-peer"],
      },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "node"] },
  },
};
