import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs';
import { freemem } from 'node:os';
import { type Readable, Writable } from 'node:stream';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import type { Container, ContainerSpec } from '../../../lib/containers/engine.js';
import { UnknownUserError } from '../../../lib/containers/errors.js';
import { eventually } from '../../support/eventually.js';
import { thingsOfEngine } from '../../support/leaks.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

const megabyte = 1024 * 1024;

describe('isolation by the oci engine', function () {
  this.timeout(60_000);
  let subject: OciSubject;

  const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
  const output = async (container: Container, text: string, user?: string) =>
    (await runToEnd(container, script(text, user === undefined ? {} : { user }))).stdout;

  before(async () => {
    subject = await startOciEngine();
  });

  after(async () => {
    await subject.dispose();
  });

  afterEach(async () => {
    const containers = await subject.engine.list();
    await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
  });

  describe('of users', () => {
    it('gives root the unprivileged capabilities and others none, all under the system call filter', async () => {
      const container = await create();
      const status = 'grep -E "^(CapEff|Seccomp):" /proc/self/status';
      expect(await output(container, status)).to.equal('CapEff:\t00000000a80425fb\nSeccomp:\t2\n');
      expect(await output(container, status, 'vcap')).to.equal('CapEff:\t0000000000000000\nSeccomp:\t2\n');
      const { status: exit, stderr } = await runToEnd(container, script('unshare --user true'));
      expect(exit).not.to.equal(0);
      expect(stderr).to.include('Operation not permitted');
    });

    it('finds users in the container as it is now, with their groups and homes', async () => {
      const container = await create();
      expect(await output(container, 'id -un; pwd; echo $USER $HOME', 'vcap')).to.equal(
        'vcap\n/home/vcap\nvcap /home/vcap\n',
      );
      expect(await output(container, 'id -u; id -g; pwd; echo $USER', '1234:5678')).to.equal(
        '1234\n5678\n/\n1234:5678\n',
      );

      await runToEnd(
        container,
        script(
          'echo "late:x:3000:3000::/late:/bin/sh" >> /etc/passwd; echo "late:x:3000:" >> /etc/group; echo "extra:x:3001:late" >> /etc/group',
        ),
      );
      expect(await output(container, 'id -u; id -G; pwd; stat -c %u:%a .', 'late')).to.equal(
        '3000\n3000 3001\n/late\n3000:755\n',
      );
      expect(await failureOf(container.run({ path: 'id', user: 'nobody-knows' }))).to.be.instanceOf(UnknownUserError);
    });

    it('does not follow links out of the container to find users, nor waits for a fifo', async () => {
      const container = await create();
      await runToEnd(container, script('mkdir -p /a && ln -sf ../../../../../../../../etc/hostname /etc/group'));
      expect((await runToEnd(container, { path: 'id', user: 'vcap' })).status).to.equal(0);
      await runToEnd(container, script('rm /etc/passwd && mkfifo /etc/passwd'));
      expect(await failureOf(container.run({ path: 'id', user: 'vcap' }))).to.be.instanceOf(UnknownUserError);
    });
  });

  describe('of the view', () => {
    it('shows a process its three standard streams and no other file', async () => {
      const container = await create();
      expect((await output(container, 'ls /proc/self/fd')).split('\n').filter(Boolean)).to.deep.equal([
        '0',
        '1',
        '2',
        '3',
      ]);
      const stdin = await runToEnd(container, { path: 'ls', args: ['/proc/self/fd'] }, 'given');
      expect(stdin.stdout.split('\n').filter(Boolean)).to.deep.equal(['0', '1', '2', '3']);
    });

    it('has an init of its own that leaves no zombies', async () => {
      const container = await create();
      expect(await output(container, 'sed -n 1p /proc/1/status')).to.equal('Name:\tgarden-init\n');
      await runToEnd(container, script('(sleep 0.05 &) ; exit 0'));
      await eventually(async () =>
        (await output(container, 'grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l')) === '0\n'
          ? true
          : undefined,
      );
    });

    it('hides the kernel behind masks and read-only paths', async () => {
      const container = await create();
      const { stdout } = await runToEnd(
        container,
        script('ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger; echo $?'),
      );
      expect(stdout.split('\n')[0]).to.equal('0');
      expect(stdout.split('\n')[1]).not.to.equal('0');
    });

    it('knows itself by the last 49 characters of its handle', async () => {
      const handle = `${'a'.repeat(5)}${'b'.repeat(49)}`;
      const container = await create({ handle });
      const { containerIp } = await container.info();
      expect(await output(container, 'hostname')).to.equal(`${'b'.repeat(49)}\n`);
      expect(await output(container, 'cat /etc/hosts')).to.equal(
        `127.0.0.1 localhost\n${containerIp} ${'b'.repeat(49)}\n`,
      );
      expect((await runToEnd(container, script('echo x >> /etc/hosts', { user: 'vcap' }))).status).not.to.equal(0);
    });

    it('keeps what a container writes from its image and from other containers', async () => {
      const [one, other] = await Promise.all([create(), create()]);
      await runToEnd(one, script('echo mine > /etc/mine'));
      expect((await runToEnd(other, script('cat /etc/mine'))).status).not.to.equal(0);
      expect(existsSync(`${subject.rootfs}/etc/mine`)).to.equal(false);
      expect(readFileSync(`${(await one.info()).containerPath}/rootfs/etc/mine`, 'utf8')).to.equal('mine\n');
    });
  });

  describe('of files that are streamed', () => {
    const archive = (name: string, content: string) => {
      const tar = pack();
      tar.entry({ name }, content);
      tar.finalize();
      return tar as unknown as Readable;
    };

    it('gives them to the user, who may not write where others may', async () => {
      const container = await create();
      await container.streamIn({ path: '/home/vcap/new', user: 'vcap', tar: archive('f', 'x') });
      expect(await output(container, 'stat -c %U /home/vcap/new /home/vcap/new/f')).to.equal('vcap\nvcap\n');
      const denied = await failureOf(container.streamIn({ path: '/etc', user: 'vcap', tar: archive('f', 'x') }));
      expect((denied as Error).message).to.include('Permission denied');
      const unknown = await failureOf(container.streamIn({ path: '/tmp', user: 'batman', tar: archive('f', 'x') }));
      expect((unknown as Error).message).to.match(/^stream-in: nstar: error streaming in: unable to find user batman/);
      expect((unknown as Error).cause).to.be.instanceOf(UnknownUserError);
      expect(await failureOf(container.streamOut({ path: '/tmp', user: 'batman' }))).to.be.instanceOf(UnknownUserError);
    });

    it('never writes to the host through links in the container', async () => {
      const container = await create();
      const target = `/tmp/outside-${randomBytes(6).toString('hex')}`;
      await runToEnd(
        container,
        script(
          `ln -s /../../../../../../../..${target} /home/vcap/up; ln -s ${target} /home/vcap/out; mkdir -p ${target}`,
        ),
      );
      await container.streamIn({ path: '/home/vcap/out', tar: archive('absolute', 'x') });
      await container.streamIn({ path: '/home/vcap/up', tar: archive('climbing', 'x') }).catch(() => {});
      await container.streamIn({ path: '/home/vcap', tar: archive('out/through', 'x') }).catch(() => {});
      await container
        .streamIn({ path: '/home/vcap', tar: archive(`../../../../../..${target}/dots`, 'x') })
        .catch(() => {});
      expect(existsSync(target)).to.equal(false);
      expect(await output(container, `ls ${target} | head -1`)).to.equal('absolute\n');
    });

    it('never reads from the host through links in the container', async () => {
      const container = await create();
      const secret = `/tmp/secret-${randomBytes(6).toString('hex')}`;
      symlinkSync('/etc', secret);
      try {
        await runToEnd(container, script(`ln -s ${secret} /home/vcap/link`));
        const failure = await failureOf(container.streamOut({ path: '/home/vcap/link/' }));
        expect(failure).to.be.instanceOf(Error);
      } finally {
        unlinkSync(secret);
      }
    });

    it('works on a container whose processes have used up all they may have', async () => {
      const container = await create({ limits: { maxPids: 5, memoryBytes: 16 * megabyte } });
      await container.run(script('for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait'));
      await runToEnd(container, { path: '/bin/true' }).catch(() => {});
      const stream = await container.streamOut({ path: '/etc/hostname' });
      let bytes = 0;
      for await (const piece of stream) bytes += piece.length;
      expect(bytes).to.be.above(500);
    });
  });

  describe('of memory, processes and disk', () => {
    it('tells of a process killed for memory before its exit status is told', async () => {
      const container = await create({ limits: { memoryBytes: 32 * megabyte } });
      const heard: string[] = [];
      container.onEvent((event) => heard.push(event));
      const hungry = 'head -c 100000000 /dev/zero | tail -c 100000000 > /dev/null';
      const process = await container.run({
        path: '/bin/bash',
        args: ['-c', `exec ${hungry.split('|')[1]} < <(${hungry.split('|')[0]})`],
      });
      expect(await process.wait()).to.equal(137);
      const info = await container.info();
      expect(info.events).to.deep.equal(['out of memory']);
      expect(heard).to.deep.equal(['out of memory']);
      expect(info.state).to.equal('active');
      expect(await output(container, 'echo still here')).to.equal('still here\n');
    });

    it('tells of a process below another one that is killed for memory', async () => {
      const container = await create({ limits: { memoryBytes: 32 * megabyte } });
      await container.run(script('head -c 100000000 /dev/zero | tail -c 100000000 > /dev/null; sleep 100'));
      await eventually(async () => ((await container.info()).events.length > 0 ? true : undefined));
      expect((await container.info()).events[0]).to.equal('out of memory');
    });

    it('stops a fork bomb at the limit of processes, and kills it', async () => {
      const container = await create({ limits: { maxPids: 60, memoryBytes: 128 * megabyte } });
      await container.run({ path: '/bin/bash', args: ['-c', 'bomb() { bomb | bomb & }; bomb; sleep 100'] });
      await eventually(async () => ((await container.metrics()).pids.current >= 50 ? true : undefined));
      expect((await container.metrics()).pids.max).to.equal(60);
      expect((await container.metrics()).pids.current).to.be.at.most(60);

      const other = await create();
      expect(await output(other, 'echo unharmed')).to.equal('unharmed\n');
      await container.stop({ kill: true });
      await eventually(async () => ((await container.metrics()).pids.current === 1 ? true : undefined));
    });

    it('stops a disk filler at its limit without filling the host', async () => {
      const container = await create({ limits: { disk: { bytes: 20 * megabyte } } });
      const { status, stderr } = await runToEnd(
        container,
        script('dd if=/dev/zero of=/big bs=1M count=60', { user: 'root' }),
      );
      expect(status).not.to.equal(0);
      expect(stderr).to.match(/No space left|quota/i);
      const { bytesUsed } = (await container.metrics()).disk;
      expect(bytesUsed).to.be.within(15 * megabyte, 21 * megabyte);
    });

    it('does not let output fill the memory or the disk of the host', async () => {
      const container = await create();
      const freeBefore = freemem();
      const process = await container.run(
        script('head -c 150000000 /dev/zero | tr "\\0" "x"; exit 3', { id: 'noisy' }),
      );
      expect(await process.wait()).to.equal(3);
      expect(freeBefore - freemem()).to.be.below(400 * megabyte);
      const directory = `${subject.settings.depotDirectory}/@output/${container.handle}/noisy`;
      expect(readdirSync(directory)).to.deep.equal(['log']);
      expect(readFileSync(`${directory}/log`).length).to.be.below(17 * megabyte);
    });
  });

  describe('in numbers', () => {
    it('hands over all output before the end, 100 times of 100', async () => {
      const container = await create();
      for (let round = 0; round < 100; round += 1) {
        const { stdout, status } = await runToEnd(container, script(`seq 1 300; exit ${round}`));
        expect({ length: stdout.length, status }, `round ${round}`).to.deep.equal({ length: 1092, status: round });
      }
    });

    it('hands over what a fast process says to a slow reader, at the pace of the reader and without a gap', async () => {
      const container = await create();
      const pieces: Buffer[] = [];
      const slow = new Writable({
        highWaterMark: 1024,
        write(piece: Buffer, _encoding, done) {
          pieces.push(Buffer.from(piece));
          setTimeout(done, 5);
        },
      });
      const process = await container.run(script('seq 1 400000'), { stdout: slow });
      await process.wait();
      const numbers = Buffer.concat(pieces).toString().trim().split('\n');
      expect(numbers).to.have.lengthOf(400_000);
      expect(numbers.at(-1)).to.equal('400000');
    });

    it('destroys 50 containers at once and leaves nothing of them', async () => {
      await Promise.all(Array.from({ length: 50 }, (_, index) => create({ handle: `many-${index}`, netIn: [{}] })));
      await Promise.all(Array.from({ length: 50 }, (_, index) => subject.engine.destroy(`many-${index}`)));
      const { depotDirectory } = subject.settings;
      await eventually(
        () => {
          const things = thingsOfEngine(depotDirectory);
          const left = {
            files: things.files.filter((path) => path.includes('many-')),
            groups: things.controlGroups.filter((path) => path.includes('many-')),
            processes: things.processes,
            rules: things.firewallRules.filter((line) => line.includes('many-')),
          };
          if (Object.values(left).every((list) => list.length === 0)) return true;
          throw new Error(JSON.stringify(left));
        },
        { timeoutMs: 15_000 },
      );
    });

    it('starts no process to tell about itself', async () => {
      const container = await create({ limits: { memoryBytes: 64 * megabyte, disk: { bytes: 32 * megabyte } } });
      await container.metrics();
      const forks = () => Number(/^processes (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]);
      // Others use this machine, too: one round without a single fork shows it.
      await eventually(async () => {
        const before = forks();
        for (let round = 0; round < 20; round += 1) await Promise.all([container.info(), container.metrics()]);
        return forks() === before ? true : undefined;
      });
    });
  });
});
