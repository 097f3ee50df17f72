import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import type { Container, ProcessSpec } from '../../../lib/containers/engine.js';
import { InvalidSpecError, UnknownHandleError } from '../../../lib/containers/errors.js';
import { WardenEngine } from '../../../lib/containers/warden/client/warden-engine.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { Collector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { startWardenEngine } from '../../support/warden.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

const mib = 1024 * 1024;

describe('a client of a Warden server', function () {
  this.timeout(60_000);
  let subject: Awaited<ReturnType<typeof startWardenEngine>>;
  let container: Container;

  before(async () => {
    subject = await startWardenEngine();
  });

  after(() => subject.dispose());

  beforeEach(async () => {
    container = await subject.engine.create({ handle: 'c' });
  });

  afterEach(async () => {
    const containers = await subject.engine.list();
    await Promise.all(containers.map(({ handle }) => subject.engine.destroy(handle)));
    expect(await readdir(join(dirname(subject.warden.socketPath), 'scratch')).catch(() => [])).to.deep.equal([]);
  });

  it('says clearly what Warden has no word for', async () => {
    const specs: [Partial<ProcessSpec>, string][] = [
      [{ user: 'alice' }, 'user: Warden runs processes as root or vcap, not as "alice"'],
      [{ user: 'vcap:root' }, 'user'],
      [{ image: '/somewhere' }, 'image'],
      [{ limits: {} }, 'limits'],
      [{ tty: {} }, 'tty'],
    ];
    for (const [spec, text] of specs) {
      const failure = await failureOf(container.run(script('true', spec)));
      expect(failure).to.be.instanceOf(InvalidSpecError);
      expect((failure as Error).message).to.include(text);
    }
    for (const spec of [
      { privileged: true },
      { rootfs: 'docker:///busybox' },
      { credentials: { username: 'u', password: 'p' } },
      { limits: { disk: { bytes: mib, scope: 'total' as const } } },
    ]) {
      expect(await failureOf(subject.engine.create({ handle: 'refused', ...spec }))).to.be.instanceOf(InvalidSpecError);
    }
    expect((await subject.engine.list()).map(({ handle }) => handle)).to.deep.equal(['c']);
  });

  it('runs processes as vcap, whose input may be of any kind and size', async () => {
    const vcap = { user: 'vcap', dir: '/new/place' };
    expect((await runToEnd(container, script('id -un; pwd; stat -c %U .', vcap))).stdout).to.equal(
      'vcap\n/new/place\nvcap\n',
    );
    for (const size of [0, 10, 100_000, 3 * mib]) {
      const { stdout } = await runToEnd(
        container,
        { path: 'wc', args: ['-c'], user: 'vcap' },
        Buffer.alloc(size, '\0'),
      );
      expect(stdout.trim()).to.equal(String(size));
    }
  });

  it('passes arguments and variables on whatever is in them', async () => {
    const odd = `it's "odd" $HOME \`id\` \\ \n*`;
    const { stdout } = await runToEnd(container, {
      path: 'printf',
      args: ['%s|', odd, '', '-x'],
      env: [`ODD=${odd}`],
    });
    expect(stdout).to.equal(`${odd}||-x|`);
    const env = await runToEnd(container, {
      path: 'printenv',
      args: ['A-B', 'UID', 'ODD'],
      env: ['A-B=1', 'UID=7', `ODD=${odd}`],
    });
    expect(env.stdout).to.equal(`1\n7\n${odd}\n`);
  });

  it('puts files of root in place without touching those that were there', async () => {
    await runToEnd(container, script('mkdir -p /srv/d; echo mine > /srv/d/mine; chown -R vcap /srv/d'));
    const archive = pack();
    archive.entry({ name: 'theirs', mode: 0o640 }, 'x');
    archive.finalize();
    await container.streamIn({ path: '/srv/d', tar: archive as unknown as Readable });
    const { stdout } = await runToEnd(container, script('cd /srv/d; stat -c "%n %U %a" *; ls -A /tmp'));
    expect(stdout)
      .to.match(/^mine vcap \d+\ntheirs root 640\n/)
      .and.not.to.match(/isthmus-[0-9a-f-]+\n/);
  });

  it('puts files of vcap into directories made for it, and brings them back', async () => {
    const archive = pack();
    archive.entry({ name: 'f' }, 'x');
    archive.finalize();
    await container.streamIn({ path: 'deep/down', user: 'vcap', tar: archive as unknown as Readable });
    const { stdout } = await runToEnd(container, script('cd /home/vcap/deep; stat -c "%n %U" . down down/f'));
    expect(stdout).to.equal('. vcap\ndown vcap\ndown/f vcap\n');
    const bytes = await buffer(await container.streamOut({ path: 'deep/down/', user: 'vcap' }));
    expect(bytes.includes('./f')).to.equal(true);
    expect(await failureOf(container.streamOut({ path: '/', user: 'alice' }))).to.be.instanceOf(InvalidSpecError);
  });

  it('tells of memory kills before the exit status, and to those who listen', async () => {
    await container.limit({ memoryBytes: 32 * mib });
    const events: string[] = [];
    container.onEvent((event) => events.push(event));
    const { status } = await runToEnd(container, { path: 'perl', args: ['-e', '$x = "x" x (64 * 1024 * 1024)'] });
    expect(status).to.equal(137);
    expect(events).to.deep.equal(['out of memory']);
    await eventually(async () => ((await container.info()).state === 'stopped' ? true : undefined));
    expect(events).to.deep.equal(['out of memory']);
  });

  it('tells figures as the server has them', async () => {
    await container.limit({ disk: { bytes: 20 * mib } });
    await runToEnd(container, script('dd if=/dev/zero of=/home/vcap/f bs=1M count=5; sync'));
    const metrics = await container.metrics();
    expect(metrics.disk.bytesUsed).to.be.within(5 * mib, 6 * mib);
    expect(metrics.cpu.usageNs).to.be.above(0);
    const { memory } = metrics;
    expect(memory.usageBytes).to.equal(
      Math.max(0, memory.rssBytes + memory.cacheBytes + memory.swapBytes - memory.inactiveFileBytes),
    );
    expect(memory.counters).to.include.keys('total_rss', 'hierarchical_memory_limit');
  });

  it('goes on with its processes when the server is started again, without a byte lost or doubled', async () => {
    const stdout = new Collector();
    const process = await container.run(
      script('echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second; exit 21'),
      { stdout },
    );
    await eventually(() => (stdout.text === 'first\n' ? true : undefined));
    await subject.warden.restartServer();
    await runToEnd(container, script('touch /tmp/go'));
    expect(await process.wait()).to.equal(21);
    expect(stdout.text).to.equal('first\nsecond\n');
  });

  describe('with a process that may print without end', () => {
    /** Waits for files between what it prints. */
    const steps = (...lines: string[]) =>
      `await() { while [ ! -e "/tmp/$1" ]; do sleep 0.02; done; }; ${lines.join('; ')}`;
    const letOn = (name: string, of = container) => runToEnd(of, script(`touch /tmp/${name}`));

    it('gives all that comes while somebody is attached, however much, and keeps none of it', async () => {
      const [stdout, stderr] = [new Collector(), new Collector()];
      const chatter = `perl -e 'print "x" x 1000 for 1 .. 12_000; print STDERR "y" x 1000'`;
      const process = await container.run(
        script(steps('echo begun', 'await go', chatter, 'echo done', 'exit 3'), { endlessOutput: true }),
        { stdout, stderr },
      );
      await eventually(() => stdout.text === 'begun\n' || undefined);
      await letOn('go');
      expect(await process.wait()).to.equal(3);
      expect(stdout.bytes.length).to.equal('begun\ndone\n'.length + 12_000_000);
      expect(stdout.text.endsWith('xdone\n')).to.equal(true);
      expect(stderr.text).to.equal('y'.repeat(1000));
      expect((await container.info()).events).to.deep.equal([]);
    });

    it('gives to each who attaches the last of what there was, or what nobody was given', async () => {
      const first = new Collector();
      const process = await container.run(script(steps('echo one', 'await end'), { endlessOutput: true, id: 'p' }), {
        stdout: first,
      });
      await eventually(() => first.text === 'one\n' || undefined);
      const [all, rest] = [new Collector(), new Collector()];
      const attached = [
        await container.attach('p', { stdout: all }),
        await container.attach('p', { stdout: rest, outputFrom: 'undelivered' }),
      ];
      await eventually(() => all.text === 'one\n' || undefined);
      await letOn('end');
      await Promise.all([process, ...attached].map((of) => of.wait()));
      expect([first, all, rest].map(({ text }) => text)).to.deep.equal(['one\n', 'one\n', '']);
    });

    it('goes on where it was, whoever of client and server is started again', async () => {
      const output = new Collector();
      const spec = script(
        steps('echo one', 'await two', 'echo two', 'await three', 'echo three', 'await four', 'echo four', 'exit 4'),
        { endlessOutput: true, id: 'p' },
      );
      await container.run(spec, { stdout: output });
      await eventually(() => output.text === 'one\n' || undefined);
      await subject.warden.restartServer();
      await letOn('two');
      await eventually(() => output.text === 'one\ntwo\n' || undefined);
      await subject.restart();
      const resumed = await subject.engine.lookup('c');
      await letOn('three', resumed);
      const rest = new Collector();
      const process = await resumed.attach('p', { stdout: rest, outputFrom: 'undelivered' });
      await eventually(() => rest.text === 'three\n' || undefined);
      await letOn('four', resumed);
      expect(await process.wait()).to.equal(4);
      expect(output.text + rest.text).to.equal('one\ntwo\nthree\nfour\n');
    });
  });

  it('forgets what others have destroyed', async () => {
    const process = await container.run(script('sleep 100'));
    await subject.warden.request('Stop', { handle: 'c', kill: true });
    await subject.warden.request('Destroy', { handle: 'c' });
    expect(await process.wait()).to.equal(137);
    expect(await failureOf(subject.engine.lookup('c'))).to.be.instanceOf(UnknownHandleError);
    expect(await subject.engine.list()).to.deep.equal([]);
  });

  it('takes in what others have made', async () => {
    await subject.warden.request('Create', { handle: 'theirs' });
    expect((await subject.engine.list()).map(({ handle }) => handle).sort()).to.deep.equal(['c', 'theirs']);
    expect((await runToEnd(await subject.engine.lookup('theirs'), script('echo hello'))).stdout).to.equal('hello\n');
  });

  it('does not start without a server', async () => {
    const directory = dirname(subject.warden.socketPath);
    const client = WardenEngine.create({
      socketPath: join(directory, 'nobody.sock'),
      stateFile: join(directory, 'nobody.json'),
      scratchDirectory: join(directory, 'nobody'),
      logger: silentLogger,
    });
    expect(((await failureOf(client.start())) as Error).message).to.include('nobody.sock');
    await client.stop();
  });
});
