import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createCgroups } from '../../../../lib/containers/oci/cgroups/cgroups.js';
import { CgroupsV2 } from '../../../../lib/containers/oci/cgroups/cgroups-v2.js';
import { listMounts } from '../../../../lib/containers/oci/mounts.js';
import type { Cgroups } from '../../../../lib/containers/oci/ports.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually } from '../../../support/eventually.js';

describe('control groups version 2, on a recorded tree', () => {
  let root: string;
  let cgroups: Cgroups;
  const write = (group: string, files: Record<string, string>) => {
    mkdirSync(join(root, group), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, group, name), text);
  };
  const read = (path: string) => readFileSync(join(root, path), 'utf8');

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'cgroup2-'));
    const interior = { 'cgroup.controllers': 'cpuset cpu io memory hugetlb pids rdma misc\n', 'cgroup.procs': '' };
    write('.', { ...interior, 'cgroup.subtree_control': 'memory pids\n' });
    write('isthmus-beef', { ...interior, 'cgroup.subtree_control': '', 'memory.swap.max': 'max\n' });
    write('isthmus-beef/app', {
      'cgroup.procs': '4711\n4712\n',
      'cgroup.freeze': '0\n',
      'cgroup.kill': '',
      'memory.stat': 'anon 1000\nfile 500\nkernel_stack 1\nactive_file 100\ninactive_file 400\n',
      'memory.swap.current': '77\n',
      'memory.events': 'low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n',
      'memory.max': 'max\n',
      'memory.swap.max': 'max\n',
      'cpu.stat': 'usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n',
      'cpu.weight': '100\n',
      'pids.current': '2\n',
      'pids.max': 'max\n',
    });
    const mount = { path: root, root: '/', fileSystem: 'cgroup2', source: 'cgroup2', options: ['rw'] };
    cgroups = createCgroups({ tag: 'beef', mounts: () => [mount], logger: silentLogger });
  });

  afterEach(() => rmSync(root, { recursive: true }));

  it('enables the controllers from the top down', async () => {
    await cgroups.start();
    expect(cgroups.version).to.equal(2);
    expect(cgroups.limitsSwap).to.equal(true);
    expect(read('cgroup.subtree_control')).to.equal('+cpu +cpuset +io');
    expect(read('isthmus-beef/cgroup.subtree_control')).to.equal('+cpu +memory +pids +cpuset +io');
  });

  it('names the controllers that are missing', async () => {
    write('.', { 'cgroup.controllers': 'cpuset cpu\n' });
    const failure = await cgroups.start().then(
      () => '',
      (error: Error) => error.message,
    );
    expect(failure).to.include('memory, pids');
  });

  it('reads the same figures as from version 1', async () => {
    expect(await cgroups.stats('app')).to.deep.equal({
      memory: {
        rssBytes: 1000,
        cacheBytes: 500,
        inactiveFileBytes: 400,
        swapBytes: 77,
        counters: {
          ...{ anon: 1000, file: 500, kernel_stack: 1, active_file: 100, inactive_file: 400, inactive_anon: 0 },
          ...{
            active_anon: 0,
            unevictable: 0,
            pgfault: 0,
            pgmajfault: 0,
            cache: 500,
            rss: 1000,
            mapped_file: 0,
            swap: 77,
          },
          ...{ total_cache: 500, total_rss: 1000, total_mapped_file: 0, total_swap: 77, total_inactive_anon: 0 },
          ...{ total_active_anon: 0, total_inactive_file: 400, total_active_file: 100, total_unevictable: 0 },
          ...{ total_pgfault: 0, total_pgmajfault: 0 },
          ...{ hierarchical_memory_limit: 2 ** 63 - 4096, hierarchical_memsw_limit: 2 ** 63 - 4096 },
        },
      },
      cpu: { usageNs: 1_234_000, userNs: 1_000_000, systemNs: 234_000 },
      pids: { current: 2, max: 0 },
      oomKills: 2,
    });
    expect(await cgroups.processes('app')).to.deep.equal([4711, 4712]);
    expect(await cgroups.list()).to.deep.equal(['app']);
  });

  it('leaves nothing for swap beyond the memory limit', async () => {
    await cgroups.start();
    await cgroups.limit('app', { memoryBytes: 1_048_576, cpuShares: 1024, maxPids: 50 });
    expect(read('isthmus-beef/app/memory.max')).to.equal('1048576');
    expect(read('isthmus-beef/app/memory.swap.max')).to.equal('0');
    expect(read('isthmus-beef/app/cpu.weight')).to.equal('100');
    expect(read('isthmus-beef/app/pids.max')).to.equal('50');
  });

  it('limits a container above the group of its processes, where there is room for others', async () => {
    await cgroups.start();
    write('isthmus-beef/app', { 'cgroup.controllers': 'cpuset cpu io memory pids\n', 'cgroup.subtree_control': '' });
    expect(await cgroups.place('app', { memoryBytes: 1_048_576, maxPids: 50 })).to.deep.equal({
      path: '/isthmus-beef/app/@processes',
      limits: {},
    });
    expect(read('isthmus-beef/app/memory.max')).to.equal('1048576');
    expect(read('isthmus-beef/app/pids.max')).to.equal('50');
    expect(read('isthmus-beef/app/cgroup.subtree_control')).to.equal('+cpu +memory +pids +cpuset +io');
    const { counters } = (await cgroups.stats('app')).memory;
    expect(counters).to.include({ hierarchical_memory_limit: 1_048_576, hierarchical_memsw_limit: 1_048_576 });
  });

  it('counts kills of a container without those of its peas', async () => {
    write('isthmus-beef/app/@processes', { 'memory.events': 'oom 3\noom_kill 1\n' });
    write('isthmus-beef/app/pea/@processes', { 'memory.events': 'oom 3\noom_kill 0\n' });
    expect(await cgroups.oomKills('app')).to.equal(1);
    expect(await cgroups.oomKills('app/pea')).to.equal(0);
  });

  it('refuses a memory limit below what cannot be given back, instead of having the kernel kill', async () => {
    await cgroups.start();
    write('isthmus-beef/app', { 'memory.stat': 'anon 1000\nfile 5000\nshmem 500\n' });
    const failure = await cgroups.limit('app', { memoryBytes: 1499 }).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(failure).to.equal('limits.memoryBytes: more than 1499 bytes are in use');
    expect(read('isthmus-beef/app/memory.max')).to.equal('max\n');
    await cgroups.limit('app', { memoryBytes: 1500 });
    expect(read('isthmus-beef/app/memory.max')).to.equal('1500');
  });

  it('bounds processor time when each share has its part of it', async () => {
    const mount = { path: root, root: '/', fileSystem: 'cgroup2', source: 'cgroup2', options: ['rw'] };
    const options = { tag: 'beef', mounts: () => [mount], logger: silentLogger };
    write('isthmus-beef/app', { 'cpu.max': 'max 100000\n' });
    await cgroups.limit('app', { cpuShares: 1024 });
    expect(read('isthmus-beef/app/cpu.max')).to.equal('max 100000\n');
    await createCgroups({ ...options, cpuQuotaPerShareUs: 50 }).limit('app', { cpuShares: 1024 });
    expect(read('isthmus-beef/app/cpu.max')).to.equal('51200 100000');
  });

  it('lets the kernel kill all processes at once', async () => {
    await cgroups.signalAll('app', 'SIGKILL', []);
    expect(read('isthmus-beef/app/cgroup.kill')).to.equal('1');
  });
});

