import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PortMapping } from '../../../lib/containers/engine.js';
import { Collector } from '../../support/collector.js';
import { EngineProcess } from '../../support/engine-process.js';
import { eventually } from '../../support/eventually.js';
import { makeOciSettings, type OciSettings, startOciEngine } from '../../support/oci.js';
import { stackRootfs } from '../../support/stack.js';
import { runToEnd, script } from '../engine-contract.js';

describe('containers of the oci engine when the engine is killed', function () {
  this.timeout(60_000);
  let settings: OciSettings;
  let first: EngineProcess;

  beforeEach(async () => {
    settings = await makeOciSettings();
    first = await EngineProcess.start(settings);
  });

  afterEach(async () => {
    await first.kill();
  });

  it('live on: output without a gap, exit statuses learnt, ports and properties as before', async () => {
    const rootfs = stackRootfs();
    await first.ask({ verb: 'create', spec: { handle: 'app', rootfs, properties: { a: '1' }, netIn: [{}] } });
    await first.ask({ verb: 'setProperty', handle: 'app', name: 'b', value: '2' });
    const mapping = (await first.ask({ verb: 'netIn', handle: 'app' })) as PortMapping;
    const ticking = 'i=0; while [ ! -e /tmp/end ]; do i=$((i+1)); echo $i; sleep 0.02; done; exit 9';
    await first.ask({ verb: 'run', handle: 'app', spec: { ...script(ticking), id: 'ticking' } });
    await first.ask({
      verb: 'run',
      handle: 'app',
      spec: { ...script('read -r code; echo last; sleep 0.5; exit $code'), id: 'ending' },
      stdin: '17\n',
    });
    await first.ask({ verb: 'run', handle: 'app', spec: { ...script('sleep 0.5; kill -9 $$'), id: 'dying' } });
    await first.kill();

    // Everything but the ticking ends while nobody is there to see.
    const log = join(settings.depotDirectory, '@run', 'app', 'processes', 'dying', 'exit', 'app');
    await eventually(() => existsSync(log) || undefined);
    const second = await startOciEngine({ settings });
    try {
      const container = await second.engine.lookup('app');
      const info = await container.info();
      expect(info.properties).to.deep.equal({ a: '1', b: '2' });
      expect(info.mappedPorts).to.have.lengthOf(2).and.to.deep.include(mapping);
      expect(info.processIds).to.deep.equal(['ticking']);

      const ended = new Collector();
      expect(await (await container.attach('ending', { stdout: ended })).wait()).to.equal(17);
      expect(ended.text).to.equal('last\n');
      expect(await (await container.attach('dying')).wait()).to.equal(137);

      const stdout = new Collector();
      const process = await container.attach('ticking', { stdout });
      await runToEnd(container, script('touch /tmp/end'));
      expect(await process.wait()).to.equal(9);
      const ticks = stdout.text.trim().split('\n').map(Number);
      expect(ticks).to.deep.equal(ticks.map((_, index) => index + 1));
      expect(ticks.length).to.be.above(10);
    } finally {
      await second.dispose();
    }
  });

  it('are removed when they died meanwhile, with all that they held', async () => {
    await first.ask({ verb: 'create', spec: { handle: 'gone', rootfs: stackRootfs(), netIn: [{}] } });
    await first.kill();
    const state = JSON.parse(await readFile(join(settings.depotDirectory, '@run', 'gone', 'state.json'), 'utf8'));
    process.kill(state.init.pid, 'SIGKILL');
    const second = await startOciEngine({ settings });
    expect(await second.engine.list()).to.deep.equal([]);
    await second.dispose();
  });

  it('are removed when the host was started anew, whoever has their numbers now', async () => {
    await first.ask({
      verb: 'create',
      spec: { handle: 'old', rootfs: stackRootfs(), limits: { disk: { bytes: 1e7 } } },
    });
    await first.kill();
    const path = join(settings.depotDirectory, '@run', 'old', 'state.json');
    const state = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...state, bootId: 'another', init: { pid: process.pid, startTime: 1 } }));

    const second = await startOciEngine({ settings });
    expect(await second.engine.list()).to.deep.equal([]);
    await second.dispose();
  });

  it('are removed when their state file is lost', async () => {
    await first.ask({ verb: 'create', spec: { handle: 'lost', rootfs: stackRootfs(), netIn: [{}] } });
    await first.ask({ verb: 'run', handle: 'lost', spec: script('sleep 1000') });
    await first.kill();
    await rm(join(settings.depotDirectory, '@run', 'lost', 'state.json'));
    const second = await startOciEngine({ settings });
    expect(await second.engine.list()).to.deep.equal([]);
    await second.dispose();
  });
});
