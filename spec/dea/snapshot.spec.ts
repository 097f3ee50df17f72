import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseInstanceAttributes } from '../../lib/dea/instances/attributes.js';
import { Instance, type InstanceContext } from '../../lib/dea/instances/instance.js';
import { Snapshot } from '../../lib/dea/snapshot.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { startMessage } from '../support/start-message.js';

const rubyFile = 'spec/fixtures/snapshots/ruby-agent.json';

describe('the snapshot', () => {
  let directory: string;
  let path: string;
  let instances: Instance[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'snapshot-'));
    await mkdir(join(directory, 'tmp'));
    path = join(directory, 'instances.json');
    instances = [];
  });

  afterEach(() => rm(directory, { recursive: true }));

  const makeSnapshot = () =>
    new Snapshot({
      path,
      temporaryDirectory: join(directory, 'tmp'),
      logger: silentLogger,
      clock: () => 1_458_249_840_590,
      instances: () => instances,
      stagingTasks: () => [],
    });

  /** An instance without an engine: nothing of it is run. */
  function makeInstance(overrides: Record<string, unknown> = {}): Instance {
    const context = {
      config: { instance: { health_check_interval_secs: 0 } },
      logger: silentLogger,
      clock: () => 1_458_249_830_100,
      monotonicClock: () => 0,
      onTransition: () => {},
      appLog: { instanceFailed: () => {} },
    };
    return new Instance(parseInstanceAttributes(startMessage(overrides)), context as unknown as InstanceContext);
  }

  function crashedInstance(overrides: Record<string, unknown> = {}): Instance {
    const instance = makeInstance(overrides);
    instance.refuse('Not enough memory resource available.');
    return instance;
  }

  describe('of the original agent', () => {
    beforeEach(async () => writeFile(path, await readFile(rubyFile)));

    it('is read in every state that it may hold, whatever extra keys there are', async () => {
      const { instances: saved } = await makeSnapshot().load();
      expect(saved.map(({ state }) => state)).to.deep.equal(['RUNNING', 'STARTING', 'STOPPING', 'CRASHED', 'RUNNING']);
      expect(saved[0]!.record).to.deep.equal({
        handle: '17s4hj1k2l1',
        containerPath: '/tmp/warden/containers/17s4hj1k2l1',
        hostIp: '10.254.0.1',
        containerIp: '10.254.0.2',
        ports: { hostPort: 61002, containerPort: 61002 },
      });
      expect(saved[3]!.record).to.equal(undefined);
      expect(saved[0]).to.include({ startedAtMs: 1_458_249_831_100, isHealthy: true, exitStatus: -1 });
    });

    it('gives instances their ids, their version and their environment', async () => {
      const { instances: saved } = await makeSnapshot().load();
      const attributes = parseInstanceAttributes(saved[0]!.attributes);
      expect(attributes).to.deep.include({
        instanceId: '000f2f00000000000000000000000001',
        instanceIndex: 1,
        applicationUris: ['web1.example.com'],
        environmentEntries: ['FOO=bar', 'EMPTY='],
        healthCheckTimeout: 180,
      });
      expect(attributes.services[0]).to.include({ label: 'p-mysql', syslog_drain_url: 'syslog://l:514' });
      for (const each of saved) expect(() => parseInstanceAttributes(each.attributes)).not.to.throw();
    });

    it('names the staging tasks that nobody goes on with', async () => {
      const { stagingTasks } = await makeSnapshot().load();
      expect(stagingTasks.map(({ message }) => message.task_id)).to.deep.equal(['0b8f0000']);
    });
  });

  it('is written with every key that other readers look for, for root only', async () => {
    instances = [
      crashedInstance({ services: [{ name: 'd', label: 'l', credentials: {}, syslog_drain_url: 'syslog://x' }] }),
    ];
    await makeSnapshot().save();
    const { mode } = await stat(path);
    expect(mode & 0o777).to.equal(0o600);
    const written = JSON.parse(await readFile(path, 'utf8'));
    const ruby = JSON.parse(await readFile(rubyFile, 'utf8'));
    expect(written).to.have.all.keys('time', 'instances', 'staging_tasks');
    expect(written.time).to.equal(1_458_249_840.59);
    expect(written.instances[0]).to.include.keys(Object.keys(ruby.instances[0]));
    expect(written.instances[0]).to.deep.include({ state: 'CRASHED', syslog_drain_urls: ['syslog://x'] });
  });

  it('leaves out instances that are only born or stopped', async () => {
    const stopped = makeInstance();
    await stopped.stop();
    instances = [makeInstance(), stopped];
    await makeSnapshot().save();
    expect(JSON.parse(await readFile(path, 'utf8')).instances).to.deep.equal([]);
  });

  for (const [what, content] of [
    ['malformed', '}{'],
    ['a list', '[]'],
    ['a text', '"instances"'],
    ['null', 'null'],
    ['truncated', '{"time": 1, "instances": [{"state"'],
    ['empty', ''],
    ['of another program', '{"instances": {"a": 1}}'],
    ['binary', '\u0000\u0001\u0002'],
  ] as const) {
    it(`is moved aside when it is ${what}`, async () => {
      await writeFile(path, content);
      expect(await makeSnapshot().load()).to.deep.equal({ instances: [], stagingTasks: [] });
      expect((await readdir(directory)).sort()).to.deep.equal(['instances.json.corrupt.1458249840', 'tmp']);
    });
  }

  it('is moved aside when it is a directory', async () => {
    await mkdir(path);
    expect((await makeSnapshot().load()).instances).to.deep.equal([]);
    expect(await readdir(directory)).to.include('instances.json.corrupt.1458249840');
  });

  it('may be absent', async () => {
    expect(await makeSnapshot().load()).to.deep.equal({ instances: [], stagingTasks: [] });
  });

  it('loses only the records that make no sense', async () => {
    const { instances: records } = JSON.parse(await readFile(rubyFile, 'utf8'));
    const broken = [null, 17, {}, { ...records[0], state: 'DELETED' }, { ...records[0], instance_host_port: 'x' }];
    await writeFile(path, JSON.stringify({ instances: [...broken, records[1]], staging_tasks: [null, { x: 1 }] }));
    const { instances: saved, stagingTasks } = await makeSnapshot().load();
    expect(saved.map(({ state }) => state)).to.deep.equal(['STARTING']);
    expect(stagingTasks).to.deep.equal([]);
  });

  it('comes back as it was written, with the start message and the cause of a crash', async () => {
    instances = [crashedInstance({ env: ['A=$B', 'B=2'], stack: 'other', index: 4 })];
    await makeSnapshot().save();
    const [saved] = (await makeSnapshot().load()).instances;
    expect(saved).to.include({ state: 'CRASHED', exitDescription: 'Not enough memory resource available.' });
    const { startMessage: _unused, ...expected } = instances[0]!.attributes;
    expect(parseInstanceAttributes(saved!.attributes)).to.deep.include(expected);
  });

  it('writes and reads 5,000 instances in no time', async function () {
    this.timeout(60_000);
    instances = Array.from({ length: 5_000 }, (_, index) => crashedInstance({ index }));
    const before = performance.now();
    await makeSnapshot().save();
    const saved = performance.now();
    expect((await makeSnapshot().load()).instances).to.have.lengthOf(5_000);
    const loaded = performance.now();
    expect(saved - before, 'writing').to.be.below(15_000);
    expect(loaded - saved, 'reading').to.be.below(15_000);
  });

  it('is whole at every moment that a reader looks at it', async () => {
    instances = Array.from({ length: 200 }, (_, index) => crashedInstance({ index }));
    const snapshot = makeSnapshot();
    await snapshot.save();
    let isWriting = true;
    const writes = (async () => {
      for (let count = 0; count < 40; count += 1) await snapshot.save();
      isWriting = false;
    })();
    let reads = 0;
    while (isWriting) {
      expect(JSON.parse(await readFile(path, 'utf8')).instances).to.have.lengthOf(200);
      reads += 1;
    }
    await writes;
    expect(reads).to.be.above(5);
    expect(await readdir(join(directory, 'tmp'))).to.deep.equal([]);
  });
});