describe('control groups version 2, in the kernel', () => {
  const parent = `/isthmus-v${process.pid.toString(36)}`;
  let root: string;
  let cgroups: CgroupsV2;
  const children: ChildProcess[] = [];
  const run = async (handle: string, script: string): Promise<ChildProcess> => {
    const procs = `${root}${parent}/${handle}/cgroup.procs`;
    const child = spawn('bash', ['-c', `echo $$ > ${procs}; ${script}`], { stdio: 'ignore' });
    children.push(child);
    await eventually(() => readFileSync(procs, 'utf8').split('\n').includes(String(child.pid)) || undefined);
    return child;
  };
  const ended = (child: ChildProcess) => eventually(() => child.exitCode ?? child.signalCode ?? undefined);

  before(async () => {
    const mount = (await listMounts()).find(({ fileSystem }) => fileSystem === 'cgroup2');
    if (!mount) throw new Error('this host has no cgroup2 mount');
    root = mount.path;
    cgroups = new CgroupsV2({ parent, root, logger: silentLogger });
  });

  beforeEach(() => mkdirSync(`${root}${parent}/app`, { recursive: true }));

  afterEach(async () => {
    await cgroups.signalAll('app', 'SIGKILL', []);
    await cgroups.remove('app');
    await Promise.all(children.splice(0).map(ended));
  });

  after(async () => {
    await cgroups.teardown();
    expect(existsSync(`${root}${parent}`)).to.equal(false);
  });

  it('kills a group that forks without end', async () => {
    await run('app', 'ulimit -u 4000; while :; do (sleep 30 &) ; done & while :; do (sleep 30 &); sleep 0.01; done');
    await eventually(async () => (await cgroups.processes('app')).length > 20 || undefined);
    await cgroups.signalAll('app', 'SIGKILL', []);
    await eventually(async () => (await cgroups.processes('app')).length === 0 || undefined);
  });

  it('freezes a group while it signals all but the excepted, then lets it run on', async () => {
    mkdirSync(`${root}${parent}/app/below`);
    const [init, other] = [await run('app', 'exec sleep 60'), await run('app', 'exec sleep 60')];
    const below = await run('app/below', 'exec sleep 60');
    await cgroups.signalAll('app', 'SIGTERM', [init.pid!]);
    expect(await Promise.all([ended(other), ended(below)])).to.deep.equal(['SIGTERM', 'SIGTERM']);
    expect(await cgroups.processes('app')).to.deep.equal([init.pid]);
    expect(readFileSync(`${root}${parent}/app/cgroup.events`, 'utf8')).to.include('frozen 0');
  });
});
