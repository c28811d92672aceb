import type { PGlite } from "@electric-sql/pglite";
import type { Client, Pool, PoolClient } from "pg";
import { expectTypeOf, test } from "vitest";
import { source } from "../../src/sources/custom.ts";
import { type PostgresClient, postgres } from "../../src/sources/postgres.ts";
import type { Source } from "../../src/sources/source.ts";

interface Product {
  readonly id: string;
  readonly price: number;
}

test("postgres() takes the clients as they are", () => {
  expectTypeOf<Pool>().toExtend<PostgresClient>();
  expectTypeOf<Client>().toExtend<PostgresClient>();
  expectTypeOf<PoolClient>().toExtend<PostgresClient>();
  expectTypeOf<PGlite>().toExtend<PostgresClient>();
});

test("postgres() has the type of its values and keys", () => {
  const pool = {} as Pool; // Reason of the cast: only its type is asked for.
  const options = { table: "products", key: "id" };
  expectTypeOf(postgres<Product>).returns.toEqualTypeOf<Source<string, Product>>();
  expectTypeOf<ReturnType<typeof postgres<Product, number>>>().toEqualTypeOf<Source<number, Product>>();
  expectTypeOf(() => postgres(pool, options)).returns.toEqualTypeOf<
    Source<string, Record<string, unknown>>
  >();
});

test("source() infers values from its load", () => {
  const make = () => source({ load: async (keys: readonly number[]) => keys.map((key) => ({ key })) });
  expectTypeOf(make).returns.toEqualTypeOf<Source<number, { key: number }>>();
});
