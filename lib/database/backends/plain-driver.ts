import type { CompiledQuery, DatabaseConnection, Driver, QueryResult } from 'kysely';

/** Kysely's view of a backend: single queries. Transactions go through `Database.transact`. */
export class PlainDriver implements Driver {
  readonly #connection: DatabaseConnection;

  constructor(run: (query: CompiledQuery) => Promise<QueryResult<unknown>>) {
    this.#connection = {
      executeQuery: <R>(query: CompiledQuery) => run(query) as Promise<QueryResult<R>>,
      // biome-ignore lint/correctness/useYield: rows come in pages by their keys instead
      streamQuery: async function* () {
        throw new Error('rows are not streamed');
      },
    };
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {}

  async beginTransaction(): Promise<void> {
    throw new Error('a transaction is a list of queries: Database.transact');
  }

  commitTransaction = this.beginTransaction;
  rollbackTransaction = this.beginTransaction;
}
