import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, it } from "vitest";
import { source } from "../../src/sources/custom.ts";
import { type PostgresClient, postgres } from "../../src/sources/postgres.ts";
import { type ContractRow, sourceContract } from "../../src/testing/source-contract.ts";
import { CLIENTS, tableName } from "./postgres-clients.ts";

for (const { name, connect } of CLIENTS) {
  describe(name, () => {
    let client: PostgresClient & { end(): Promise<void> };
    beforeAll(async () => {
      client = await connect();
    });
    afterAll(() => client.end());

    sourceContract({ describe, it }, `postgres() with ${name}`, async () => {
      const table = tableName();
      await client.query(
        `CREATE TABLE ${table} (
           id text PRIMARY KEY, title text CHECK (title <> 'refused'), at timestamptz, big bigint, doc jsonb
         )`,
      );
      return {
        source: postgres<ContractRow>(client, { table, key: "id" }),
        refused: { id: "refused", title: "refused", at: null, big: null, doc: null },
        close: async () => {
          await client.query(`DROP TABLE ${table}`);
        },
      };
    });
  });
}

sourceContract({ describe, it }, "source() over a Map that answers with maps", async () => overMap(true));
sourceContract({ describe, it }, "source() over a Map that answers with arrays", async () => overMap(false));

function overMap(answersWithMaps: boolean) {
  const rows = new Map<string, ContractRow>();
  return {
    source: source<ContractRow>({
      async load(keys) {
        // As over a wire: the answer comes in a later turn.
        await setImmediate();
        if (!answersWithMaps) return keys.map((key) => rows.get(key));
        return new Map([...rows].filter(([key]) => keys.includes(key)));
      },
      save(entries) {
        if (entries.some(([, { title }]) => title === "refused")) throw new Error("refused");
        for (const [key, value] of entries) rows.set(key, value);
      },
      delete: (keys) => keys.filter((key) => rows.delete(key)).length,
    }),
    refused: { id: "refused", title: "refused", at: null, big: null, doc: null },
    close: async () => {},
  };
}
