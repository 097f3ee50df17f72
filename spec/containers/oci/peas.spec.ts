import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Container, ProcessSpec } from '../../../lib/containers/engine.js';
import { ExecutableNotFoundError, InvalidSpecError, UnknownUserError } from '../../../lib/containers/errors.js';
import { busyboxLayer } from '../../support/busybox-image.js';
import { eventually } from '../../support/eventually.js';
import { writeLayout } from '../../support/image-layout.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

const megabyte = 1024 * 1024;

for (const runtime of runtimes) {
  describe(`processes with an image of their own, started with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    let container: Container;

    const pea = (text: string, spec: Partial<ProcessSpec> = {}) => script(text, { image: subject.rootfs, ...spec });
    const output = async (spec: ProcessSpec) => (await runToEnd(container, spec)).stdout;
    const bundles = async (handle = container.handle) => {
      const directory = join(subject.settings.depotDirectory, '@run', handle, 'peas');
      return existsSync(directory) ? readdirSync(directory) : [];
    };
    const untilGone = () => eventually(async () => ((await bundles()).length === 0 ? true : undefined));

    before(async () => {
      subject = await startOciEngine({ runtime });
    });

    after(async () => {
      await subject.dispose();
    });

    beforeEach(async () => {
      container = await subject.engine.create({
        rootfs: subject.rootfs,
        env: ['OF=container'],
        limits: { maxPids: 100 },
      });
    });

    afterEach(async () => {
      const containers = await subject.engine.list();
      await Promise.all(containers.map(({ handle }) => subject.engine.destroy(handle)));
    });

    it('share everything of their container but its files', async () => {
      await output(script('touch /of-the-container'));
      const namespaces = 'for ns in net ipc pid uts user mnt; do readlink /proc/self/ns/$ns; done';
      const own = (await output(pea(namespaces))).trim().split('\n');
      const containers = (await output(script(namespaces))).trim().split('\n');
      expect(own.slice(0, 5)).to.deep.equal(containers.slice(0, 5));
      expect(own[5]).not.to.equal(containers[5]);
      expect(await output(pea('ls /of-the-container 2>&1 | grep -c "No such"; cat /etc/hosts'))).to.equal(
        `1\n${await output(script('cat /etc/hosts'))}`,
      );
      expect(await output(pea('cat /proc/1/comm; grep CapEff /proc/self/status'))).to.equal(
        'garden-init\nCapEff:\t00000000a80425fb\n',
      );
      await untilGone();
    });

    it('are root in / unless they are told otherwise, with users of their image', async () => {
      expect(await output(pea('id -u; pwd; echo $OF'))).to.equal('0\n/\n\n');
      expect(await output(pea('id -u; pwd', { user: 'vcap', dir: '/home/vcap' }))).to.equal('2000\n/home/vcap\n');
      await output(script('echo "late:x:3000:3000::/:/bin/sh" >> /etc/passwd'));
      expect(await failureOf(container.run(pea('true', { user: 'late' })))).to.be.instanceOf(UnknownUserError);
      await untilGone();
    });

    it('start in the directory and with the environment that their image tells of', async () => {
      const layout = mkdtempSync(join(tmpdir(), 'pea-image-'));
      try {
        const layer = await busyboxLayer({ name: 'work/', type: 'directory', mode: 0o755 });
        writeLayout(layout, [layer], { env: ['FROM=image', 'TWICE=image'], workingDirectory: '/work' });
        const image = `oci://${layout}:latest`;
        const told = 'echo $FROM $TWICE $OF; pwd';
        expect(await output(pea(told, { image, env: ['TWICE=process'] }))).to.equal('image process\n/work\n');
        expect(await output(pea('pwd', { image, dir: '/tmp' }))).to.equal('/tmp\n');
      } finally {
        rmSync(layout, { recursive: true });
      }
    });

    it('are held to the limits of the container, or to their own', async () => {
      const group = "sed -n 's/.*:memory://p' /proc/self/cgroup | grep . || sed -n 's/^0:://p' /proc/self/cgroup";
      const shared = await output(pea(group, { id: 'shared' }));
      expect(shared).to.match(new RegExp(`/${container.handle}/shared(/@processes)?\n$`));
      const own = await output(pea(group, { limits: {} }));
      expect(own).not.to.include(container.handle);

      const hungry = pea('head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null', {
        limits: { memoryBytes: 24 * megabyte },
      });
      expect((await runToEnd(container, hungry)).status).to.equal(137);
      expect((await container.info()).events).to.deep.equal(['out of memory']);
      expect((await runToEnd(container, { ...hungry, limits: {} })).status).to.equal(0);
      await container.limit({ memoryBytes: 24 * megabyte });
      const { limits: _, ...sharing } = hungry;
      expect((await runToEnd(container, sharing)).status).to.equal(137);
      expect((await container.info()).events).to.have.lengthOf(2);
      await untilGone();
    });

    it('have bind mounts of their own', async () => {
      const source = mkdtempSync(join(tmpdir(), 'pea-'));
      try {
        writeFileSync(join(source, 'given'), 'given\n');
        const bindMounts = [{ source: join(source, 'given'), destination: '/mnt/new/file', mode: 'ro' as const }];
        expect(await output(pea('cat /mnt/new/file; echo x >> /mnt/new/file', { bindMounts }))).to.equal('given\n');
      } finally {
        rmSync(source, { recursive: true });
      }
    });

    it('are listed, measured under their id and ended with their container', async () => {
      const process = await container.run(pea('exec sleep 100', { id: `long-${runtime}`, limits: {} }));
      expect((await container.info()).processIds).to.deep.equal([process.id]);
      const metrics = (await subject.engine.bulkMetrics([process.id])).get(process.id);
      expect(metrics).to.have.nested.property('memory.usageBytes').that.is.above(0);
      const waiting = process.wait();
      await subject.engine.destroy(container.handle);
      expect(await waiting).to.equal(137);
    });

    it('are ended when the container is stopped', async () => {
      const process = await container.run(pea("trap '' TERM; while :; do sleep 0.1; done", { limits: {} }));
      await container.stop({ kill: true });
      expect(await process.wait()).to.equal(137);
      await untilGone();
    });

    it('take what they have started along when they end', async () => {
      await output(pea('setsid sleep 1234 > /dev/null 2>&1 & exit 0'));
      await untilGone();
      expect(await output(script('cat /proc/[0-9]*/cmdline | tr "\\0" " " | grep -c "[s]leep 1234"'))).to.equal('0\n');
    });

    it('leave nothing when they cannot be started', async () => {
      expect(await failureOf(container.run({ path: '/nope', image: subject.rootfs }))).to.be.instanceOf(
        ExecutableNotFoundError,
      );
      expect(await failureOf(container.run(pea('true', { image: '/nope' })))).to.be.instanceOf(InvalidSpecError);
      const bindMounts = [{ source: '/nope', destination: '/x', mode: 'ro' as const }];
      expect(await failureOf(container.run(pea('true', { bindMounts })))).to.be.instanceOf(InvalidSpecError);
      expect(await bundles()).to.deep.equal([]);
      expect((await container.info()).processIds).to.deep.equal([]);
    });

    it('are found by the engine after its restart, and cleared away after their end', async () => {
      await container.run(pea('while [ ! -e /go ]; do sleep 0.05; done; exit 7', { id: 'p' }));
      await runToEnd(container, pea('exit 3', { id: 'ended' }));
      await subject.restart();
      container = await subject.engine.lookup(container.handle);
      expect((await container.info()).processIds).to.deep.equal(['p']);
      expect(await (await container.attach('ended')).wait()).to.equal(3);
      const process = await container.attach('p');
      await process.signal('kill');
      expect(await process.wait()).to.equal(137);
      await untilGone();
    });
  });
}
