import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Container, ContainerEngine } from '../../../lib/containers/engine.js';
import { createProcessEngine } from '../../../lib/containers/process/process-engine.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { Collector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { runToEnd, script } from '../engine-contract.js';

describe('output that nobody was given yet, without isolation', () => {
  let directory: string;
  let engine: ContainerEngine;
  let container: Container;

  const startEngine = async () => {
    engine = createProcessEngine({ depotDirectory: join(directory, 'depot'), logger: silentLogger });
    await engine.start();
  };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'undelivered-'));
    await startEngine();
    container = await engine.create({ handle: 'c', rootfs: '/' });
  });

  afterEach(async () => {
    await engine.destroy('c');
    await engine.release();
    await rm(directory, { recursive: true });
  });

  const saying = (stdout: Collector, text: string) =>
    eventually(() => (stdout.text === text ? true : undefined), { what: JSON.stringify(text) });

  it('is what comes while somebody follows, and what he and the engine left over afterwards', async () => {
    const text = 'echo a; until [ -e b ]; do sleep 0.05; done; echo b; until [ -e c ]; do sleep 0.05; done; echo c';
    const first = new Collector();
    await container.run(script(text, { id: 'p', dir: '/' }), { stdout: first });
    await saying(first, 'a\n');
    const second = new Collector();
    await container.attach('p', { stdout: second, outputFrom: 'undelivered' });
    await runToEnd(container, script('touch b', { dir: '/' }));
    await saying(first, 'a\nb\n');
    await saying(second, 'b\n');

    await engine.stop();
    await startEngine();
    container = await engine.lookup('c');
    await runToEnd(container, script('touch c', { dir: '/' }));
    const third = new Collector();
    await (await container.attach('p', { stdout: third, outputFrom: 'undelivered' })).wait();
    expect(third.text).to.equal('c\n');
  });

  it('is all output when nobody ever followed', async () => {
    await (await container.run(script('echo one; printf two', { id: 'p' }))).wait();
    const stdout = new Collector();
    await (await container.attach('p', { stdout, outputFrom: 'undelivered' })).wait();
    expect(stdout.text).to.equal('one\ntwo');
  });
});
