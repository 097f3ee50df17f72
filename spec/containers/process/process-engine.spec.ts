import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import type { Container, ContainerEngine, ProcessSpec } from '../../../lib/containers/engine.js';
import {
  ExecutableNotFoundError,
  HandleInUseError,
  InvalidSpecError,
  ProcessIdInUseError,
  UnknownHandleError,
  UnknownProcessError,
} from '../../../lib/containers/errors.js';
import { createProcessEngine } from '../../../lib/containers/process/process-engine.js';
import { processesByContainer } from '../../../lib/containers/process/process-table.js';
import { type Logger, silentLogger } from '../../../lib/logging/logger.js';
import { Collector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';

describe('the engine without isolation', () => {
  let directory: string;
  let engine: ContainerEngine;

  const depot = () => join(directory, 'depot');
  const newEngine = (logger: Logger = silentLogger) =>
    createProcessEngine({ depotDirectory: depot(), memoryCheckIntervalMs: 100, logger });
  const create = (spec: Partial<Parameters<ContainerEngine['create']>[0]> = {}) =>
    engine.create({ rootfs: '/', ...spec });
  const processesOf = async (handle: string) => processesByContainer().get(join(depot(), handle)) ?? [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'process-engine-'));
    engine = newEngine();
    await engine.start();
  });

  afterEach(async () => {
    for (const container of await engine.list()) await engine.destroy(container.handle);
    await engine.release();
    await rm(directory, { recursive: true });
  });

  async function sh(container: Container, script: string, spec: Partial<ProcessSpec> = {}) {
    const stdout = new Collector();
    const stderr = new Collector();
    const process = await container.run({ path: 'sh', args: ['-c', script], ...spec }, { stdout, stderr });
    const status = await process.wait();
    return { status, stdout: stdout.text, stderr: stderr.text };
  }

  /** Starts over as after `kill -9`: nothing is told to the processes or the disk. */
  async function restart(): Promise<void> {
    await engine.stop();
    engine = newEngine();
    await engine.start();
  }

  it('says loudly at start that there is no isolation', async () => {
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (message) => warnings.push(message), child: () => logger };
    const other = newEngine(logger);
    await other.start();
    await other.stop();
    expect(warnings.join()).to.match(/WITHOUT ISOLATION/);
    expect(other.isolation).to.equal('none');
  });

  describe('a process', () => {
    it('gives its output and exit status', async () => {
      const result = await sh(await create(), 'echo out; echo err >&2; exit 3');
      expect(result).to.deep.equal({ status: 3, stdout: 'out\n', stderr: 'err\n' });
    });

    it('gives 128 + signal and no words of the wrapper when it is killed', async () => {
      const result = await sh(await create(), 'kill -9 $$');
      expect(result).to.deep.equal({ status: 137, stdout: '', stderr: '' });
    });

    it('gives all of a large output before its exit status', async () => {
      const { stdout } = await sh(await create(), 'seq 1 200000');
      expect(stdout.trimEnd().split('\n').length).to.equal(200_000);
    });

    it('reads a string as its standard input', async () => {
      const stdout = new Collector();
      const process = await (await create()).run(
        { path: 'bash' },
        { stdin: 'read line; echo "got $line"\nfood\n', stdout },
      );
      expect(await process.wait()).to.equal(0);
      expect(stdout.text).to.equal('got food\n');
    });

    it('reads a stream as its standard input, to the stream’s end', async () => {
      const stdin = new PassThrough();
      const stdout = new Collector();
      const process = await (await create()).run({ path: 'cat' }, { stdin, stdout });
      stdin.write('one ');
      await eventually(() => expect(stdout.text).to.equal('one '));
      stdin.end('two');
      expect(await process.wait()).to.equal(0);
      expect(stdout.text).to.equal('one two');
    });

    it('is not disturbed by input that it does not read', async () => {
      const stdin = new PassThrough();
      const process = await (await create()).run({ path: 'true' }, { stdin });
      stdin.end(Buffer.alloc(1 << 20));
      expect(await process.wait()).to.equal(0);
    });

    it('sees the descriptors 0, 1 and 2, and none of the wrapper’s', async () => {
      const { stdout } = await sh(await create(), 'ls /proc/$$/fd');
      // What the specs themselves were started with, all processes inherit; that has large numbers.
      expect(stdout.match(/^\d$/gm)).to.deep.equal(['0', '1', '2']);
    });

    it('has the environment of the container and its own, the later winning', async () => {
      const container = await create({ env: ['A=1', 'B=1'] });
      const { stdout } = await sh(container, 'echo "$A $B $C"', { env: ['B=2', 'C=x y'] });
      expect(stdout).to.equal('1 2 x y\n');
    });

    it('has nothing of the engine’s own environment', async () => {
      process.env.ISTHMUS_SPEC_SECRET = 'engine';
      try {
        expect((await sh(await create(), 'echo "$ISTHMUS_SPEC_SECRET"')).stdout).to.equal('\n');
      } finally {
        delete process.env.ISTHMUS_SPEC_SECRET;
      }
    });

    it('starts in the home of its user, beneath the container’s directory', async () => {
      const container = await create();
      const { containerPath } = await container.info();
      const home = `${containerPath}/rootfs/home/vcap`;
      expect((await sh(container, 'pwd; echo $HOME', { user: 'vcap' })).stdout).to.equal(`${home}\n${home}\n`);
      expect((await sh(container, 'pwd', { user: 'root' })).stdout).to.equal(`${containerPath}/rootfs\n`);
      expect((await sh(container, 'pwd', { dir: '/a/b' })).stdout).to.equal(`${containerPath}/rootfs/a/b\n`);
    });

    it('keeps its user, whoever is asked for', async () => {
      const { stdout } = await sh(await create(), 'id -u', { user: 'nobody-here' });
      expect(stdout).to.equal(`${process.getuid!()}\n`);
    });

    it('has the limits that it is given', async () => {
      const { stdout } = await sh(await create(), 'ulimit -n; ulimit -Hn', { rlimits: { nofile: 123, nproc: 1 } });
      expect(stdout).to.equal('123\n123\n');
    });

    it('is signalled alone, right after run', async () => {
      const process = await (await create()).run({ path: 'sleep', args: ['60'] });
      await process.signal('terminate');
      expect(await process.wait()).to.equal(143);
    });

    it('may signal its process group without losing its exit status', async () => {
      expect((await sh(await create(), 'kill -9 0')).status).to.equal(137);
    });

    it('has a terminal of the size asked for, which can be changed', async () => {
      const stdout = new Collector();
      const script = 'stty size; trap "stty size; exit 4" WINCH; echo ready; while :; do sleep 0.05; done';
      const process = await (await create()).run(
        { path: 'bash', args: ['-c', script], tty: { columns: 123, rows: 45 } },
        { stdin: new PassThrough(), stdout },
      );
      await eventually(() => expect(stdout.text).to.equal('45 123\r\nready\r\n'));
      await process.resize(200, 50);
      expect(await process.wait()).to.equal(4);
      expect(stdout.text).to.match(/50 200\r\n$/);
    });

    it('is refused when its program does not exist', async () => {
      const container = await create();
      await rejection(container.run({ path: 'no-such-program' }), ExecutableNotFoundError);
      await rejection(container.run({ path: '/no/such/program' }), ExecutableNotFoundError);
      expect((await container.info()).processIds).to.deep.equal([]);
    });

    it('is refused when its id is in use, or no name', async () => {
      const container = await create();
      await container.run({ id: '1', path: 'true' });
      await rejection(container.run({ id: '1', path: 'true' }), ProcessIdInUseError);
      await rejection(container.run({ id: '../x', path: 'true' }), InvalidSpecError);
    });

    it('can be joined by several, also after its end', async () => {
      const container = await create();
      await container.run({ id: 'p', path: 'sh', args: ['-c', 'echo hi; exit 12'] });
      for (let round = 0; round < 3; round += 1) {
        const stdout = new Collector();
        const joined = await container.attach('p', { stdout });
        expect([await joined.wait(), await joined.wait(), stdout.text]).to.deep.equal([12, 12, 'hi\n']);
      }
      await rejection(container.attach('q'), UnknownProcessError);
    });
  });

  describe('a restart', () => {
    it('leaves processes running and learns of their ends', async () => {
      const container = await create({ handle: 'h', properties: { a: 'b' }, netIn: [{}] });
      const script = 'for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.05; done; exit 9';
      await container.run({ id: 'long', path: 'sh', args: ['-c', script] });
      await container.run({ id: 'short', path: 'sh', args: ['-c', 'echo done; exit 5'] });
      const before = await container.info();
      await engine.stop();
      const exit = join(depot(), 'h/processes/short/exit');
      await eventually(async () => expect(await readFile(exit, 'utf8')).to.match(/^5\n.*\n.*\n$/));
      engine = newEngine();
      await engine.start();

      const found = await engine.lookup('h');
      const after = await found.info();
      expect(after.mappedPorts).to.deep.equal(before.mappedPorts);
      expect(after.properties).to.deep.equal({ a: 'b' });
      expect(after.processIds).to.deep.equal(['long']);
      const [long, short] = [new Collector(), new Collector()];
      expect(await (await found.attach('short', { stdout: short })).wait()).to.equal(5);
      expect(await (await found.attach('long', { stdout: long })).wait()).to.equal(9);
      expect(short.text).to.equal('done\n');
      expect(long.text).to.equal('1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n');
    });

    it('finds what a killed engine left: processes, output and exit statuses', async () => {
      const program = `
        import { createProcessEngine } from ${JSON.stringify(join(process.cwd(), 'lib/containers/process/process-engine.ts'))};
        import { silentLogger } from ${JSON.stringify(join(process.cwd(), 'lib/logging/logger.ts'))};
        const engine = createProcessEngine({ depotDirectory: ${JSON.stringify(depot())}, logger: silentLogger });
        await engine.start();
        const container = await engine.create({ handle: 'h', rootfs: '/' });
        await container.run({ id: 'p', path: 'sh', args: ['-c', 'echo before; until [ -e go ]; do sleep 0.02; done; echo after; exit 7'] });
        console.log('running');
        setInterval(() => {}, 1000);`;
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
      await writeFile(join(depot(), 'h/rootfs/go'), '');
      await restart();
      const stdout = new Collector();
      const found = await (await engine.lookup('h')).attach('p', { stdout });
      expect(await found.wait()).to.equal(7);
      expect(stdout.text).to.equal('before\nafter\n');
    });

    it('removes a container whose creation was interrupted', async () => {
      await engine.stop();
      await mkdir(join(depot(), 'half/rootfs'), { recursive: true });
      engine = newEngine();
      await engine.start();
      expect(await readdir(depot())).to.deep.equal([]);
    });

    it('finishes an interrupted destruction, processes included', async () => {
      const container = await create({ handle: 'h' });
      await container.run({ path: 'sleep', args: ['60'] });
      await engine.stop();
      const state = join(depot(), 'h/state.json');
      await writeFile(state, (await readFile(state, 'utf8')).replace('"active"', '"destroying"'));
      engine = newEngine();
      await engine.start();
      expect(await engine.list()).to.deep.equal([]);
      expect(await processesOf('h')).to.deep.equal([]);
      expect(await readdir(depot())).to.deep.equal([]);
    });

    it('leaves a container alone whose record cannot be read', async () => {
      await engine.stop();
      await mkdir(join(depot(), 'odd'), { recursive: true });
      await writeFile(join(depot(), 'odd/state.json'), '{');
      engine = newEngine();
      await engine.start();
      expect(existsSync(join(depot(), 'odd/state.json'))).to.equal(true);
      expect(await engine.list()).to.deep.equal([]);
    });
  });

  describe('a container', () => {
    it('is known by its handle, once', async () => {
      const container = await create({ handle: 'h', properties: { owner: 'dea' } });
      await rejection(create({ handle: 'h' }), HandleInUseError);
      expect((await engine.lookup('h')).handle).to.equal('h');
      expect((await engine.list({ owner: 'dea' })).map(({ handle }) => handle)).to.deep.equal(['h']);
      expect(await engine.list({ owner: 'rep' })).to.deep.equal([]);
      await container.setProperty('owner', 'rep');
      expect((await engine.list({ owner: 'rep' })).map(({ handle }) => handle)).to.deep.equal(['h']);
      await rejection(engine.lookup('i'), UnknownHandleError);
    });

    it('can be created by one only of many at once', async () => {
      const results = await Promise.allSettled(Array.from({ length: 10 }, () => create({ handle: 'h' })));
      expect(results.filter(({ status }) => status === 'fulfilled').length).to.equal(1);
      expect((await engine.list()).length).to.equal(1);
    });

    it('is not made from a wrong description, and leaves nothing', async () => {
      await rejection(create({ handle: '../x' }), InvalidSpecError);
      await rejection(create({ env: ['NOVALUE'] }), InvalidSpecError);
      await rejection(create({ rootfs: 'relative' }), InvalidSpecError);
      const mount = { source: '/no/such/source', destination: '/x', mode: 'ro' } as const;
      await rejection(create({ handle: 'm', bindMounts: [mount] }), InvalidSpecError);
      expect(await readdir(depot())).to.deep.equal([]);
    });

    it('shows directories of the host where they are mounted', async () => {
      const source = join(directory, 'source');
      await mkdir(source);
      await writeFile(join(source, 'tool'), '#!/bin/sh\necho from the mount\n', { mode: 0o755 });
      const container = await create({ bindMounts: [{ source, destination: '/opt/tools', mode: 'ro' }] });
      expect((await sh(container, 'true', { path: '/opt/tools/tool' })).stdout).to.equal('from the mount\n');
      expect((await sh(container, 'cat tool', { dir: '/opt/tools' })).stdout).to.match(/from the mount/);
      await engine.destroy(container.handle);
      expect(await readdir(source)).to.deep.equal(['tool']);
    });

    it('stops all of its processes, those included that left their session and parent', async () => {
      const container = await create({ handle: 'h' });
      const script = 'setsid sh -c "sleep 61 & sleep 62" & (sleep 63 &) ; env -i setsid sleep 64 & sleep 65';
      await container.run({ path: 'sh', args: ['-c', script] });
      await eventually(async () => expect((await processesOf('h')).length).to.be.at.least(6));
      await container.stop({ graceTimeMs: 5000 });
      expect(await processesOf('h')).to.deep.equal([]);
      expect((await container.info()).state).to.equal('stopped');
      await rejection(container.run({ path: 'true' }), Error);
    });

    it('kills after the grace time what does not obey', async () => {
      const container = await create();
      const stdout = new Collector();
      const script = 'trap "" TERM; echo ready; while :; do sleep 0.1; done';
      const process = await container.run({ path: 'sh', args: ['-c', script] }, { stdout });
      await eventually(() => expect(stdout.text).to.equal('ready\n'));
      const startedAtMs = Date.now();
      await container.stop({ graceTimeMs: 300 });
      expect(await process.wait()).to.equal(137);
      expect(Date.now() - startedAtMs).to.be.within(300, 5000);
    });

    it('is gone after its destruction, with its processes and files', async () => {
      const container = await create({ handle: 'h' });
      const process = await container.run({ path: 'sh', args: ['-c', 'mkdir -p a/b; chmod 0 a; sleep 60'] });
      await Promise.all([engine.destroy('h'), engine.destroy('h')]);
      expect(await process.wait()).to.equal(137);
      expect(await processesOf('h')).to.deep.equal([]);
      expect(await readdir(depot())).to.deep.equal([]);
      await rejection(engine.destroy('h'), UnknownHandleError);
      await create({ handle: 'h' });
    });

    it('is destroyed when nobody referred to it for its grace time, but not while somebody waits', async () => {
      const container = await create({ handle: 'h', graceTimeMs: 150 });
      expect((await sh(container, 'sleep 0.4')).status).to.equal(0);
      await eventually(async () => expect(await readdir(depot())).to.deep.equal([]));
    });

    it('is told and killed when it is over its memory limit', async () => {
      const container = await create({ limits: { memoryBytes: 64 << 20 } });
      const events: string[] = [];
      container.onEvent((event) => events.push(event));
      const script = 'my $x = "x" x (200 << 20); sleep 60';
      const process = await container.run({ path: 'perl', args: ['-e', script] });
      expect(await process.wait()).to.equal(137);
      expect((await container.info()).events).to.deep.equal(['out of memory']);
      expect(events).to.deep.equal(['out of memory']);
    });

    it('is measured: memory, processor time, disk and processes', async () => {
      const container = await create({ limits: { maxPids: 50 } });
      await sh(container, 'head -c 3000000 /dev/zero > file; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done');
      await container.run({ path: 'sleep', args: ['60'] });
      await eventually(async () => expect((await container.metrics()).cpu.usageNs).to.be.above(0));
      const metrics = await container.metrics();
      expect(metrics.disk.bytesUsed).to.be.within(3_000_000, 4_000_000);
      expect(metrics.memory.usageBytes).to.be.above(100_000);
      expect(metrics.pids).to.deep.equal({ current: 1, max: 50 });
      const bulk = await engine.bulkMetrics([container.handle, 'nope']);
      expect(bulk.get('nope')).to.be.instanceOf(UnknownHandleError);
    });

    it('has ports that are free on the host, the same inside and outside', async () => {
      const container = await create();
      const mapping = await container.netIn();
      expect(mapping.containerPort).to.equal(mapping.hostPort);
      const server = createServer().listen(mapping.hostPort, '127.0.0.1');
      await once(server, 'listening');
      server.close();
      expect((await container.info()).mappedPorts).to.deep.equal([mapping]);
    });

    it('does not hand out a port that somebody listens on', async () => {
      const server = createServer().listen(0, '0.0.0.0');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const tiny = createProcessEngine({
        depotDirectory: join(directory, 'tiny'),
        portPoolStart: port,
        portPoolSize: 1,
        logger: silentLogger,
      });
      await tiny.start();
      await rejection(tiny.create({ rootfs: '/', netIn: [{}] }), Error);
      expect(await readdir(join(directory, 'tiny'))).to.deep.equal([]);
      server.close();
      await once(server, 'close');
      const container = await tiny.create({ rootfs: '/', netIn: [{}] });
      expect((await container.info()).mappedPorts).to.deep.equal([{ hostPort: port, containerPort: port }]);
      await tiny.destroy(container.handle);
      await tiny.release();
    });

    it('changes the limits given and leaves the others', async () => {
      const container = await create({ limits: { memoryBytes: 1 << 30, disk: { bytes: 1, inodes: 2 } } });
      await container.limit({ disk: { bytes: 5 } });
      expect(await container.limits()).to.deep.equal({ memoryBytes: 1 << 30, disk: { bytes: 5, inodes: 2 } });
    });
  });

  describe('tar streams', () => {
    it('go out of one container and into another', async () => {
      const [from, to] = [await create(), await create()];
      await sh(from, 'mkdir -p d/e; echo text > d/e/file; ln -s e d/link', { user: 'vcap' });
      await to.streamIn({ path: '/in', tar: await from.streamOut({ path: '/home/vcap/d' }) });
      await to.streamIn({ path: 'content', user: 'vcap', tar: await from.streamOut({ path: 'd/', user: 'vcap' }) });
      expect((await sh(to, 'cat in/d/e/file home/vcap/content/e/file; readlink in/d/link')).stdout).to.equal(
        'text\ntext\ne\n',
      );
    });

    it('bear the name that was asked for where that is a mount', async () => {
      const source = join(directory, 'source');
      await mkdir(source);
      await writeFile(join(source, 'file'), 'x');
      const container = await create({ bindMounts: [{ source, destination: '/opt/data', mode: 'rw' }] });
      await container.streamIn({ path: '/copy', tar: await container.streamOut({ path: '/opt/data' }) });
      expect((await sh(container, 'ls -A copy copy/data')).stdout).to.equal('copy:\ndata\n\ncopy/data:\nfile\n');
    });

    it('may be followed by anything, which is taken and thrown away', async () => {
      const [from, to] = [await create(), await create()];
      await sh(from, 'echo text > file');
      const padded = new PassThrough();
      const extracting = to.streamIn({ path: '/in', tar: padded });
      for await (const chunk of await from.streamOut({ path: '/file' })) padded.write(chunk);
      padded.end(Buffer.alloc(4 << 20));
      await extracting;
      await eventually(() => expect(padded.readableEnded).to.equal(true));
      expect((await sh(to, 'cat in/file')).stdout).to.equal('text\n');
    });

    it('are refused when broken, cut short, or of nothing', async () => {
      const container = await create();
      await rejection(container.streamOut({ path: '/nothing' }), Error);
      const garbage = new PassThrough();
      garbage.end('this is no archive, whatever it may look like');
      await rejection(container.streamIn({ path: '/in', tar: garbage }), Error);
      const cut = new PassThrough();
      const extracting = container.streamIn({ path: '/in', tar: cut });
      cut.write('half');
      cut.destroy(new Error('cut'));
      await rejection(extracting, Error);
    });
  });
});

async function rejection(promise: Promise<unknown>, kind: abstract new (...args: never[]) => Error): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(kind);
}
