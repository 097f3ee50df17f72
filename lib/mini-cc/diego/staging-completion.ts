import type { z } from 'zod';
import { type Staged, stagedSchemas, stagingErrorSchema } from './messages.js';

/** The end of a staging. */
export type Completion =
  | { kind: 'staged'; staged: Staged }
  | { kind: 'failed'; id: string; message: string }
  /** Neither one nor the other; `problem` names the fields. */
  | { kind: 'malformed'; problem: string };

/** Reads what a bridge tells of the end of a staging, in the form of 2015 or of 2016 (docs/protocol/legacy-cc.md §9.3). Pure. */
export function readCompletion(body: unknown): Completion {
  if (typeof body === 'object' && body !== null && 'error' in body && body.error) {
    const failure = stagingErrorSchema.safeParse(body);
    if (!failure.success) return { kind: 'malformed', problem: problemOf(failure.error) };
    const { id, message } = failure.data.error;
    return { kind: 'failed', id, message };
  }
  const { nested, flat } = stagedSchemas;
  const isNested = typeof body === 'object' && body !== null && 'result' in body;
  const staged = (isNested ? nested : flat).safeParse(body);
  if (!staged.success) return { kind: 'malformed', problem: problemOf(staged.error) };
  return { kind: 'staged', staged: staged.data };
}

function problemOf({ issues }: z.core.$ZodError): string {
  return issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`)).join('; ');
}
