import type { CompiledQuery, DialectAdapter, QueryCompiler, QueryResult } from 'kysely';

/** What differs between the kinds of databases. Everything it throws is of `errors.ts`. */
export interface Backend {
  readonly adapter: DialectAdapter;
  readonly compiler: QueryCompiler;
  /** One query by itself. */
  run(query: CompiledQuery, timeoutMs: number): Promise<QueryResult<unknown>>;
  /**
   * All of it in one transaction, tried once.
   *
   * @param guard must match a row, or nothing is done
   * @returns the number of rows that each query has affected; an update affects the rows that it finds
   */
  transact(queries: readonly CompiledQuery[], guard: CompiledQuery | undefined, timeoutMs: number): Promise<number[]>;
  /** Idempotent. */
  stop(): Promise<void>;
}
