/** The part of a test runner that the contract suites need: Vitest's, Jest's and `node:test`'s all fit. */
export interface SuiteApi {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}
