import { expect } from 'chai';
import type { Container, ProcessSpec } from '../../../lib/containers/engine.js';
import { ExecutableNotFoundError, InvalidSpecError } from '../../../lib/containers/errors.js';
import { Collector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

for (const runtime of runtimes) {
  describe(`processes started with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    let container: Container;

    const output = async (text: string, spec: Partial<ProcessSpec> = {}) =>
      (await runToEnd(container, script(text, spec))).stdout;
    const refusal = async (spec: ProcessSpec) => (await failureOf(container.run(spec))) as Error;

    before(async () => {
      subject = await startOciEngine({ runtime });
    });

    after(async () => {
      await subject.dispose();
    });

    beforeEach(async () => {
      container = await subject.engine.create({ rootfs: subject.rootfs });
    });

    afterEach(async () => {
      await subject.engine.destroy(container.handle);
    });

    it('are refused with the reason why there is nothing to execute', async () => {
      await output('echo "#!/bin/sh" > /plain; chmod 644 /plain');
      const reasons: [path: string, reason: string, isMissing: boolean][] = [
        ['', 'executable file not found in $PATH', true],
        ['no-such', 'executable file not found in $PATH', true],
        ['/nope', 'exec: "/nope": stat /nope: no such file or directory', true],
        ['/etc', 'is a directory', false],
        ['/plain', 'permission denied', false],
      ];
      for (const [path, reason, isMissing] of reasons) {
        const failure = await refusal({ path });
        expect(failure.message, path).to.include(reason);
        expect(failure instanceof ExecutableNotFoundError, path).to.equal(isMissing);
      }
      expect((await container.info()).processIds).to.deep.equal([]);
    });

    it('are refused with a directory that cannot be one', async () => {
      expect((await refusal({ path: 'pwd', dir: 'relative' })).message).to.include('Cwd must be an absolute path');
      for (const dir of ['/etc/passwd', '/etc/passwd/below']) {
        expect((await refusal({ path: 'pwd', dir })).message, dir).to.include('not a directory');
      }
    });

    it('are refused with limits that do not exist and mounts that have no image', async () => {
      const rlimits = { nosuch: 1 } as NonNullable<ProcessSpec['rlimits']>;
      expect(await refusal({ path: 'true', rlimits })).to.be.instanceOf(InvalidSpecError);
      const bindMounts = [{ source: '/tmp', destination: '/x', mode: 'ro' as const }];
      expect((await refusal({ path: 'true', bindMounts })).message).to.equal(
        'Running a process with bind mounts and no image provided is not allowed',
      );
    });

    it('leave their id free when they could not be started, and the next one its output', async () => {
      await refusal({ path: '/nope', id: 'again' });
      expect(await runToEnd(container, script('echo heard; exit 4', { id: 'again' }))).to.deep.equal({
        status: 4,
        stdout: 'heard\n',
        stderr: '',
      });
    });

    it('stand where their directory leads, made as their user when it is missing', async () => {
      await output(
        'mkdir -m 700 /secret; mkdir -m 555 /closed; mkdir /real; ln -s /real /link; ln -s ../../../../real /home/vcap/up',
      );
      const place = (dir: string) => output('/bin/pwd; stat -c "%U %a" .', { dir, user: 'vcap' });
      expect(await place('/link')).to.equal('/real\nroot 755\n');
      expect(await place('/home/vcap/up')).to.equal('/real\nroot 755\n');
      expect(await place('/link/new/deep')).to.equal('/real/new/deep\nvcap 755\n');
      expect(await place('/closed/new')).to.equal('/closed/new\nvcap 755\n');
      expect(await output('stat -c "%U %a" /real/new /closed')).to.equal('vcap 755\nroot 555\n');
      expect(await output('/bin/pwd', { dir: '/secret', user: 'vcap' })).to.equal('/secret\n');
      expect(await output('pwd', { user: '4321' })).to.equal('/\n');
    });

    it('have their users’ groups and no others', async () => {
      await output('echo "extra:x:3001:vcap" >> /etc/group');
      expect(await output('id -u; id -G', { user: 'vcap' })).to.equal('2000\n2000 3001\n');
      expect(await output('id -u; id -G', { user: 'vcap:games' })).to.equal('2000\n60 3001\n');
      expect(await output('id -u; id -G', { user: '77:88' })).to.equal('77\n88\n');
      expect(await output('id -u; id -G')).to.equal('0\n0\n');
    });

    it('have every resource limit that they are given', async () => {
      const rlimits = {
        ...{ as: 4_294_967_296, core: 0, cpu: 100, data: 1_000_000_000, fsize: 1_000_000, locks: 3, memlock: 65_536 },
        ...{
          msgqueue: 1000,
          nice: 0,
          nofile: 100,
          nproc: 50,
          rss: 1_000_000,
          rtprio: 0,
          sigpending: 100,
          stack: 8_000_000,
        },
      };
      const limits = (await output('cat /proc/self/limits', { rlimits, user: 'vcap' })).split('\n').slice(1);
      const hard = limits.flatMap((line) => /^(Max .*?)\s{2,}(\S+)\s+(\S+)/.exec(line)?.slice(1).join('|') ?? []);
      expect(hard).to.include.members([
        'Max cpu time|100|100',
        'Max file size|1000000|1000000',
        'Max data size|1000000000|1000000000',
        'Max stack size|8000000|8000000',
        'Max core file size|0|0',
        'Max resident set|1000000|1000000',
        'Max processes|50|50',
        'Max open files|100|100',
        'Max locked memory|65536|65536',
        'Max address space|4294967296|4294967296',
        'Max file locks|3|3',
        'Max pending signals|100|100',
        'Max msgqueue size|1000|1000',
        'Max nice priority|0|0',
        'Max realtime priority|0|0',
      ]);
    });

    it('may open their standard streams by name, whoever they are', async () => {
      for (const user of ['root', 'vcap', '4321']) {
        const spec = script('cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr', { user });
        expect(await runToEnd(container, spec, 'in\n'), user).to.deep.equal({
          status: 0,
          stdout: 'in\nout\n',
          stderr: 'err\n',
        });
      }
    });

    it('may open their terminal by name', async () => {
      const stdout = new Collector();
      const text = 'while [ "$(stat -c %U $(tty))" != vcap ]; do sleep 0.02; done; echo named > $(tty); stty size';
      const process = await container.run(script(text, { user: 'vcap', tty: {} }), { stdout });
      expect(await process.wait()).to.equal(0);
      expect(stdout.text).to.equal('named\r\n24 80\r\n');
    });

    it('get a signal that is sent right after their start', async () => {
      for (let round = 0; round < 20; round += 1) {
        const process = await container.run({ path: '/bin/sleep', args: ['100'] });
        await process.signal(round % 2 === 0 ? 'kill' : 'terminate');
        expect(await process.wait(), `round ${round}`).to.equal(round % 2 === 0 ? 137 : 143);
      }
    });

    it('hand over all that they say on a terminal, time and again', async () => {
      for (let round = 0; round < 30; round += 1) {
        const stdout = new Collector();
        const process = await container.run(script('seq -s " " 2000', { tty: {} }), { stdout });
        expect(await process.wait()).to.equal(0);
        expect(stdout.text.length, `round ${round}`).to.equal(8_894);
        expect(stdout.text.endsWith('2000\r\n')).to.equal(true);
      }
    });

    it('are not disturbed by input that comes after their end', async () => {
      const process = await container.run(script('exit 8'), { stdin: Buffer.alloc(200_000, 'x') });
      expect(await process.wait()).to.equal(8);
      await eventually(async () => ((await container.info()).processIds.length === 0 ? true : undefined));
    });
  });
}
