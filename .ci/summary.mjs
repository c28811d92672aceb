// Reads the result that vitest wrote and prints `N passed, N failed` as the last line. A file that could not
// be run at all counts as one failure. Exits with 1 when anything failed, or no test ran.
import { readFileSync } from "node:fs";

let passed = 0;
let failed = 0;
try {
  const result = JSON.parse(readFileSync(process.argv[2], "utf8"));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  for (const { status, assertionResults, name, message } of result.testResults) {
    if (status !== "failed" || assertionResults.some((test) => test.status === "failed")) continue;
    console.log(`${name} could not be run: ${message}`);
    failed += 1;
  }
} catch (error) {
  console.log(`There is no result of the tests: ${error.message}`);
}
if (passed + failed === 0) console.log("No test ran.");
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0 || passed === 0) process.exitCode = 1;
