import { readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import type { Container, ContainerSpec } from '../../../lib/containers/engine.js';
import { InvalidSpecError } from '../../../lib/containers/errors.js';
import { availableCapabilities, privilegedCapabilities } from '../../../lib/containers/oci/runtime/capabilities.js';
import { rootOutside } from '../../../lib/containers/oci/users/id-map.js';
import { type OciSubject, startOciEngine } from '../../support/oci.js';
import { runtimes } from '../../support/variants.js';
import { failureOf, runToEnd, script } from '../engine-contract.js';

/** Bits of all that a privileged container may have, as far as this host has it. */
function privilegedMask(): string {
  const available = availableCapabilities();
  const bits = privilegedCapabilities.map((name, number) => (available.has(name) ? 1n << BigInt(number) : 0n));
  return bits
    .reduce((mask, bit) => mask | bit, 0n)
    .toString(16)
    .padStart(16, '0');
}

for (const runtime of runtimes) {
  describe(`users of containers made with ${runtime}`, function () {
    this.timeout(60_000);
    let subject: OciSubject;

    const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
    const output = async (container: Container, text: string, user = 'root') =>
      (await runToEnd(container, script(text, { user }))).stdout;
    const capabilities = async (container: Container, user?: string) =>
      (await output(container, 'grep -E "^(Cap|Seccomp:)" /proc/self/status', user)).split('\n').slice(0, 6);
    const sets = (inheritable: string, permitted: string, bounding: string, seccomp: 0 | 2) => [
      `CapInh:\t${inheritable}`,
      `CapPrm:\t${permitted}`,
      `CapEff:\t${permitted}`,
      `CapBnd:\t${bounding}`,
      'CapAmb:\t0000000000000000',
      `Seccomp:\t${seccomp}`,
    ];
    const none = '0000000000000000';

    before(async () => {
      subject = await startOciEngine({ runtime });
    });

    after(async () => {
      await subject.dispose();
    });

    afterEach(async () => {
      const containers = await subject.engine.list();
      await Promise.all(containers.map((container) => subject.engine.destroy(container.handle)));
    });

    it('are themselves outside, but for root, who is nobody', async () => {
      const container = await create();
      const map = (file: string) => output(container, `awk '{print $1, $2, $3}' /proc/self/${file}`);
      expect(await map('uid_map')).to.equal('0 4294967294 1\n1 1 4294967293\n');
      expect(await map('gid_map')).to.equal('0 4294967294 1\n1 1 4294967293\n');

      for (const [user, uid] of [
        ['root', rootOutside],
        ['vcap', 2000],
      ] as const) {
        const process = await container.run(
          script('echo x > /tmp/made-by-$(id -un); exec sleep 100', { user, id: user }),
        );
        expect(process.id).to.equal(user);
        const { stdout } = await runToEnd(container, script(`stat -c %U /tmp/made-by-${user}`));
        expect(stdout).to.equal(`${user}\n`);
        const { containerPath } = await container.info();
        expect(statSync(`${containerPath}/rootfs/tmp/made-by-${user}`).uid).to.equal(uid);
      }
    });

    it('own what they owned in the image, set-user-id programs included', async () => {
      const container = await create();
      expect(await output(container, 'stat -c "%U:%G %a" / /etc/passwd /usr/bin/su /home/vcap /tmp')).to.equal(
        'root:root 755\nroot:root 644\nroot:root 4755\nvcap:vcap 755\nroot:root 1777\n',
      );
      expect(await output(container, 'stat -c "%U:%G" /etc/hosts /etc/resolv.conf')).to.equal('root:root\nroot:root\n');
      expect(await output(container, 'echo "1.2.3.4 more" >> /etc/hosts && grep -c more /etc/hosts')).to.equal('1\n');
    });

    it('have the capabilities and the filter that their kind of container and they themselves are given', async () => {
      const unprivileged = await create();
      const usual = '00000000a80425fb';
      expect(await capabilities(unprivileged)).to.deep.equal(sets(usual, usual, usual, 2));
      expect(await capabilities(unprivileged, 'vcap')).to.deep.equal(sets(usual, none, usual, 2));
      expect(await capabilities(unprivileged, '1000:0')).to.deep.equal(sets(usual, none, usual, 2));

      const privileged = await create({ privileged: true });
      const all = privilegedMask();
      const others = '00000000a82425fb';
      expect(await capabilities(privileged)).to.deep.equal(sets(all, all, all, 0));
      expect(await capabilities(privileged, 'vcap')).to.deep.equal(sets(others, none, others, 0));
    });

    it('are those of the host in a privileged container, which may use its devices and mount', async () => {
      const container = await create({ privileged: true });
      expect(await output(container, "awk '{print $1, $2}' /proc/self/uid_map")).to.equal('0 0\n');
      expect(await output(container, 'mount -t tmpfs none /mnt && umount /mnt && echo mounted')).to.equal('mounted\n');
      expect(await output(container, 'stat -c "%a %t:%T" /dev/fuse; mknod /tmp/null c 1 3 && echo made')).to.equal(
        '666 a:e5\nmade\n',
      );
      expect(await output(container, 'head -c 1 /proc/keys | wc -c')).to.equal('1\n');
      expect(await output(container, 'mknod /tmp/disk b 254 0; head -c 1 /tmp/disk 2>&1')).to.include('not permitted');
    });

    it('have the network to themselves: raw sockets and low ports are for root', async () => {
      const container = await create();
      const open = (kind: string) => `perl -e 'use Socket; socket(S, PF_INET, ${kind}) or die $!; print "open\\n"'`;
      const bind = `perl -e 'use Socket; socket(S, PF_INET, SOCK_STREAM, 6); bind(S, sockaddr_in(80, INADDR_ANY)) or die $!; print "bound\\n"'`;
      expect(await output(container, open('SOCK_RAW, 1'))).to.equal('open\n');
      expect(await output(container, bind)).to.equal('bound\n');
      expect((await runToEnd(container, script(open('SOCK_RAW, 1'), { user: 'vcap' }))).status).not.to.equal(0);
      expect((await runToEnd(container, script(bind, { user: 'vcap' }))).status).not.to.equal(0);
      expect(await output(container, 'cat /proc/sys/net/ipv4/tcp_retries2')).to.equal(
        readFileSync('/proc/sys/net/ipv4/tcp_retries2', 'utf8'),
      );
    });

    it('find nothing of the host in their own init', async () => {
      const container = await create();
      const descriptors = await output(container, 'for fd in /proc/1/fd/*; do readlink $fd; done');
      // The last one is its own.
      expect(descriptors).to.match(/^(pipe:\[\d+\]\n){3}(anon_inode:\S+\n)?$/);
    });
  });
}

describe('an engine of the operator’s choice', function () {
  this.timeout(60_000);
  let subject: OciSubject;

  afterEach(async () => {
    await subject.dispose();
  });

  it('refuses privileged containers', async () => {
    subject = await startOciEngine({ allowPrivileged: false });
    const failure = await failureOf(subject.engine.create({ rootfs: subject.rootfs, privileged: true }));
    expect(failure).to.be.instanceOf(InvalidSpecError);
    expect((failure as Error).message).to.equal('privileged container creation is disabled');
    expect(await subject.engine.list()).to.deep.equal([]);
  });

  it('makes no user namespaces', async () => {
    subject = await startOciEngine({ userNamespaces: false });
    const container = await subject.engine.create({ rootfs: subject.rootfs });
    const { stdout } = await runToEnd(
      container,
      script("awk '{print $1, $2}' /proc/self/uid_map; stat -c %U /etc/passwd"),
    );
    expect(stdout).to.equal('0 0\nroot\n');
  });

  it('lets no program of a container gain privileges', async () => {
    subject = await startOciEngine({ noNewPrivileges: true });
    const container = await subject.engine.create({ rootfs: subject.rootfs });
    const { stdout } = await runToEnd(
      container,
      script('grep NoNewPrivs /proc/self/status; cat /proc/sys/net/ipv4/ping_group_range', { user: 'vcap' }),
    );
    expect(stdout.replaceAll('\t', ' ')).to.equal('NoNewPrivs: 1\n1 2147483647\n');
  });

  it('keeps user namespaces of containers over its restart, and gives up those that are kept in stock', async () => {
    subject = await startOciEngine();
    await subject.engine.create({ rootfs: subject.rootfs, handle: 'kept' });
    await subject.restart();
    const container = await subject.engine.lookup('kept');
    const { stdout } = await runToEnd(container, script("awk '{print $1, $2}' /proc/self/uid_map", { user: 'vcap' }));
    expect(stdout).to.equal('0 4294967294\n1 1\n');
  });
});
