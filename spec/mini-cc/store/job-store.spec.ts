import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../../../lib/logging/logger.js';
import { ApiError } from '../../../lib/mini-cc/errors.js';
import { type MiniCcDatabase, openDatabase } from '../../../lib/mini-cc/store/database.js';
import { JobStore } from '../../../lib/mini-cc/store/job-store.js';
import { eventually } from '../../support/eventually.js';

describe('jobs', () => {
  let directory: string;
  let database: MiniCcDatabase;
  let now: number;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'jobs-spec-'));
    database = openDatabase(join(directory, 'jobs.db'));
    now = Date.parse('2015-06-30T13:52:36Z');
  });

  afterEach(async () => {
    database.close();
    await rm(directory, { recursive: true, force: true });
  });

  const create = () => new JobStore({ database, logger: silentLogger, now: () => now });

  it('are finished at once when their work is quick', async () => {
    const jobs = create();
    const job = await jobs.enqueue(async () => {});
    expect(job).to.deep.include({ status: 'finished', error: null, created_at: '2015-06-30T13:52:36.000Z' });
    expect(jobs.find(job.guid)).to.deep.equal(job);
  });

  it('run one after the other, while whoever brought them goes on', async () => {
    const jobs = create();
    const steps: string[] = [];
    let release = () => {};
    const isReleased = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = await jobs.enqueue(async () => {
      await isReleased;
      steps.push('first');
    });
    const second = await jobs.enqueue(async () => void steps.push('second'));
    expect([first.status, second.status]).to.deep.equal(['running', 'queued']);
    release();
    await eventually(() => (jobs.find(second.guid)?.status === 'finished' ? true : undefined));
    expect(steps).to.deep.equal(['first', 'second']);
  });

  it('fail with the error of the API, and tell nothing of other errors', async () => {
    const jobs = create();
    const refused = await jobs.enqueue(() => Promise.reject(new ApiError('AppNotFound', 'x')));
    expect(refused).to.deep.include({
      status: 'failed',
      error: { code: 100004, description: 'The app could not be found: x', error_code: 'CF-AppNotFound' },
    });
    const broken = await jobs.enqueue(() => Promise.reject(new Error('/secret/path is full')));
    expect(broken.error).to.deep.equal({ code: 10001, description: 'Server error', error_code: 'CF-ServerError' });
  });

  it('that were cut off by the end of the process have failed, not finished', async () => {
    const job = await create().enqueue(() => new Promise(() => {}));
    const next = create();
    next.start();
    expect(next.find(job.guid)?.status).to.equal('failed');
  });

  it('are forgotten after an hour', async () => {
    const jobs = create();
    const job = await jobs.enqueue(async () => {});
    now += 60 * 60 * 1000 + 1;
    await jobs.enqueue(async () => {});
    expect(jobs.find(job.guid)).to.equal(undefined);
  });
});
