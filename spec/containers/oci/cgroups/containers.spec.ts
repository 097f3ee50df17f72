import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Container, ContainerEvent, ContainerSpec } from '../../../../lib/containers/engine.js';
import { InvalidSpecError } from '../../../../lib/containers/errors.js';
import { createCgroups } from '../../../../lib/containers/oci/cgroups/cgroups.js';
import { engineTag } from '../../../../lib/containers/oci/tag.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually } from '../../../support/eventually.js';
import { type OciSubject, startOciEngine } from '../../../support/oci.js';
import { runtimes } from '../../../support/variants.js';
import { failureOf, runToEnd, script } from '../../engine-contract.js';

const MiB = 1024 * 1024;
/** `controller:file`; version 2 has all controllers at one place, and limits swap by itself. */
const groupFiles = {
  1: {
    shares: ['cpu:cpu.shares'],
    quota: ['cpu:cpu.cfs_quota_us', 'cpu:cpu.cfs_period_us'],
    memory: ['memory:memory.limit_in_bytes', 'memory:memory.memsw.limit_in_bytes'],
  },
  2: { shares: [':cpu.weight'], quota: [':cpu.max'], memory: [':memory.max', ':memory.swap.max'] },
};

for (const runtime of runtimes) {
  describe(`the limits of real containers, by ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
    const fillMemory = (container: Container, mebibytes: number) =>
      runToEnd(container, script(`dd if=/dev/zero of=/dev/shm/x bs=1M count=${mebibytes}`));
    /** What the kernel has on record for a container's control group. */
    const recorded = (container: Container, subjectOfLimit: 'shares' | 'quota' | 'memory'): string[] => {
      const tag = engineTag(subject.settings.depotDirectory);
      return groupFiles[createCgroups({ tag, logger: silentLogger }).version][subjectOfLimit].map((name) => {
        const [controller, file] = name.split(':');
        const directory = `/sys/fs/cgroup/${controller}/isthmus-${tag}/${container.handle}`;
        return readFileSync(`${directory}/${file}`, 'utf8').trim();
      });
    };
    /** The same limits as each version writes them. */
    const inVersion = <Value>(one: Value, two: Value): Value =>
      createCgroups({ tag: 'any', logger: silentLogger }).version === 1 ? one : two;

    before(async () => {
      subject = await startOciEngine({ runtime, cpuQuotaPerShareUs: 100 });
    });

    afterEach(async () => {
      const containers = await subject.engine.list();
      await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
    });

    after(() => subject.dispose());

    it('count what lies in memory files, and tell of one kill once, before the exit status', async () => {
      const container = await create({ limits: { memoryBytes: 64 * MiB } });
      const told: ContainerEvent[] = [];
      container.onEvent((event) => told.push(event));
      expect((await fillMemory(container, 58)).status).to.equal(0);
      expect((await container.info()).events).to.deep.equal([]);
      const { status } = await fillMemory(container, 65);
      // No wait in between: it is there when the exit status is.
      expect(await container.info()).to.deep.include({ events: ['out of memory'], state: 'active' });
      expect(status).to.not.equal(0);
      expect(told).to.deep.equal(['out of memory']);
      // The file is still there, so that whatever wants memory next is killed, too.
      await eventually(async () => (await container.metrics()).memory.cacheBytes > 32 * MiB || undefined);
    });

    it('are one event for each kill, however many there are', async () => {
      const container = await create({ limits: { memoryBytes: 32 * MiB } });
      for (let kill = 1; kill <= 3; kill += 1) {
        expect((await runToEnd(container, { path: 'tail', args: ['/dev/zero'] })).status).to.equal(137);
        expect((await container.info()).events).to.have.length(kill);
      }
      await subject.restart();
      const { events, state } = await (await subject.engine.lookup(container.handle)).info();
      expect(events).to.deep.equal(['out of memory', 'out of memory', 'out of memory']);
      expect(state).to.equal('active');
    });

    it('stop forks at the most processes, and tell them', async () => {
      const container = await create({ limits: { maxPids: 50 } });
      const bomb = 'i=0; while [ $i -lt 80 ]; do sleep 20 >/dev/null 2>&1 & i=$((i+1)); done';
      const { status, stderr } = await runToEnd(container, { path: '/dev/busybox', args: ['sh', '-c', bomb] });
      expect(status).to.not.equal(0);
      expect(stderr).to.include("can't fork");
      const { pids } = await container.metrics();
      expect(pids.max).to.equal(50);
      expect(pids.current).to.be.within(40, 50);
      expect((await (await create()).metrics()).pids.max).to.equal(0);
    });

    it('are a quota of processor time for each share, from the start and when they change', async () => {
      const container = await create({ limits: { cpuShares: 512 } });
      expect(recorded(container, 'shares')).to.deep.equal(inVersion(['512'], ['59']));
      expect(recorded(container, 'quota')).to.deep.equal(inVersion(['51200', '100000'], ['51200 100000']));
      await container.limit({ cpuShares: 2 });
      expect(recorded(container, 'shares')).to.deep.equal(inVersion(['2'], ['1']));
      expect(recorded(container, 'quota')).to.deep.equal(inVersion(['1000', '100000'], ['1000 100000']));
      expect(await container.limits()).to.deep.equal({ cpuShares: 2 });
    });

    it('are raised and lowered while processes run', async () => {
      const container = await create({ limits: { memoryBytes: 64 * MiB, maxPids: 20 } });
      for (const memoryBytes of [96 * MiB, 48 * MiB, 128 * MiB]) {
        await container.limit({ memoryBytes });
        const both = inVersion(String(memoryBytes), '0');
        expect(recorded(container, 'memory')).to.deep.equal([String(memoryBytes), both]);
      }
      expect((await fillMemory(container, 80)).status).to.equal(0);
      const failure = await failureOf(container.limit({ memoryBytes: 32 * MiB }));
      expect(failure).to.be.instanceOf(InvalidSpecError).with.property('message').includes('are in use');
      expect(await container.limits()).to.deep.equal({ memoryBytes: 128 * MiB, maxPids: 20 });
      expect(recorded(container, 'memory')[0]).to.equal(String(128 * MiB));
      expect((await container.info()).events).to.deep.equal([]);
    });

    it('are told by figures that are the kernel’s own', async () => {
      const container = await create({ limits: { memoryBytes: 64 * MiB } });
      await fillMemory(container, 20);
      const { memory, cpu } = await container.metrics();
      expect(memory.cacheBytes).to.be.at.least(20 * MiB);
      expect(memory.counters.total_cache).to.equal(memory.cacheBytes);
      expect(cpu.usageNs).to.be.above(0);
      expect(recorded(container, 'memory')[0]).to.equal(String(64 * MiB));
    });
  });
}
