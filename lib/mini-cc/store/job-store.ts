import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { errorData, type Logger } from '../../logging/logger.js';
import { ApiError, asApiError } from '../errors.js';
import type { MiniCcDatabase } from './database.js';

export type JobStatus = 'queued' | 'running' | 'finished' | 'failed';

/** Work that goes on after the answer; `error` is what a failed one answers. */
export interface Job {
  guid: string;
  status: JobStatus;
  error: { code: number; description: string; error_code: string } | null;
  created_at: string;
}

type Row = Omit<Job, 'error'> & { error: string | null };

export interface JobStoreOptions {
  database: MiniCcDatabase;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** Finished jobs are forgotten after so long; a forgotten one counts as finished. */
const keptMs = 60 * 60 * 1000;

/** Pollers look at once and then every second. */
const momentMs = 200;

/**
 * Runs jobs, one after the other, and keeps their states in the database: a job that was cut off by the end of the
 * process must not look finished to the agent that polls it.
 */
export class JobStore {
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly options: JobStoreOptions) {}

  /** Marks what a former process left unfinished as failed. */
  start(): void {
    const { database } = this.options;
    const error = JSON.stringify(
      new ApiError('UnableToPerform', 'The job was cut off by a restart and could not be completed'),
    );
    database.prepare(`UPDATE jobs SET status = 'failed', error = ? WHERE status IN ('queued', 'running')`).run(error);
  }

  /** Waits until no job is running. */
  async stop(): Promise<void> {
    await this.queue;
  }

  find(guid: string): Job | undefined {
    const row = this.options.database.prepare<[string], Row>('SELECT * FROM jobs WHERE guid = ?').get(guid);
    return row && { ...row, error: row.error === null ? null : (JSON.parse(row.error) as Job['error']) };
  }

  /** Queues work and gives its job, after a moment in which quick work gets done: who polls then need not wait. */
  async enqueue(work: () => Promise<void>): Promise<Job> {
    const { database, now } = this.options;
    database.prepare('DELETE FROM jobs WHERE created_at < ?').run(new Date(now() - keptMs).toISOString());
    const job: Job = { guid: randomUUID(), status: 'queued', error: null, created_at: new Date(now()).toISOString() };
    database
      .prepare('INSERT INTO jobs (guid, status, created_at) VALUES (@guid, @status, @created_at)')
      .run({ guid: job.guid, status: job.status, created_at: job.created_at });
    this.queue = this.queue.then(() => this.run(job.guid, work));
    const moment = new AbortController();
    await Promise.race([this.queue, delay(momentMs, undefined, { signal: moment.signal }).catch(() => {})]);
    moment.abort();
    return this.find(job.guid) ?? job;
  }

  private async run(guid: string, work: () => Promise<void>): Promise<void> {
    this.mark(guid, 'running', null);
    try {
      await work();
      this.mark(guid, 'finished', null);
    } catch (error) {
      this.options.logger.error('mini-cc.job.failed', { guid, ...errorData(error) });
      this.mark(guid, 'failed', JSON.stringify(asApiError(error)));
    }
  }

  private mark(guid: string, status: JobStatus, error: string | null): void {
    this.options.database.prepare('UPDATE jobs SET status = ?, error = ? WHERE guid = ?').run(status, error, guid);
  }
}
