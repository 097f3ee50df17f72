import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { BindMount } from '../../../lib/containers/engine.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { runToEnd, script } from '../engine-contract.js';

for (const runtime of runtimes) {
  describe(`bind mounts of containers made with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;
    let source: string;

    const output = async (bindMounts: BindMount[], text: string, isPrivileged = false) => {
      const container = await subject.engine.create({ rootfs: subject.rootfs, bindMounts, privileged: isPrivileged });
      const { stdout } = await runToEnd(container, script(text));
      await subject.engine.destroy(container.handle);
      return stdout;
    };

    before(async () => {
      subject = await startOciEngine({ runtime });
      source = mkdtempSync(join(tmpdir(), 'bind-'));
      chmodSync(source, 0o777);
      mkdirSync(join(source, 'nested'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'nosuid,nodev,noexec,mode=777', 'none', join(source, 'nested')]);
      writeFileSync(join(source, 'nested', 'deep'), 'deep\n');
      writeFileSync(join(source, 'file'), 'file\n');
    });

    after(async () => {
      execFileSync('umount', [join(source, 'nested')]);
      rmSync(source, { recursive: true });
      await subject.dispose();
    });

    it('show what is mounted below them, as usable as it is on the host', async () => {
      const mounts: BindMount[] = [{ source, destination: '/rw', mode: 'rw' }];
      const text = 'cat /rw/nested/deep; echo x > /rw/nested/new && echo written; echo y > /rw/new && echo written';
      expect(await output(mounts, text)).to.equal('deep\nwritten\nwritten\n');
      expect(existsSync(join(source, 'nested', 'new'))).to.equal(true);
      expect(await output(mounts, text, true)).to.equal('deep\nwritten\nwritten\n');
    });

    it('are read-only throughout when they are to be', async () => {
      const mounts: BindMount[] = [{ source, destination: '/ro', mode: 'ro' }];
      const text =
        'cat /ro/nested/deep /ro/file; echo x > /ro/nested/no; echo x > /ro/no; ls /ro /ro/nested | grep -c "^no$"';
      expect(await output(mounts, text)).to.equal('deep\nfile\n0\n');
      expect(await output(mounts, text, true)).to.equal('deep\nfile\n0\n');
    });

    it('keep the flags of the mount that they come from', async () => {
      const mounts: BindMount[] = [
        { source: join(source, 'nested'), destination: '/a/new/place', mode: 'ro' },
        { source: join(source, 'nested', 'deep'), destination: '/b/new/file', mode: 'rw' },
      ];
      const text = "awk '$2 ~ /^.(a|b)/ {print $2, $4}' /proc/self/mounts | sort; cat /b/new/file";
      const lines = (await output(mounts, text)).split('\n');
      expect(lines[0]).to.match(/^\/a\/new\/place ro,nosuid,nodev,noexec/);
      expect(lines[1]).to.match(/^\/b\/new\/file rw,nosuid,nodev,noexec/);
      expect(lines[2]).to.equal('deep');
    });

    it('show files of the host’s root as nobody’s, and those of other users as theirs', async () => {
      writeFileSync(join(source, 'of-root'), '', { mode: 0o600 });
      writeFileSync(join(source, 'of-vcap'), 'theirs\n', { mode: 0o600 });
      execFileSync('chown', ['2000:2000', join(source, 'of-vcap')]);
      const mounts: BindMount[] = [{ source, destination: '/given', mode: 'ro' }];
      const text = 'stat -c "%u %U" /given/of-root /given/of-vcap; cat /given/of-root /given/of-vcap';
      expect(await output(mounts, text)).to.equal('65534 nobody\n2000 vcap\ntheirs\n');
    });
  });
}
