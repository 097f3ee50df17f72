import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { createCgroups } from '../../lib/containers/oci/cgroups/cgroups.js';
import { checkControlGroups } from '../../lib/containers/oci/host-features.js';
import { listMounts } from '../../lib/containers/oci/mounts.js';
import type { Cgroups } from '../../lib/containers/oci/ports.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';

const MiB = 2 ** 20;
const root = '/sys/fs/cgroup';

describe('control groups version 2, alone on a host', () => {
  const tag = `v${process.pid.toString(36)}`;
  let cgroups: Cgroups;
  const children: ChildProcess[] = [];
  const path = (handle: string, file: string) => `${root}/isthmus-${tag}/${handle}/${file}`;
  const read = (handle: string, file: string) => readFileSync(path(handle, file), 'utf8').trim();
  const make = (handle: string) => mkdirSync(path(handle, ''), { recursive: true });

  /** Runs a script in a container's group; it has joined it when this resolves. */
  const run = async (handle: string, script: string): Promise<ChildProcess> => {
    const child = spawn('bash', ['-c', `echo $$ > ${path(handle, 'cgroup.procs')}; ${script}`], { stdio: 'ignore' });
    children.push(child);
    await eventually(() => read(handle, 'cgroup.procs').split('\n').includes(String(child.pid)) || undefined);
    return child;
  };
  const ended = (child: ChildProcess) => eventually(() => child.exitCode ?? child.signalCode ?? undefined);

  before(async () => {
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
    expect(existsSync(`${root}/isthmus-${tag}`)).to.equal(false);
  });

  it('are what this host has, with the controllers that the engine needs', async () => {
    expect(cgroups.version).to.equal(2);
    expect(cgroups.limitsSwap).to.equal(true);
    const finding = await checkControlGroups(await listMounts());
    expect(finding).to.include({ state: 'ok' });
    expect(finding.detail).to.match(/^version 2 at \/sys\/fs\/cgroup: .*\bcpu\b.*\bmemory\b.*\bpids\b/);
  });

  it('hand their controllers on to the groups of containers, which have processes in a leaf and peas beside', async () => {
    const own = await cgroups.place('a', { maxPids: 4 });
    const pea = await cgroups.place('a/pea', {});
    for (const { path: leaf, limits } of [own, pea]) {
      expect(limits).to.deep.equal({});
      mkdirSync(root + leaf);
      const controllers = readFileSync(`${root}${leaf}/cgroup.controllers`, 'utf8').trim().split(' ');
      expect(controllers).to.include.members(['cpu', 'memory', 'pids', 'io', 'cpuset']);
    }
    await run(own.path.slice(`/isthmus-${tag}/`.length), 'exec sleep 600');
    await run(pea.path.slice(`/isthmus-${tag}/`.length), 'sleep 600 & wait');
    await eventually(async () => (await cgroups.processes('a')).length === 3 || undefined);
    expect((await cgroups.stats('a')).pids).to.deep.equal({ current: 3, max: 4 });
    expect((await cgroups.stats('a/pea')).pids).to.deep.equal({ current: 2, max: 0 });
  });

  it('tell kills of a container and of its pea apart', async () => {
    const own = await cgroups.place('k', { memoryBytes: 32 * MiB });
    const pea = await cgroups.place('k/pea', {});
    for (const { path: leaf } of [own, pea]) mkdirSync(root + leaf);
    for (const [{ path: leaf }, kills] of [
      [own, [1, 0]],
      [pea, [1, 1]],
    ] as const) {
      const child = spawn('bash', ['-c', `echo $$ > ${root}${leaf}/cgroup.procs; exec tail /dev/zero`], {
        stdio: 'ignore',
      });
      children.push(child);
      expect(await ended(child)).to.equal('SIGKILL');
      expect([await cgroups.oomKills('k'), await cgroups.oomKills('k/pea')]).to.deep.equal(kills);
    }
  });

  it('measure memory, processor time and processes', async () => {
    make('m');
    await cgroups.limit('m', { maxPids: 20 });
    await run('m', `x=$(head -c ${8 * MiB} /dev/zero | tr '\\0' x); sleep 600 & wait`);
    const stats = await eventually(async () => {
      const now = await cgroups.stats('m');
      return now.pids.current === 2 && now.memory.rssBytes > 8 * MiB ? now : undefined;
    });
    expect(stats.memory.rssBytes).to.be.within(8 * MiB, 64 * MiB);
    expect(stats.cpu.usageNs).to.be.above(1_000_000);
    expect(stats.cpu.userNs! + stats.cpu.systemNs!).to.be.closeTo(stats.cpu.usageNs, 1_000_000);
    expect(stats.pids).to.deep.equal({ current: 2, max: 20 });
    expect(stats.oomKills).to.equal(0);
  });

  it('count the page cache apart from memory of processes', async () => {
    make('c');
    const directory = mkdtempSync('/scratch/tmp/cache-');
    try {
      await run('c', `head -c ${16 * MiB} /dev/zero > ${directory}/file; exec sleep 600`);
      const stats = await eventually(async () => {
        const now = await cgroups.stats('c');
        return now.memory.cacheBytes >= 16 * MiB ? now : undefined;
      });
      expect(stats.memory.rssBytes).to.be.below(16 * MiB);
      expect(stats.memory.inactiveFileBytes).to.be.above(8 * MiB);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('count what the kernel killed for the memory limit', async () => {
    make('o');
    await cgroups.limit('o', { memoryBytes: 32 * MiB });
    expect([read('o', 'memory.max'), read('o', 'memory.swap.max')]).to.deep.equal([String(32 * MiB), '0']);
    const eater = await run('o', 'exec tail /dev/zero');
    expect(await ended(eater)).to.equal('SIGKILL');
    expect(await cgroups.oomKills('o')).to.equal(1);
    expect((await cgroups.stats('o')).oomKills).to.equal(1);
  });

  it('count kills in a group below, too', async () => {
    make('o');
    mkdirSync(path('o', 'below'));
    writeFileSync(path('o', 'cgroup.subtree_control'), '+memory');
    await cgroups.limit('o', { memoryBytes: 32 * MiB });
    const child = spawn('bash', ['-c', `echo $$ > ${path('o', 'below/cgroup.procs')}; exec tail /dev/zero`], {
      stdio: 'ignore',
    });
    children.push(child);
    expect(await ended(child)).to.equal('SIGKILL');
    expect(await cgroups.oomKills('o')).to.equal(1);
  });

  it('set weights, quotas and the most processes, and lift limits', async () => {
    make('s');
    await cgroups.limit('s', { cpuShares: 1024, maxPids: 7 });
    expect([read('s', 'cpu.weight'), read('s', 'pids.max')]).to.deep.equal(['100', '7']);
    expect(read('s', 'cpu.max')).to.equal('max 100000');
    const bounded = createCgroups({ tag, cpuQuotaPerShareUs: 50, logger: silentLogger });
    await bounded.limit('s', { cpuShares: 512 });
    expect(read('s', 'cpu.max')).to.equal('25600 100000');
    await cgroups.limit('s', { maxPids: 0, memoryBytes: 0 });
    expect([read('s', 'pids.max'), read('s', 'memory.max')]).to.deep.equal(['max', 'max']);
    expect(read('s', 'memory.swap.max')).to.equal('max');
  });

  it('refuse a memory limit below what cannot be given back, and keep the one before', async () => {
    make('u');
    await cgroups.limit('u', { memoryBytes: 256 * MiB });
    const directory = mkdtempSync('/dev/shm/limit-');
    try {
      const writer = await run('u', `head -c ${48 * MiB} /dev/zero > ${directory}/x; exec sleep 600`);
      await eventually(async () => (await cgroups.stats('u')).memory.cacheBytes >= 48 * MiB || undefined);
      const failure = await cgroups.limit('u', { memoryBytes: 16 * MiB }).then(
        () => '',
        (error: Error) => error.message,
      );
      expect(failure).to.equal(`limits.memoryBytes: more than ${16 * MiB} bytes are in use`);
      expect(read('u', 'memory.max')).to.equal(String(256 * MiB));
      expect(writer.exitCode).to.equal(null);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('stop a fork bomb at its limit and kill all of it at one blow', async () => {
    make('bomb');
    await cgroups.limit('bomb', { maxPids: 60 });
    await run('bomb', 'b() { b | b & }; while :; do b; done');
    await eventually(async () => (await cgroups.stats('bomb')).pids.current === 60 || undefined);
    await cgroups.signalAll('bomb', 'SIGKILL', []);
    await eventually(async () => (await cgroups.processes('bomb')).length === 0 || undefined);
    await cgroups.remove('bomb');
    expect(await cgroups.list()).to.not.include('bomb');
  });

  it('spare the processes that are excepted, in groups below as well', async () => {
    make('t');
    const init = await run('t', 'exec sleep 600');
    mkdirSync(path('t', 'below'));
    const inner = spawn('bash', ['-c', `echo $$ > ${path('t', 'below/cgroup.procs')}; exec sleep 600`], {
      stdio: 'ignore',
    });
    children.push(inner);
    await eventually(() => read('t', 'below/cgroup.procs') === String(inner.pid) || undefined);
    await cgroups.signalAll('t', 'SIGTERM', [init.pid!]);
    expect(await ended(inner)).to.equal('SIGTERM');
    expect(await cgroups.processes('t')).to.deep.equal([init.pid]);
    expect(read('t', 'cgroup.freeze')).to.equal('0');
  });

  it('are thawed when a killed engine left them frozen', async () => {
    make('ice');
    await run('ice', 'exec sleep 600');
    writeFileSync(path('ice', 'cgroup.freeze'), '1');
    await eventually(() => /frozen 1/.test(read('ice', 'cgroup.events')) || undefined);
    await createCgroups({ tag, logger: silentLogger }).start();
    await eventually(() => /frozen 0/.test(read('ice', 'cgroup.events')) || undefined);
  });

  it('wait with the removal for a process that is on its way out, and keep a group that has processes', async () => {
    make('r');
    const child = await run('r', 'exec sleep 600');
    const failure = await cgroups.remove('r').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(failure).to.equal('EBUSY');
    const removed = cgroups.remove('r');
    child.kill('SIGKILL');
    await removed;
    expect(await cgroups.list()).to.deep.equal([]);
  });

  it('leave the agent in the group of its service, outside of those of containers', async () => {
    expect(readFileSync('/proc/self/cgroup', 'utf8').trim()).to.equal('0::/system.slice/isthmus.service');
    expect(read('', 'cgroup.procs')).to.equal('');
  });

  it('can be had by an agent that sees only a part of them, with processes at its top', () => {
    const group = join(root, `part-${tag}`);
    // The mount that is there shows the whole, and the kernel does not lay the same one over it.
    mkdirSync(group);
    const engine = new URL('cgroup-namespace-program.js', import.meta.url).pathname;
    try {
      const script = `echo $$ > ${group}/cgroup.procs
        exec unshare --cgroup --mount sh -c 'umount ${root} && mount -t cgroup2 cgroup2 ${root} && exec "$0" "$1" "$2"' "$@"`;
      const { stdout, stderr, status } = spawnSync('sh', ['-c', script, 'sh', process.execPath, engine, tag], {
        encoding: 'utf8',
      });
      expect(status, stderr).to.equal(0);
      expect(JSON.parse(stdout)).to.deep.equal({
        version: 2,
        group: '0::/init',
        controllers: 'cpuset cpu io memory pids',
        pidsMax: '5',
        left: [],
      });
    } finally {
      spawnSync('find', [group, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
    }
    expect(existsSync(group)).to.equal(false);
  });
});
