import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createCgroups } from '../../../../lib/containers/oci/cgroups/cgroups.js';
import { findHierarchies } from '../../../../lib/containers/oci/cgroups/hierarchies.js';
import { listMounts, parseMountInfo } from '../../../../lib/containers/oci/mounts.js';
import type { Cgroups } from '../../../../lib/containers/oci/ports.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually } from '../../../support/eventually.js';

const MiB = 1024 * 1024;

describe('control groups version 1', () => {
  const tag = `t${process.pid.toString(36)}`;
  let cgroups: Cgroups;
  let hierarchies: string[];
  let controllers: Map<string, string>;
  const children: ChildProcess[] = [];

  const pathOf = (handle: string) => `/isthmus-${tag}/${handle}`;
  /** Makes a container's groups as a runtime does. */
  const makeGroups = (handle: string) => {
    for (const mount of hierarchies) mkdirSync(`${mount}${pathOf(handle)}`, { recursive: true });
    const cpuset = controllers.get('cpuset')!;
    for (const group of [pathOf(''), pathOf(handle)]) {
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        writeFileSync(`${cpuset}${group}/${file}`, readFileSync(`${cpuset}/${file}`));
      }
    }
  };
  const file = (controller: string, handle: string, name: string) =>
    `${controllers.get(controller)}${pathOf(handle)}/${name}`;
  const read = (controller: string, handle: string, name: string) =>
    readFileSync(file(controller, handle, name), 'utf8').trim();

  /** Runs a script in the container's groups; it has joined them when this resolves. */
  const run = async (handle: string, script: string): Promise<ChildProcess> => {
    const join = hierarchies.map((mount) => `echo $$ > ${mount}${pathOf(handle)}/cgroup.procs`).join('; ');
    const child = spawn('bash', ['-c', `${join}; ${script}`], { stdio: 'ignore' });
    children.push(child);
    await eventually(
      () => read('freezer', handle, 'cgroup.procs').split('\n').includes(String(child.pid)) || undefined,
    );
    return child;
  };
  const ended = (child: ChildProcess) => eventually(() => child.exitCode ?? child.signalCode ?? undefined);

  before(async () => {
    const found = findHierarchies(await listMounts());
    if (found?.version !== 1) throw new Error('this host has no control groups version 1');
    hierarchies = found.all;
    controllers = found.controllers;
    cgroups = createCgroups({ tag, logger: silentLogger });
    await cgroups.start();
  });

  afterEach(async () => {
    for (const handle of await cgroups.list()) {
      await cgroups.signalAll(handle, 'SIGKILL', []);
      await cgroups.remove(handle);
    }
    await Promise.all(children.splice(0).map(ended));
  });

  after(async () => {
    await cgroups.teardown();
    expect(hierarchies.filter((mount) => existsSync(`${mount}/isthmus-${tag}`))).to.deep.equal([]);
  });

  it('are made and limited by the runtime', async () => {
    expect(await cgroups.place('p', { memoryBytes: MiB, cpuShares: 512 })).to.deep.equal({
      path: pathOf('p'),
      limits: { memoryBytes: MiB, cpuShares: 512 },
    });
    const bounded = createCgroups({ tag, cpuQuotaPerShareUs: 50, logger: silentLogger });
    expect(await bounded.place('p', { cpuShares: 512 })).to.deep.equal({
      path: pathOf('p'),
      limits: { cpuShares: 512 },
      cpuQuota: { quota: 25_600, period: 100_000 },
    });
    expect(await cgroups.list()).to.deep.equal([]);
  });

  it('finds the processes of a group and of those below it', async () => {
    makeGroups('a');
    const outer = await run('a', 'exec sleep 60');
    const inner = spawn('sleep', ['60'], { stdio: 'ignore' });
    children.push(inner);
    for (const mount of hierarchies) {
      mkdirSync(`${mount}${pathOf('a')}/below`);
      if (mount === controllers.get('cpuset')) continue;
      writeFileSync(`${mount}${pathOf('a')}/below/cgroup.procs`, String(inner.pid));
    }
    expect(await cgroups.processes('a')).to.have.members([outer.pid, inner.pid]);
    expect(await cgroups.processes('unknown')).to.deep.equal([]);
    await cgroups.signalAll('a', 'SIGKILL', []);
    expect(await Promise.all([ended(outer), ended(inner)])).to.deep.equal(['SIGKILL', 'SIGKILL']);
  });

  it('measures memory, processor time and processes', async () => {
    makeGroups('m');
    await cgroups.limit('m', { maxPids: 20 });
    await run('m', `x=$(head -c ${8 * MiB} /dev/zero | tr '\\0' x); sleep 60 & wait`);
    const stats = await eventually(async () => {
      const now = await cgroups.stats('m');
      return now.pids.current === 2 ? now : undefined;
    });
    expect(stats.memory.rssBytes).to.be.within(8 * MiB, 64 * MiB);
    expect(stats.cpu.usageNs).to.be.above(1_000_000);
    expect(stats.pids).to.deep.equal({ current: 2, max: 20 });
    expect(stats.oomKills).to.equal(0);
  });

  it('counts what the kernel killed for the memory limit', async () => {
    makeGroups('o');
    await cgroups.limit('o', { memoryBytes: 32 * MiB });
    const eater = await run('o', 'exec tail /dev/zero');
    expect(await ended(eater)).to.equal('SIGKILL');
    expect(await cgroups.oomKills('o')).to.equal(1);
    expect((await cgroups.stats('o')).oomKills).to.equal(1);
    expect(await cgroups.oomKills('unknown')).to.equal(0);
  });

  it('raises, lowers and lifts a memory limit together with that of swap', async () => {
    makeGroups('l');
    expect(cgroups.limitsSwap).to.equal(true);
    for (const mebibytes of [64, 128, 32]) {
      await cgroups.limit('l', { memoryBytes: mebibytes * MiB });
      expect(read('memory', 'l', 'memory.limit_in_bytes')).to.equal(String(mebibytes * MiB));
      expect(read('memory', 'l', 'memory.memsw.limit_in_bytes')).to.equal(String(mebibytes * MiB));
    }
    await cgroups.limit('l', { memoryBytes: 0 });
    expect(Number(read('memory', 'l', 'memory.limit_in_bytes'))).to.be.above(2 ** 60);
  });

  it('sets shares and the most processes', async () => {
    makeGroups('s');
    await cgroups.limit('s', { cpuShares: 512, maxPids: 7 });
    expect(read('cpu', 's', 'cpu.shares')).to.equal('512');
    expect(read('pids', 's', 'pids.max')).to.equal('7');
    await cgroups.limit('s', { maxPids: 0 });
    expect(read('pids', 's', 'pids.max')).to.equal('max');
  });

  it('bounds processor time when each share has its part of it', async () => {
    makeGroups('q');
    await cgroups.limit('q', { cpuShares: 512 });
    expect(read('cpu', 'q', 'cpu.cfs_quota_us')).to.equal('-1');
    const bounded = createCgroups({ tag, cpuQuotaPerShareUs: 50, logger: silentLogger });
    await bounded.limit('q', { cpuShares: 512 });
    expect(read('cpu', 'q', 'cpu.cfs_quota_us')).to.equal('25600');
    expect(read('cpu', 'q', 'cpu.cfs_period_us')).to.equal('100000');
    expect(() => createCgroups({ tag, cpuQuotaPerShareUs: 0, logger: silentLogger })).to.throw('cpuQuotaPerShareUs: 0');
  });

  it('refuses a memory limit below what cannot be given back, and keeps the one before', async () => {
    makeGroups('u');
    await cgroups.limit('u', { memoryBytes: 256 * MiB });
    // Memory of a tmpfs has nowhere to go without swap.
    const directory = mkdtempSync('/dev/shm/limit-');
    try {
      const writer = await run('u', `head -c ${48 * MiB} /dev/zero > ${directory}/x; exec sleep 60`);
      await eventually(async () => (await cgroups.stats('u')).memory.cacheBytes >= 48 * MiB || undefined);
      const failure = await cgroups.limit('u', { memoryBytes: 16 * MiB }).then(
        () => '',
        (error: Error) => error.message,
      );
      expect(failure).to.equal(`limits.memoryBytes: more than ${16 * MiB} bytes are in use`);
      expect(read('memory', 'u', 'memory.limit_in_bytes')).to.equal(String(256 * MiB));
      expect(read('memory', 'u', 'memory.memsw.limit_in_bytes')).to.equal(String(256 * MiB));
      expect(writer.exitCode).to.equal(null);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('stops a fork bomb at its limit and kills all of it at one blow', async () => {
    makeGroups('bomb');
    await cgroups.limit('bomb', { maxPids: 60 });
    await run('bomb', 'b() { b | b & }; while :; do b; done');
    await eventually(async () => (await cgroups.stats('bomb')).pids.current === 60 || undefined);
    await cgroups.signalAll('bomb', 'SIGKILL', []);
    await eventually(async () => (await cgroups.processes('bomb')).length === 0 || undefined, { timeoutMs: 5_000 });
    await cgroups.remove('bomb');
    expect(await cgroups.list()).to.not.include('bomb');
  });

  it('spares the processes that are excepted', async () => {
    makeGroups('t');
    const [init, other] = [await run('t', 'exec sleep 60'), await run('t', 'exec sleep 60')];
    await cgroups.signalAll('t', 'SIGTERM', [init.pid!]);
    expect(await ended(other)).to.equal('SIGTERM');
    expect(await cgroups.processes('t')).to.deep.equal([init.pid]);
  });

  it('waits with the removal for a process that is on its way out', async () => {
    makeGroups('r');
    const child = await run('r', 'exec sleep 60');
    const removed = cgroups.remove('r');
    child.kill('SIGKILL');
    await removed;
    expect(await cgroups.list()).to.deep.equal([]);
    await cgroups.remove('r');
  });

  it('refuses to remove a group that has processes', async () => {
    makeGroups('busy');
    await run('busy', 'exec sleep 60');
    const failure = await cgroups.remove('busy').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(failure).to.equal('EBUSY');
  });

  it('keeps the parent group while a container has one', async () => {
    makeGroups('kept');
    await cgroups.teardown();
    expect(await cgroups.list()).to.deep.equal(['kept']);
  });

  it('thaws what a killed engine left frozen', async () => {
    makeGroups('ice');
    await run('ice', 'exec sleep 60');
    writeFileSync(file('freezer', 'ice', 'freezer.state'), 'FROZEN');
    await eventually(() => read('freezer', 'ice', 'freezer.state') === 'FROZEN' || undefined);
    await createCgroups({ tag, logger: silentLogger }).start();
    expect(read('freezer', 'ice', 'freezer.state')).to.equal('THAWED');
  });

  it('reads the figures of fifty groups in a small part of a second', async () => {
    const handles = Array.from({ length: 50 }, (_, number) => `i${number}`);
    for (const handle of handles) makeGroups(handle);
    await Promise.all(handles.map((handle) => cgroups.oomKills(handle)));
    const before = process.cpuUsage();
    await Promise.all(handles.map((handle) => cgroups.oomKills(handle)));
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).to.be.below(20);
  });
});

describe('control groups on a hybrid host', () => {
  const directory = mkdtempSync(join(tmpdir(), 'hybrid-'));
  const unified = join(directory, 'unified');
  const target = join(directory, 'net_prio');
  const tags = [`x${process.pid.toString(36)}`, `y${process.pid.toString(36)}`];

  /** The host's v1 mounts, and a cgroup2 mount that still has a controller. */
  const mounts = () => {
    const real = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
    return [
      ...real.filter((mount) => mount.fileSystem !== 'cgroup2'),
      { path: unified, root: '/', fileSystem: 'cgroup2', source: 'cgroup2', options: ['rw'] },
    ];
  };
  const isMounted = async () => (await listMounts()).some((mount) => mount.path === target);
  const engine = (tag: string) => createCgroups({ tag, mounts, logger: silentLogger });

  before(() => {
    mkdirSync(unified);
    writeFileSync(join(unified, 'cgroup.controllers'), 'net_prio\n');
  });

  after(() => rmSync(directory, { recursive: true }));

  it('mounts what cgroup2 still has, and gives it back after the last engine', async () => {
    const [one, other] = [engine(tags[0]!), engine(tags[1]!)];
    await one.start();
    expect(await isMounted()).to.equal(true);
    expect(existsSync(join(target, 'cgroup.procs'))).to.equal(true);
    writeFileSync(join(unified, 'cgroup.controllers'), '\n');
    await other.start();
    await one.teardown();
    expect(await isMounted()).to.equal(true);
    await other.teardown();
    expect(await isMounted()).to.equal(false);
    expect(existsSync(target)).to.equal(false);
  });
});
