import type { CompiledQuery } from 'kysely';
import { GuardFailed } from '../errors.js';

/**
 * Sends the queries of a transaction, with the guard as the first of them.
 *
 * @param send resolves to the number of rows that each query has affected
 * @returns the same, without that of the guard
 * @throws GuardFailed when the guard has found no row; the transaction is still open then
 */
export async function sendGuarded(
  queries: readonly CompiledQuery[],
  guard: CompiledQuery | undefined,
  send: (all: readonly CompiledQuery[]) => Promise<number[]>,
): Promise<number[]> {
  if (!guard) return send(queries);
  const [guarded, ...affected] = await send([guard, ...queries]);
  if (guarded === 0) throw new GuardFailed('the guard of the transaction found no row');
  return affected;
}
