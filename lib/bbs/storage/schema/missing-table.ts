import type { QueryRefused } from '../../../database/errors.js';

/** Whether a query was refused because its table is not there. */
export function isMissingTable({ code, message }: QueryRefused): boolean {
  return code === 'ER_NO_SUCH_TABLE' || code === '42P01' || /no such table/.test(message);
}
