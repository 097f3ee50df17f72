/** What can become of a query; one class for each thing that a caller can do about it. */

/** The database was not reached, or the connection broke before the commit was sent: nothing was changed. */
export class DatabaseUnreachable extends Error {
  override readonly name = 'DatabaseUnreachable';
}

/** The connection broke while the transaction was being committed: it is in the database whole, or not at all. */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown';
}

/** A deadlock, or a lock that others held for too long: nothing was changed. */
export class DatabaseContention extends Error {
  override readonly name = 'DatabaseContention';
}

/** The database does not take the query or its data: nothing was changed, and nothing would be next time. */
export class QueryRefused extends Error {
  override readonly name = 'QueryRefused';

  constructor(
    message: string,
    /** The database's own: `ER_DUP_ENTRY`, `23505`, `SQLITE_CONSTRAINT_PRIMARYKEY`. */
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The transaction's guard matched no row: nothing was changed. */
export class GuardFailed extends Error {
  override readonly name = 'GuardFailed';
}

/** Whether the same transaction may succeed a moment later, with nothing done twice. */
export function isPassing(error: unknown): boolean {
  return error instanceof DatabaseUnreachable || error instanceof DatabaseContention;
}
