import { setTimeout as delay } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { errorData, type Logger } from '../logging/logger.js';
import type { Database } from './database.js';

export interface HealthCheckOptions {
  /** Rejects when the database does not do what is wanted of it. */
  check(): Promise<void>;
  /** After `failureThreshold` failures one behind the other. Called once. */
  onFailure(error: Error): void;
  logger: Logger;
  /** @default 10000 */
  intervalMs?: number;
  /** Limit of a check. @default 5000 */
  timeoutMs?: number;
  /** @default 3 */
  failureThreshold?: number;
}

/** Looks after a database again and again (docs/protocol/bbs.md §16, docs/protocol/edge.md §6.2). */
export class HealthCheck {
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;

  constructor(private readonly options: HealthCheckOptions) {}

  /** Checks at once, then in intervals; returns at once. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { intervalMs = 10_000, failureThreshold = 3, onFailure, logger } = this.options;
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted; ) {
      const error = await this.#failure();
      if (signal.aborted) return;
      failures = error ? failures + 1 : 0;
      if (error) logger.error('the database is not healthy', { failures, ...errorData(error) });
      if (error && failures >= failureThreshold) {
        onFailure(error);
        return;
      }
      await delay(intervalMs, undefined, { signal }).catch(() => {});
    }
  }

  async #failure(): Promise<Error | undefined> {
    const { check, timeoutMs = 5000 } = this.options;
    const limit = new AbortController();
    const signal = AbortSignal.any([limit.signal, this.#stopped.signal]);
    const late = delay(timeoutMs, new Error(`no answer within ${timeoutMs} ms`), { signal }).catch(() => undefined);
    // Whoever comes too late is not listened to.
    const answer = check().then(
      () => undefined,
      (error: Error) => error,
    );
    try {
      return await Promise.race([answer, late]);
    } finally {
      limit.abort();
    }
  }
}

/** Of tables that are there to be written to. */
interface HealthTable {
  health: { id: number; time: bigint };
}

/**
 * Writes a row of a table with columns `id` and `time` and reads it, which only a database can do that takes other rows,
 * too.
 *
 * @throws when it does not
 */
export async function writeHealthRow(
  database: Pick<Database<unknown>, 'flavour' | 'transact'> & { readonly kysely: unknown },
  table: string,
  time: bigint,
): Promise<void> {
  const kysely = database.kysely as Kysely<HealthTable>;
  const name = table as keyof HealthTable;
  const insert = kysely.insertInto(name).values({ id: 1, time });
  const upsert =
    database.flavour === 'mysql'
      ? insert.onDuplicateKeyUpdate({ time })
      : insert.onConflict((conflict) => conflict.column('id').doUpdateSet({ time }));
  await database.transact([upsert.compile()]);
  const row = await kysely.selectFrom(name).select('time').where('id', '=', 1).executeTakeFirst();
  if (row === undefined) throw new Error(`${table}: the row that was written is not there`);
}
