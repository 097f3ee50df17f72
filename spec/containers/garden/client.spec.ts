import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ContainerEngine } from '../../../lib/containers/engine.js';
import { ConnectionError } from '../../../lib/containers/garden/client/garden-calls.js';
import { createGardenEngine } from '../../../lib/containers/garden/client/garden-engine.js';
import { UnsupportedVerbError } from '../../../lib/containers/garden/client/remote-container.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { Collector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { type GardenProcess, startGarden } from '../../support/garden.js';
import { failureOf, script } from '../engine-contract.js';

describe('a client of a Garden server', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let engine: ContainerEngine;

  before(async () => {
    garden = await startGarden();
  });

  after(() => garden.stop());

  beforeEach(async () => {
    engine = createGardenEngine({ address: { kind: 'unix', path: garden.socket }, logger: silentLogger });
    await engine.start();
  });

  afterEach(async () => {
    for (const { handle } of await engine.list()) await engine.destroy(handle);
    await engine.stop();
  });

  it('waits for a server that is not there yet, but not for ever', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'garden-client-'));
    const address = { kind: 'unix' as const, path: join(directory, 'garden.sock') };
    const waiting = createGardenEngine({ address, patienceMs: 300, logger: silentLogger });
    expect(await failureOf(waiting.start())).to.be.instanceOf(ConnectionError);
    await waiting.stop();
    await rm(directory, { recursive: true });

    await garden.terminate();
    const starting = engine.start();
    await garden.start();
    await starting;
  });

  it('goes on with its processes when the server is killed and started again, at the place where they were', async () => {
    const container = await engine.create({ handle: 'c' });
    const output = new Collector();
    const text = 'i=0; until [ -e /tmp/end ]; do i=$((i+1)); echo $i; sleep 0.05; done; exit 5';
    const process = await container.run(script(text, { id: 'p' }), { stdout: output });
    await eventually(() => (output.text.includes('5\n') ? true : undefined));
    await garden.kill();
    const length = output.text.length;
    await garden.start();
    await eventually(() => (output.text.length > length + 50 ? true : undefined));
    await (await container.run(script('touch /tmp/end'))).wait();
    expect(await process.wait()).to.equal(5);
    const ticks = output.text.trim().split('\n').map(Number);
    expect(ticks).to.deep.equal(ticks.map((_, index) => index + 1));
  });

  it('tells those who wait when the process is gone with its container', async () => {
    const container = await engine.create({ handle: 'c' });
    const process = await container.run(script('sleep 100'));
    await garden.kill();
    await garden.start();
    await eventually(() =>
      engine.destroy('c').then(
        () => true,
        () => undefined,
      ),
    );
    const outcome = await process.wait().catch((error: unknown) => error);
    expect(outcome instanceof Error || outcome === 137).to.equal(true);
  });

  it('hears of memory kills', async () => {
    const container = await engine.create({ limits: { memoryBytes: 64 * 1024 * 1024 } });
    const events: string[] = [];
    const unsubscribe = container.onEvent((event) => events.push(event));
    // Only what happens after it has looked once is told.
    await container.info();
    const hungry = { path: 'dd', args: ['if=/dev/zero', 'of=/dev/shm/x', 'bs=1M', 'count=80'] };
    expect(await (await container.run(hungry)).wait()).to.equal(137);
    await eventually(() => (events.length > 0 ? true : undefined));
    unsubscribe();
    expect(events).to.deep.equal(['out of memory']);
    expect((await container.info()).events).to.deep.equal(['out of memory']);
  });

  it('tells limits and consumption, and that it cannot change limits', async () => {
    const limits = {
      memoryBytes: 64 * 1024 * 1024,
      cpuShares: 50,
      maxPids: 40,
      disk: { bytes: 50_000_000, scope: 'exclusive' as const },
    };
    const container = await engine.create({ handle: 'c', limits });
    expect(await container.limits()).to.deep.equal(limits);
    const metrics = await container.metrics();
    expect(metrics.pids).to.include({ max: 40 });
    expect(metrics.imageBytes).to.be.above(0);
    expect((await engine.bulkMetrics(['c'])).get('c')).to.have.nested.property('pids.max', 40);
    expect((await engine.capacity()).maxContainers).to.be.above(0);
    expect(await failureOf(container.limit({ maxPids: 5 }))).to.be.instanceOf(UnsupportedVerbError);
  });

  it('leaves processes alone when it stops, and ends all waiting', async () => {
    const container = await engine.create({ handle: 'c' });
    const stdout = new Collector();
    const process = await container.run(script('while :; do echo tick; sleep 0.05; done', { id: 'p' }), { stdout });
    await eventually(() => (stdout.text.includes('tick') ? true : undefined));
    const waiting = failureOf(process.wait());
    await engine.stop();
    expect(await waiting).to.be.instanceOf(ConnectionError);

    engine = createGardenEngine({ address: { kind: 'tcp', ...garden.tcp }, logger: silentLogger });
    await engine.start();
    expect((await (await engine.lookup('c')).info()).processIds).to.deep.equal(['p']);
  });
});
