import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { runtimes } from '../support/variants.js';

/** The 38 capabilities up to AUDIT_READ. */
const privilegedCapabilities = 0x3f_ffff_ffffn;

for (const runtime of runtimes) {
  describe(`isolation by bin/garden with ${runtime}`, function () {
    this.timeout(120_000);
    let garden: GardenProcess;
    let client: GardenClient;

    before(async () => {
      garden = await startGarden({ runtime });
      client = new GardenClient(garden.socket);
      await client.create({ handle: 'c' });
      await client.read('c', 'echo "alice:x:1000:1000::/home/alice:/bin/sh" >> /etc/passwd');
    });

    after(() => garden.stop());

    const capabilities = async (handle: string, user: string) =>
      /^CapEff:\t(\w+)$/m.exec(await client.read(handle, 'cat /proc/self/status', { user }))?.[1];

    it('maps root to the highest id of the host and everybody else to himself', async () => {
      const rows = async (file: string) =>
        (await client.read('c', `cat ${file}`))
          .trim()
          .split('\n')
          .map((line) => line.trim().split(/\s+/));
      for (const file of ['/proc/self/uid_map', '/proc/self/gid_map']) {
        expect(await rows(file)).to.deep.equal([
          ['0', '4294967294', '1'],
          ['1', '1', '4294967293'],
        ]);
      }
    });

    it('gives root the unprivileged capabilities, others none, and filters the system calls of both', async () => {
      expect(await capabilities('c', 'root')).to.equal('00000000a80425fb');
      expect(await capabilities('c', 'alice')).to.equal('0000000000000000');
      for (const user of ['root', 'alice']) {
        expect(await client.read('c', 'grep Seccomp: /proc/self/status', { user })).to.equal('Seccomp:\t2\n');
      }
      const { status, stderr } = await client.exec('c', 'unshare --user true');
      expect(status).not.to.equal(0);
      expect(stderr).to.include('Operation not permitted');
    });

    it('gives root of a privileged container those of the 38 capabilities that the host has, without a map', async () => {
      const handle = await client.create({ privileged: true });
      const onHost = BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`);
      const expected = (onHost & privilegedCapabilities).toString(16).padStart(16, '0');
      expect(await capabilities(handle, 'root')).to.equal(expected);
      expect(await client.read(handle, 'cat /proc/self/uid_map')).to.match(/^\s+0\s+0\s+4294967295\n$/);
      expect(await client.read(handle, 'grep Seccomp: /proc/self/status')).to.equal('Seccomp:\t0\n');
    });

    it('shows a process its three standard streams alone', async () => {
      // The fourth is the directory that ls itself reads.
      expect(await client.read('c', 'exec ls /proc/self/fd')).to.equal('0\n1\n2\n3\n');
      const more = 'for fd in 3 4 5 6 7 8 9 10 11 12; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done';
      expect(await client.read('c', more)).to.equal('');
    });

    it('has garden-init as first process, which leaves no zombies', async () => {
      expect(await client.read('c', 'head -1 /proc/1/status')).to.equal('Name:\tgarden-init\n');
      await client.read('c', '(sleep 0.05 &)');
      await eventually(async () => {
        const zombies = await client.read('c', 'cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z " || true');
        return zombies === '0\n' ? true : undefined;
      });
    });

    it('hides what the kernel tells of the host', async () => {
      const hidden = 'if [ -e /proc/kcore ]; then stat -c "%t,%T" /proc/kcore; else echo 1,3; fi';
      expect(await client.read('c', hidden)).to.equal('1,3\n');
      expect(await client.read('c', 'ls /proc/scsi 2>/dev/null; ls -A /sys/firmware')).to.equal('');
      expect((await client.exec('c', 'echo 1 > /proc/sys/kernel/panic')).status).not.to.equal(0);
    });

    it('makes a missing working directory for its user, also where the user could not', async () => {
      await client.read('c', 'mkdir -m 0555 -p /closed');
      const script = 'pwd; stat -c "%U %a" . ..';
      expect(await client.read('c', script, { user: 'alice', dir: '/closed/one/two' })).to.equal(
        '/closed/one/two\nalice 755\nalice 755\n',
      );
      expect(await client.read('c', 'stat -c "%U %a" /closed')).to.equal('root 555\n');
      expect(await client.read('c', 'pwd', { user: 'alice' })).to.equal('/home/alice\n');
    });

    it('is known inside by the last 49 characters of a handle of 54', async () => {
      const handle = await client.create({ handle: `${'a'.repeat(5)}${'b'.repeat(49)}` });
      expect(await client.read(handle, 'hostname')).to.equal(`${'b'.repeat(49)}\n`);
      const { ContainerIP } = await client.info(handle);
      expect(await client.read(handle, 'cat /etc/hosts')).to.equal(
        `127.0.0.1 localhost\n${ContainerIP} ${'b'.repeat(49)}\n`,
      );
    });

    it('lets no name that is not in PATH, and no missing file, become a process', async () => {
      for (const [path, reason] of [
        ['nope', 'executable file not found in $PATH'],
        ['/no/such', 'no such file or directory'],
      ]) {
        const { status, json } = await client.call('POST', '/containers/c/processes', { path });
        expect({ status, ...(json as object) }).to.include({ status: 500, Type: 'ExecutableNotFoundError' });
        expect((json as { Message: string }).Message).to.include(reason);
      }
      expect(await client.info('c')).to.have.property('ProcessIDs', null);
    });
  });
}
