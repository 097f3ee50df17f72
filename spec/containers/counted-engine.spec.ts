import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { countedEngine } from '../../lib/containers/counted-engine.js';
import type { ContainerEngine } from '../../lib/containers/engine.js';
import { createProcessEngine } from '../../lib/containers/process/process-engine.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { rejectionOf } from '../support/rejection.js';

describe('an engine whose calls are counted', () => {
  let directory: string;
  let engine: ContainerEngine;
  let calls: [method: string, isOk: boolean][];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'counted-engine-'));
    calls = [];
    const plain = createProcessEngine({
      depotDirectory: join(directory, 'depot'),
      portPoolStart: 40_000,
      portPoolSize: 10,
      logger: silentLogger,
    });
    engine = countedEngine(plain, (method, seconds, isOk) => {
      expect(seconds).to.be.at.least(0).and.below(60);
      calls.push([method, isOk]);
    });
    await engine.start();
  });

  afterEach(async () => {
    await engine.release();
    await rm(directory, { recursive: true });
  });

  it('works as before, and tells its calls and those of its containers when they are over', async () => {
    const created = await engine.create({ handle: 'one', rootfs: '/' });
    const process = await created.run({ path: 'sh', args: ['-c', 'exit 3'] });
    expect(await process.wait()).to.equal(3);
    const [listed] = await engine.list();
    expect(listed!.handle).to.equal('one');
    await listed!.setProperty('a', 'b');
    expect(await (await engine.lookup('one')).properties()).to.deep.equal({ a: 'b' });
    await engine.destroy('one');
    expect(engine.isolation).to.equal('none');
    expect(calls).to.deep.equal(
      ['create', 'run', 'list', 'setProperty', 'lookup', 'properties', 'destroy'].map((name) => [name, true]),
    );
  });

  it('tells of failures, and passes their errors on', async () => {
    expect(await rejectionOf(engine.lookup('nobody')))
      .to.have.property('constructor')
      .with.property('name');
    const container = await engine.create({ rootfs: '/' });
    await rejectionOf(container.run({ path: '/nowhere/program' }));
    expect(calls).to.deep.equal([
      ['lookup', false],
      ['create', true],
      ['run', false],
    ]);
    await engine.destroy(container.handle);
  });
});
