import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createStenoLogger, type StenoLevel } from '../../lib/logging/steno.js';
import { eventually } from '../support/eventually.js';

describe('the Steno logger', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'steno-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  async function linesAt(level: StenoLevel, count: number): Promise<Record<string, unknown>[]> {
    const file = join(directory, 'log');
    const logger = createStenoLogger({ source: 'Dea', level, file });
    logger.child({ app_guid: 'a' }, 'Dea::Instance').debug1('finest', { n: 1 });
    logger.info('100% plain');
    logger.error('failed', { reason: 'x' });
    return eventually(async () => {
      const lines = (await readFile(file, 'utf8')).trim().split('\n');
      return lines.length === count ? lines.map((line) => JSON.parse(line)) : undefined;
    });
  }

  it('writes all keys in the order that readers know', async () => {
    const [line] = await linesAt('info', 2);
    expect(Object.keys(line!)).to.deep.equal([
      'timestamp',
      'message',
      'log_level',
      'source',
      'data',
      'thread_id',
      'fiber_id',
      'process_id',
      'file',
      'lineno',
      'method',
    ]);
    expect(line).to.include({ message: '100% plain', log_level: 'info', source: 'Dea', process_id: process.pid });
    expect(line!.timestamp).to.be.closeTo(Date.now() / 1000, 5);
  });

  it('merges the tags of a child logger into the data', async () => {
    const [line] = await linesAt('all', 3);
    expect(line).to.deep.include({ log_level: 'debug1', source: 'Dea::Instance', data: { app_guid: 'a', n: 1 } });
  });

  it('leaves out what is less severe than its level', async () => {
    expect((await linesAt('error', 1))[0]).to.deep.include({ message: 'failed', data: { reason: 'x' } });
  });
});
