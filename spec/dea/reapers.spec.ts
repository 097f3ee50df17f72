import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Ledger } from '../../lib/cell/ledger.js';
import type { DeaConfig } from '../../lib/dea/config.js';
import { deaOwner, ownerProperty } from '../../lib/dea/containers.js';
import { isUnderPressure } from '../../lib/dea/disk-pressure.js';
import type { Instance } from '../../lib/dea/instances/instance.js';
import type { InstanceManager } from '../../lib/dea/instances/instance-manager.js';
import { InstanceRegistry } from '../../lib/dea/instances/instance-registry.js';
import type { AppLog } from '../../lib/dea/logs/app-log.js';
import { Reapers, staleCrashes, supersededInstances } from '../../lib/dea/reapers.js';
import { StagingRegistry } from '../../lib/dea/staging/staging-registry.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { type OciSubject, startOciEngine } from '../support/oci.js';

describe('the reaper of containers', function () {
  this.timeout(60_000);
  let subject: OciSubject;
  let directory: string;
  let instances: InstanceRegistry;
  let reapers: Reapers;

  beforeEach(async () => {
    subject = await startOciEngine();
    directory = await mkdtemp(join(tmpdir(), 'crashes-'));
    instances = new InstanceRegistry();
    reapers = new Reapers({
      config: {} as DeaConfig,
      engine: subject.engine,
      ledger: {} as Ledger,
      instances,
      manager: {} as InstanceManager,
      stagingTasks: new StagingRegistry(),
      crashesDirectory: directory,
      appLog: {} as AppLog,
      logger: silentLogger,
    });
  });

  afterEach(async () => {
    await subject.dispose();
    await rm(directory, { recursive: true });
  });

  const create = (handle: string, owner?: string) =>
    subject.engine.create({
      handle,
      rootfs: subject.rootfs,
      ...(owner !== undefined && { properties: { [ownerProperty]: owner } }),
    });
  const handles = async () => (await subject.engine.list()).map(({ handle }) => handle).sort();

  it('39: destroys a stray container in its second pass, and never one of another owner', async () => {
    await Promise.all([create('stray', deaOwner), create('diego', 'rep'), create('garden')]);
    await reapers.reapContainers();
    expect(await handles()).to.deep.equal(['diego', 'garden', 'stray']);
    await reapers.reapContainers();
    expect(await handles()).to.deep.equal(['diego', 'garden']);
    await reapers.reapContainers();
    expect(await handles()).to.deep.equal(['diego', 'garden']);
  });

  it('spares a container that came to be known between two passes', async () => {
    await create('late', deaOwner);
    await reapers.reapContainers();
    instances.register({ id: 'late', handle: 'late', attributes: {} } as Instance);
    await reapers.reapContainers();
    expect(await handles()).to.deep.equal(['late']);
  });

  it('needs no second pass at the start, when nothing is in progress', async () => {
    await Promise.all([create('stray', deaOwner), create('diego', 'rep')]);
    await reapers.reclaimContainers();
    expect(await handles()).to.deep.equal(['diego']);
  });
});

describe('instances that are superseded', () => {
  const instance = (id: string, uptimeMs: number, more: { app?: string; index?: number; state?: string } = {}) => {
    const { app = 'a', index = 0, state = 'RUNNING' } = more;
    const attributes = { applicationId: app, instanceIndex: index };
    // All took a second to start.
    return { id, state, uptimeMs, stateAgeMs: uptimeMs - 1_000, attributes } as Instance;
  };
  const superseded = (afterMs: number, ...instances: Instance[]) =>
    supersededInstances(instances, afterMs).map(({ id }) => id);

  it('are those beside which a newer one of the same app and index has run long enough', () => {
    const all = [instance('new', 61_000), instance('old', 90_000), instance('oldest', 99_000)];
    expect(superseded(60_000, ...all)).to.deep.equal(['old', 'oldest']);
    expect(superseded(60_001, ...all)).to.deep.equal(['oldest']);
  });

  it('are not those of another app or index, nor beside one that does not run', () => {
    const old = instance('old', 900_000);
    for (const other of [
      { app: 'b' },
      { index: 1 },
      { state: 'STARTING' },
      { state: 'CRASHED' },
      { state: 'EVACUATING' },
    ]) {
      expect(superseded(1_000, old, instance('new', 100_000, other))).to.deep.equal([]);
    }
  });

  it('are none unless the operator wants it', () => {
    expect(superseded(0, instance('old', 9_000_000), instance('new', 8_000_000))).to.deep.equal([]);
  });
});

describe('crashes that are stale', () => {
  const crash = (id: string, applicationId: string, stateAgeMs: number, state = 'CRASHED') =>
    ({ id, state, stateAgeMs, attributes: { applicationId } }) as Instance;

  it('are all but the newest of each app', () => {
    const instances = [
      crash('old', 'a', 3_000),
      crash('newest', 'a', 1_000),
      crash('older', 'a', 5_000),
      crash('b', 'b', 9_000),
    ];
    expect(staleCrashes(instances, 60_000).map(({ id }) => id)).to.have.members(['old', 'older']);
  });

  it('are those that have had their time, the newest too', () => {
    const instances = [crash('expired', 'a', 60_001), crash('in-time', 'b', 60_000)];
    expect(staleCrashes(instances, 60_000).map(({ id }) => id)).to.deep.equal(['expired']);
  });

  it('are no instances of any other state', () => {
    expect(staleCrashes([crash('a', 'a', 99_999, 'STOPPING'), crash('b', 'a', 99_999, 'RUNNING')], 1)).to.deep.equal(
      [],
    );
  });
});

describe('pressure on the disk', () => {
  it('is when blocks or inodes in use are above their threshold, not at it', () => {
    const thresholds = { blocks: 0.8, inodes: 0.5 };
    expect(isUnderPressure({ blocks: 0.8, inodes: 0.5 }, thresholds)).to.equal(false);
    expect(isUnderPressure({ blocks: 0.81, inodes: 0 }, thresholds)).to.equal(true);
    expect(isUnderPressure({ blocks: 0, inodes: 0.51 }, thresholds)).to.equal(true);
  });
});
