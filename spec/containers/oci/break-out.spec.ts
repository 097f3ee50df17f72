import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import type { Container, ContainerSpec } from '../../../lib/containers/engine.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { runToEnd, script } from '../engine-contract.js';

for (const runtime of runtimes) {
  describe(`attempts to break out of a container made with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    let outside: string;

    const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
    const attempt = (container: Container, text: string, user = 'root') => runToEnd(container, script(text, { user }));
    const archive = () => {
      const tar = pack();
      tar.entry({ name: 'planted' }, 'x');
      tar.finalize();
      return tar as unknown as Readable;
    };

    before(async () => {
      subject = await startOciEngine({ runtime });
    });

    after(async () => {
      await subject.dispose();
    });

    beforeEach(() => {
      outside = mkdtempSync(join(tmpdir(), 'outside-'));
      chmodSync(outside, 0o777);
    });

    afterEach(async () => {
      const containers = await subject.engine.list();
      await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
      rmSync(outside, { recursive: true, force: true });
    });

    it('by changing a directory into a link while files are streamed into it', async () => {
      const container = await create();
      const swap = `cd /home/vcap; while :; do mkdir t; rmdir t; ln -s ${outside} t; rm t; ln -s /../../..${outside} t; rm t; done`;
      await container.run({ path: '/bin/bash', args: ['-c', swap], user: 'vcap' });
      for (let round = 0; round < 15; round += 1) {
        await container.streamIn({ path: '/home/vcap/t/deep', tar: archive() }).catch(() => {});
        await container.streamIn({ path: '/home/vcap/t', user: 'vcap', tar: archive() }).catch(() => {});
      }
      expect(readdirSync(outside)).to.deep.equal([]);
      expect(existsSync('/planted')).to.equal(false);
    });

    it('by paths through /proc', async () => {
      const container = await create();
      for (const path of ['/proc/1/root', '/proc/self/root', '/proc/1/cwd/../../..', '/proc/self/cwd']) {
        await container.streamIn({ path: `${path}${outside}`, tar: archive() }).catch(() => {});
        const stream = await container.streamOut({ path: `${path}/etc/isthmus-host-secret` }).catch(() => undefined);
        stream?.resume().on('error', () => {});
      }
      expect(readdirSync(outside)).to.deep.equal([]);
      await attempt(container, 'ln -s /proc/1/root/etc /home/vcap/out; echo container > /etc/hostname');
      const stream = await container.streamOut({ path: '/home/vcap/out/hostname' });
      expect((await buffer(stream)).toString()).to.include('container\n');
    });

    it('by devices', async () => {
      const container = await create();
      const { stdout, status } = await attempt(
        container,
        'mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk; mknod /dev/mem c 1 1 && head -c 1 /dev/mem; exit 9',
      );
      expect({ stdout, status }).to.deep.equal({ stdout: '', status: 9 });
      expect((await attempt(container, 'head -c 1 /proc/kcore 2>/dev/null | wc -c')).stdout).to.equal('0\n');
    });

    it('by mounts and namespaces', async () => {
      const container = await create();
      const commands = [
        'mount -t tmpfs none /mnt',
        'mount --bind /etc /mnt',
        'mount -o remount,rw /proc/sys',
        'umount /proc/sys',
        'mount -t proc none /mnt',
        'unshare --user true',
        'unshare --mount true',
        'unshare --net true',
        'chroot /proc/1/root/../.. test -e /var/lib/isthmus',
      ];
      for (const command of commands) expect((await attempt(container, command)).status, command).not.to.equal(0);
    });

    it('by files of the kernel', async () => {
      const container = await create();
      const files = [
        '/proc/sys/kernel/core_pattern',
        '/proc/sys/kernel/modprobe',
        '/proc/sys/net/ipv4/ip_forward',
        '/proc/sysrq-trigger',
        '/sys/kernel/uevent_helper',
        '/sys/fs/cgroup/memory/release_agent',
        '/sys/fs/cgroup/memory/memory.limit_in_bytes',
        '/sys/fs/cgroup/devices/devices.allow',
      ];
      for (const file of files) expect((await attempt(container, `echo 1 > ${file}`)).status, file).not.to.equal(0);
      expect(
        (await attempt(container, 'ls /sys/firmware /proc/scsi 2>/dev/null | grep -v : | grep .')).stdout,
      ).to.equal('');
    });

    it('by set-user-id programs and files of the host in bind mounts', async () => {
      copyFileSync(join(subject.rootfs, 'usr/bin/id'), join(outside, 'id'));
      chmodSync(join(outside, 'id'), 0o6755);
      writeFileSync(join(outside, 'secret'), 'of the host', { mode: 0o600 });
      const container = await create({ bindMounts: [{ source: outside, destination: '/given', mode: 'rw' }] });
      expect((await attempt(container, '/given/id -u; /given/id -g', 'vcap')).stdout).to.equal('2000\n2000\n');
      expect((await attempt(container, '/given/id -u')).stdout).to.equal('0\n');
      const commands = [
        'cat /given/secret',
        'chmod 644 /given/secret',
        'chown vcap /given/secret',
        'ln /given/secret /given/mine',
      ];
      for (const command of commands) expect((await attempt(container, command)).status, command).not.to.equal(0);

      await attempt(container, 'cp /bin/sh /given/sh; chmod 6755 /given/sh');
      const planted = statSync(join(outside, 'sh'));
      expect(planted.uid).to.equal(4_294_967_294);
    });

    it('by what processes are given', async () => {
      const before = statSync('/dev/null');
      const container = await create();
      const vandalism =
        'for fd in /proc/self/fd/* /proc/1/fd/*; do chmod 000 $fd; chown vcap $fd; done; ls /proc/self/fd';
      for (const user of ['vcap', 'root']) {
        const { stdout } = await attempt(container, vandalism, user);
        expect(stdout, user).to.equal('0\n1\n2\n3\n');
        await runToEnd(container, script(vandalism, { user, tty: {} }));
        await runToEnd(container, script(vandalism, { user }), 'given');
      }
      const { uid, gid, mode, rdev } = statSync('/dev/null');
      expect({ uid, gid, mode, rdev }).to.deep.equal({
        uid: before.uid,
        gid: before.gid,
        mode: before.mode,
        rdev: before.rdev,
      });
    });

    it('to other containers', async () => {
      const [container, other] = await Promise.all([create(), create({ handle: `other-${runtime}` })]);
      await other.run(script('echo mine > /home/vcap/mine; exec sleep 1234', { user: 'vcap' }));
      const { stdout } = await attempt(
        container,
        'cat /proc/[0-9]*/cmdline | tr "\\0" " "; ls /proc | grep -c "^[0-9]"',
      );
      expect(stdout).not.to.include('1234');
      const { containerPath } = await other.info();
      const reach = [`ls ${containerPath}`, 'ls /run/netns', `ls ${subject.settings.depotDirectory}`];
      for (const command of reach) expect((await attempt(container, command)).status, command).not.to.equal(0);
      expect((await attempt(container, 'ipcs -m 2>/dev/null | grep -c 0x; kill -9 -1; true')).status).to.be.a('number');
      expect((await other.info()).processIds).to.have.lengthOf(1);
    });
  });
}
