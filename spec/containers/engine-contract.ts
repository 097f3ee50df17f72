import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { extract, pack } from 'tar-stream';
import type { Container, ContainerEngine, ContainerSpec, ProcessIO, ProcessSpec } from '../../lib/containers/engine.js';
import {
  ExecutableNotFoundError,
  HandleInUseError,
  InvalidSpecError,
  ProcessIdInUseError,
  UnknownHandleError,
  UnknownProcessError,
  UnknownPropertyError,
} from '../../lib/containers/errors.js';
import { Collector } from '../support/collector.js';
import { eventually } from '../support/eventually.js';

/** An engine under test, with the means to take it away and bring it back. */
export interface EngineSubject {
  /** Started. */
  readonly engine: ContainerEngine;
  /** A root file system to make containers from. */
  readonly rootfs: string;
  /** Stops the engine and starts another one over the same depot; `engine` is then the new one. */
  restart(): Promise<void>;
  /** Destroys all containers and gives back everything. */
  dispose(): Promise<void>;
}

/** What a protocol in front of an engine may have no word for. */
export type Lack =
  /** Limits cannot be changed. */
  | 'limit'
  /** Who attaches is not given the output from its beginning. */
  | 'replay'
  /** Output is always kept. */
  | 'discard'
  /** Processes cannot have a terminal, and are refused when they ask for one. */
  | 'terminals'
  /** Variables come to a process in another order than they were given in. */
  | 'environment order'
  /** The directory of a container on the host is named by something else than its handle. */
  | 'handle in path';

export interface EngineContractOptions {
  makeSubject: () => Promise<EngineSubject>;
  /** Whether containers have users, a root file system, terminals and limits of their own. */
  isIsolated: boolean;
  /** What the way to the engine has no word for; the contract then asks for less, or for a refusal. */
  lacks?: Lack[];
}

/** Runs a process to its end and gives all that it said. */
export async function runToEnd(
  container: Container,
  spec: ProcessSpec,
  stdin?: ProcessIO['stdin'],
): Promise<{ status: number; stdout: string; stderr: string }> {
  const stdout = new Collector();
  const stderr = new Collector();
  const process = await container.run(spec, { stdout, stderr, ...(stdin !== undefined && { stdin }) });
  const status = await process.wait();
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** `sh -c script` as a process description. */
export function script(text: string, spec: Partial<ProcessSpec> = {}): ProcessSpec {
  return { path: '/bin/sh', args: ['-c', text], ...spec };
}

/** The error that a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  );
}

async function entriesOf(archive: Readable): Promise<Map<string, string>> {
  const entries = new Map<string, string>();
  const extraction = extract();
  archive.on('error', (error) => extraction.destroy(error));
  archive.pipe(extraction);
  for await (const entry of extraction) entries.set(entry.header.name, (await buffer(entry)).toString());
  return entries;
}

/** What every container engine must do, whatever it is made of. */
export function describeEngineContract(name: string, options: EngineContractOptions): void {
  describe(`the container engine contract, kept by ${name}`, function () {
    this.timeout(30_000);
    let subject: EngineSubject;
    let scratch: string;

    const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
    const itWhenIsolated = options.isIsolated ? it : () => {};
    const itUnlessLacking = (verb: Lack) => (options.lacks?.includes(verb) ? () => {} : it);

    before(async () => {
      subject = await options.makeSubject();
      scratch = await mkdtemp(join(tmpdir(), 'contract-'));
      // Root in a container is nobody outside.
      await chmod(scratch, 0o777);
    });

    after(async () => {
      await subject.dispose();
      await rm(scratch, { recursive: true, force: true });
    });

    afterEach(async () => {
      const containers = await subject.engine.list();
      await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
    });

    describe('containers', () => {
      it('are found by their handle and by their properties', async () => {
        await create({ handle: 'one', properties: { owner: 'dea', app: 'a' } });
        await create({ handle: 'two', properties: { owner: 'staging', app: 'a' } });

        const handles = async (filter?: Record<string, string>) =>
          (await subject.engine.list(filter)).map((container) => container.handle).sort();
        expect((await subject.engine.lookup('one')).handle).to.equal('one');
        expect(await handles()).to.deep.equal(['one', 'two']);
        expect(await handles({ app: 'a', owner: 'dea' })).to.deep.equal(['one']);
        expect(await handles({ app: 'b' })).to.deep.equal([]);
      });

      it('get a handle when none is asked for', async () => {
        const container = await create();
        expect(container.handle).to.match(/^[A-Za-z0-9_+.-]+$/);
        expect(await subject.engine.lookup(container.handle)).to.equal(container);
      });

      it('have their handle for themselves, also against a creation that is under way', async () => {
        const outcomes = await Promise.allSettled([create({ handle: 'same' }), create({ handle: 'same' })]);
        const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
        expect(failures).to.have.lengthOf(1);
        expect(failures[0]).to.be.instanceOf(HandleInUseError);
        expect(await failureOf(create({ handle: 'same' }))).to.be.instanceOf(HandleInUseError);
      });

      it('are refused with a handle that could be a path', async () => {
        for (const handle of ['', '.', '..', 'a/b', '../x', 'a\0b']) {
          expect(await failureOf(create({ handle })), handle).to.be.instanceOf(InvalidSpecError);
        }
      });

      it('are refused when their root file system does not exist, and leave nothing behind', async () => {
        const failure = await failureOf(create({ handle: 'gone', rootfs: join(scratch, 'nothing') }));
        expect(failure).to.be.instanceOf(Error);
        expect(await subject.engine.list()).to.deep.equal([]);
        await create({ handle: 'gone' });
      });

      it('are unknown after their destruction, and their handle is free', async () => {
        const container = await create({ handle: 'again' });
        await subject.engine.destroy('again');

        expect(await failureOf(subject.engine.lookup('again'))).to.be.instanceOf(UnknownHandleError);
        expect(await failureOf(subject.engine.destroy('again'))).to.be.instanceOf(UnknownHandleError);
        expect(await failureOf(container.info())).to.be.instanceOf(UnknownHandleError);
        expect((await create({ handle: 'again' })).handle).to.equal('again');
      });

      it('keep properties that can be set and removed', async () => {
        const container = await create({ properties: { a: '1' } });
        await container.setProperty('b', '2');
        await container.removeProperty('a');

        expect(await container.properties()).to.deep.equal({ b: '2' });
        expect((await container.info()).properties).to.deep.equal({ b: '2' });
        expect(await failureOf(container.removeProperty('a'))).to.be.instanceOf(UnknownPropertyError);
      });

      it('tell about themselves, one by one and in bulk', async () => {
        const container = await create({ handle: 'told' });
        const info = await container.info();
        expect(info).to.include({ state: 'active' });
        expect(info.events).to.deep.equal([]);
        expect(info.containerPath).to.match(options.lacks?.includes('handle in path') ? /^\// : /told/);

        const metrics = await container.metrics();
        expect(metrics.cpu.usageNs).to.be.at.least(0);
        expect(metrics.disk.bytesUsed).to.be.at.least(0);
        expect(metrics.ageMs).to.be.within(0, 60_000);

        const infos = await subject.engine.bulkInfo(['told', 'nobody']);
        expect(infos.get('told')).to.have.property('state', 'active');
        expect(infos.get('nobody')).to.be.instanceOf(UnknownHandleError);
        const allMetrics = await subject.engine.bulkMetrics(['told', 'nobody']);
        expect(allMetrics.get('told')).to.have.nested.property('pids.current');
        expect(allMetrics.get('nobody')).to.be.instanceOf(UnknownHandleError);
      });

      it('are destroyed when nobody refers to them for the grace time, and not while someone waits', async () => {
        const container = await create({ handle: 'short', graceTimeMs: 300 });
        const process = await container.run(script('sleep 0.8; exit 4'));
        expect(await process.wait()).to.equal(4);
        await eventually(async () => ((await subject.engine.list()).length === 0 ? true : undefined), {
          timeoutMs: 5_000,
          what: 'the end of the grace time',
        });
      });
    });

    describe('processes', () => {
      let container: Container;

      beforeEach(async () => {
        container = await create({ env: ['FROM_CONTAINER=c', 'TEST=container'] });
      });

      it('give their output and exit status', async () => {
        const result = await runToEnd(container, script('echo out; echo err >&2; exit 3'));
        expect(result).to.deep.equal({ status: 3, stdout: 'out\n', stderr: 'err\n' });
      });

      it('give bytes as they are, also without a newline at the end', async () => {
        const stdout = new Collector();
        const process = await container.run(script("printf 'a\\0\\377\\n\\nb'"), { stdout });
        await process.wait();
        expect(stdout.bytes).to.deep.equal(Buffer.from([0x61, 0, 0xff, 0x0a, 0x0a, 0x62]));
      });

      it('have handed over all output before they are reported ended', async () => {
        for (let round = 0; round < 10; round += 1) {
          const { stdout, status } = await runToEnd(container, script(`seq 1 5000; exit ${round}`));
          expect(status).to.equal(round);
          expect(stdout.length).to.equal(23_893);
        }
      });

      it('read a text from standard input', async () => {
        const text = 'read line; echo "got $line"; exit 5\nsomething\n';
        const { stdout, status } = await runToEnd(container, { path: '/bin/bash' }, text);
        expect({ stdout, status }).to.deep.equal({ stdout: 'got something\n', status: 5 });
      });

      it('read a stream from standard input to its last byte', async () => {
        const bytes = randomBytes(1_500_000);
        const pieces = Array.from({ length: 15 }, (_, index) => bytes.subarray(index * 100_000, (index + 1) * 100_000));
        const { stdout } = await runToEnd(container, script('sleep 0.3; md5sum'), Readable.from(pieces));
        expect(stdout.split(' ')[0]).to.equal(createHash('md5').update(bytes).digest('hex'));
      });

      it('find their standard input empty when none is given', async () => {
        expect((await runToEnd(container, { path: 'cat' })).status).to.equal(0);
      });

      it('do not mind input that they never read', async () => {
        const { status } = await runToEnd(container, script('exit 6'), randomBytes(300_000));
        expect(status).to.equal(6);
      });

      it('have the environment of the container and their own, the last value of a name in its place', async () => {
        const env = ['TEST=hello', 'FRUIT=banana'];
        const { stdout } = await runToEnd(container, { path: 'env', env });
        expect(stdout).to.include('FROM_CONTAINER=c\n');
        if (options.lacks?.includes('environment order')) {
          expect(stdout.split('\n')).to.include.members(['TEST=hello', 'FRUIT=banana']);
        } else {
          expect(stdout).to.include('TEST=hello\nFRUIT=banana\n');
        }
        expect(stdout)
          .to.match(/^PATH=\S+$/m)
          .and.to.match(/^USER=\S+$/m)
          .and.to.match(/^HOME=\S+$/m);
        expect(stdout).not.to.include('TEST=container');
      });

      it('are refused with an environment entry that is none', async () => {
        const failure = await failureOf(container.run({ path: 'env', env: ['NOTHING'] }));
        expect(failure).to.be.instanceOf(InvalidSpecError);
      });

      it('are reported as missing when there is no such executable', async () => {
        for (const path of ['no-such-program', '/no/such/program']) {
          const failure = await failureOf(container.run({ path }));
          expect(failure, path).to.be.instanceOf(ExecutableNotFoundError);
        }
        expect((await container.info()).processIds).to.deep.equal([]);
      });

      it('end with 128 and the signal', async () => {
        const killed = await container.run(script('sleep 100'));
        await killed.signal('kill');
        expect(await killed.wait()).to.equal(137);

        const stdout = new Collector();
        const trapping = await container.run(script("trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"), {
          stdout,
        });
        await eventually(() => (stdout.text === 'ready\n' ? true : undefined));
        await trapping.signal('terminate');
        expect(await trapping.wait()).to.equal(42);
      });

      it('have an id of their own', async () => {
        const process = await container.run(script('sleep 100', { id: 'web-1' }));
        expect(process.id).to.equal('web-1');
        expect((await container.info()).processIds).to.deep.equal(['web-1']);
        expect(await failureOf(container.run(script('true', { id: 'web-1' })))).to.be.instanceOf(ProcessIdInUseError);
        await process.signal('kill');
        await process.wait();
        expect((await container.info()).processIds).to.deep.equal([]);
      });

      itUnlessLacking('replay')('can be joined by several, each of whom gets everything', async () => {
        const process = await container.run(
          script('for i in 1 2 3; do echo $i; sleep 0.1; done; exit 12', { id: 'p' }),
        );
        const outputs = [new Collector(), new Collector(), new Collector()];
        const attached = await Promise.all(outputs.map((stdout) => container.attach('p', { stdout })));

        expect(await Promise.all([process, ...attached].map((one) => one.wait()))).to.deep.equal([12, 12, 12, 12]);
        expect(outputs.map((output) => output.text)).to.deep.equal(Array(3).fill('1\n2\n3\n'));
      });

      it('can be joined after their end', async () => {
        const process = await container.run(script('echo before; exit 7', { id: 'p' }));
        await process.wait();
        const stdout = new Collector();
        const attached = await container.attach('p', { stdout });
        expect(await attached.wait()).to.equal(7);
        expect(await attached.wait()).to.equal(7);
        expect(stdout.text).to.equal('before\n');
      });

      it('are unknown under another id', async () => {
        expect(await failureOf(container.attach('nothing'))).to.be.instanceOf(UnknownProcessError);
      });

      itUnlessLacking('discard')('keep no output when that is asked for', async () => {
        const process = await container.run(script('echo lost; exit 1', { id: 'p', discardOutput: true }));
        expect(await process.wait()).to.equal(1);
        const stdout = new Collector();
        await (await container.attach('p', { stdout })).wait();
        expect(stdout.text).to.equal('');
      });

      it('start in the directory that is asked for', async () => {
        expect((await runToEnd(container, script('pwd', { dir: '/usr' }))).stdout.trim()).to.match(/\/usr$/);
        expect(await failureOf(container.run({ path: 'true', dir: 'relative' }))).to.be.instanceOf(InvalidSpecError);
      });

      it('have the resource limits that are asked for', async () => {
        const { stdout } = await runToEnd(container, script('ulimit -n; ulimit -Hn', { rlimits: { nofile: 321 } }));
        expect(stdout).to.equal('321\n321\n');
      });

      itWhenIsolated('have a terminal that can be resized', async () => {
        if (options.lacks?.includes('terminals')) {
          expect(await failureOf(container.run(script('stty size', { tty: {} })))).to.be.instanceOf(InvalidSpecError);
          return;
        }
        const stdout = new Collector();
        // A runtime may set the size only just after the start.
        const sizeKnown = 'until [ "$(stty size)" != "0 0" ]; do :; done; stty size';
        const text = `${sizeKnown}; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done`;
        const process = await container.run(script(text, { tty: { columns: 123, rows: 45 } }), { stdout });
        await eventually(() => (stdout.text.includes('ready\r\n') ? true : undefined));
        await process.resize(80, 24);
        expect(await process.wait()).to.equal(0);
        expect(stdout.text).to.equal('45 123\r\nready\r\n24 80\r\n');
      });
    });

    describe('stopping', () => {
      it('lets processes end well, and kills those that do not', async () => {
        const container = await create();
        const stdout = new Collector();
        const obedient = await container.run(script("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"), {
          stdout,
        });
        const stubborn = await container.run(script("trap '' TERM; echo ready; while :; do sleep 0.05; done"), {
          stdout,
        });
        await eventually(() => (stdout.text === 'ready\nready\n' ? true : undefined));
        await container.stop({ graceTimeMs: 700 });

        expect(await obedient.wait()).to.equal(3);
        expect(await stubborn.wait()).to.equal(137);
        expect((await container.info()).state).to.equal('stopped');
        expect((await container.info()).processIds).to.deep.equal([]);
      });

      it('does not wait for the grace time when everything has ended', async () => {
        const container = await create();
        await container.run(script('sleep 100'));
        const startedAt = performance.now();
        await container.stop({ graceTimeMs: 10_000 });
        expect(performance.now() - startedAt).to.be.below(3_000);
      });

      it('kills at once when that is asked for', async () => {
        const container = await create();
        const process = await container.run(script("trap '' TERM; while :; do sleep 0.05; done"));
        await container.stop({ kill: true });
        expect(await process.wait()).to.equal(137);
      });

      it('leaves files to be read', async () => {
        const container = await create();
        // Relative: where nothing is isolated, an absolute path in a script is the host's.
        await runToEnd(container, script('mkdir -p tmp/kept && echo kept > tmp/kept/file', { dir: '/' }));
        await container.stop({ kill: true });
        const entries = await entriesOf(await container.streamOut({ path: '/tmp/kept/' }));
        expect(entries.get('./file')).to.equal('kept\n');
      });

      it('ends waiting for processes when the container is destroyed', async () => {
        const container = await create({ handle: 'doomed' });
        const process = await container.run(script('sleep 100'));
        const waiting = process.wait();
        await subject.engine.destroy('doomed');
        expect(await waiting).to.equal(137);
      });
    });

    describe('files', () => {
      const archive = (files: Record<string, string>) => {
        const tar = pack();
        for (const [entry, content] of Object.entries(files)) tar.entry({ name: entry }, content);
        tar.finalize();
        return tar as unknown as Readable;
      };

      it('go in and out as tar streams, a directory itself or its content', async () => {
        const container = await create();
        await container.streamIn({ path: '/tmp/new/place', tar: archive({ 'a.txt': 'A', 'sub/b.txt': 'B' }) });

        const content = await entriesOf(await container.streamOut({ path: '/tmp/new/place/' }));
        expect(Object.fromEntries([...content].filter(([entry]) => !entry.endsWith('/')))).to.deep.equal({
          './a.txt': 'A',
          './sub/b.txt': 'B',
        });
        const itself = await entriesOf(await container.streamOut({ path: '/tmp/new/place' }));
        expect([...itself.keys()][0]).to.equal('place/');
        expect(itself.get('place/sub/b.txt')).to.equal('B');
        const single = await entriesOf(await container.streamOut({ path: '/tmp/new/place/a.txt' }));
        expect([...single]).to.deep.equal([['a.txt', 'A']]);
      });

      it('are an error when they do not exist', async () => {
        const container = await create();
        expect(await failureOf(container.streamOut({ path: '/no/such/file' }))).to.be.instanceOf(Error);
        expect(await failureOf(container.streamOut({ path: '/no/such/directory/' }))).to.be.instanceOf(Error);
      });

      it('are an error when the archive is broken off or no archive', async () => {
        const container = await create();
        const whole = await buffer(archive({ big: 'x'.repeat(50_000) }));
        const truncated = Readable.from([whole.subarray(0, 20_000)]);
        expect(await failureOf(container.streamIn({ path: '/tmp/t', tar: truncated }))).to.be.instanceOf(Error);
        const garbage = Readable.from([Buffer.alloc(5_000, 'no tar ')]);
        expect(await failureOf(container.streamIn({ path: '/tmp/t', tar: garbage }))).to.be.instanceOf(Error);

        const breakingOff = new Readable({ read() {} });
        breakingOff.push(whole.subarray(0, 20_000));
        const streaming = container.streamIn({ path: '/tmp/t', tar: breakingOff });
        breakingOff.destroy(new Error('the sender is gone'));
        expect(await failureOf(streaming)).to.be.instanceOf(Error);
      });

      itWhenIsolated('come in by bind mounts, as they are allowed to be used', async () => {
        await writeFile(join(scratch, 'given'), 'from the host');
        const container = await create({
          bindMounts: [
            { source: scratch, destination: '/mnt/ro', mode: 'ro' },
            { source: scratch, destination: '/mnt/deep/rw', mode: 'rw' },
          ],
        });
        const { stdout } = await runToEnd(
          container,
          script('cat /mnt/ro/given; echo x > /mnt/ro/new; echo rw > /mnt/deep/rw/made; cat /mnt/ro/made'),
        );
        expect(stdout).to.equal('from the hostrw\n');
      });

      it('are refused as bind mounts when their source is missing', async () => {
        const bindMounts = [{ source: join(scratch, 'missing'), destination: '/mnt', mode: 'ro' as const }];
        expect(await failureOf(create({ bindMounts }))).to.be.instanceOf(InvalidSpecError);
        expect(await subject.engine.list()).to.deep.equal([]);
      });
    });

    describe('ports and limits', () => {
      it('are mapped to a number that is free, and listed', async () => {
        const container = await create({ netIn: [{}] });
        const mapping = await container.netIn();
        const { mappedPorts } = await container.info();
        expect(mappedPorts).to.have.lengthOf(2);
        expect(mappedPorts).to.deep.include(mapping);
        expect(mapping.hostPort).to.be.within(1, 65_535);
        expect(new Set(mappedPorts.map(({ hostPort }) => hostPort)).size).to.equal(2);
      });

      itUnlessLacking('limit')('are told as they were asked for, and changed one by one', async () => {
        const container = await create({ limits: { memoryBytes: 64 * 1024 * 1024, cpuShares: 128 } });
        await container.limit({ memoryBytes: 128 * 1024 * 1024 });
        expect(await container.limits()).to.deep.equal({ memoryBytes: 128 * 1024 * 1024, cpuShares: 128 });
        expect(await failureOf(container.limit({ memoryBytes: -1 }))).to.be.instanceOf(InvalidSpecError);
      });

      it('accepts rules for outbound traffic', async () => {
        const container = await create();
        await container.netOut([
          { protocol: 'tcp', networks: [{ start: '10.1.1.1', end: '10.1.1.9' }], ports: [{ start: 80, end: 443 }] },
        ]);
      });
    });

    describe('a restart of the engine', () => {
      it('finds containers, their properties and ports as they were', async () => {
        const container = await create({ handle: 'kept', properties: { a: '1' }, limits: { maxPids: 50 } });
        await container.setProperty('b', '2');
        await container.netIn();
        const before = await container.info();
        await subject.restart();

        const after = await subject.engine.lookup('kept');
        expect(await after.info()).to.deep.equal(before);
        expect(await after.limits()).to.deep.equal({ maxPids: 50 });
      });

      it('joins processes again: their output from its beginning, what follows and their exit status', async () => {
        const container = await create({ handle: 'kept' });
        const go = 'tmp/go';
        await container.run(
          script(`echo first; while [ ! -e ${go} ]; do sleep 0.05; done; echo second; exit 21`, { id: 'p', dir: '/' }),
        );
        await subject.restart();

        const after = await subject.engine.lookup('kept');
        expect((await after.info()).processIds).to.deep.equal(['p']);
        const stdout = new Collector();
        const process = await after.attach('p', { stdout });
        await eventually(() => (stdout.text === 'first\n' ? true : undefined));
        await runToEnd(after, script(`touch ${go}`, { dir: '/' }));
        expect(await process.wait()).to.equal(21);
        expect(stdout.text).to.equal('first\nsecond\n');
      });
    });
  });
}
