import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkHost, isUsable } from '../../../lib/containers/oci/host-check.js';
import { checkControlGroups } from '../../../lib/containers/oci/host-features.js';
import type { HostFinding } from '../../../lib/containers/oci/host-finding.js';
import { runCommand } from '../../../lib/process/command.js';
import { makeOciSettings } from '../../support/oci.js';
import { stackRootfs } from '../../support/stack.js';

describe('the check of a host', function () {
  this.timeout(30_000);

  it('makes a real container with each runtime, tells what it costs, and leaves nothing, also where a link leads', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'host-check-'));
    try {
      const settings = await makeOciSettings();
      await mkdir(join(directory, 'real'));
      await symlink('real', join(directory, 'link'));
      const findings = await checkHost({
        ...settings,
        depotDirectory: join(directory, 'link/made/for/it/depot'),
        defaultRootfs: stackRootfs(),
      });
      expect(isUsable(findings)).to.equal(true);
      for (const runtime of ['crun', 'runc']) {
        const finding = findings.find(({ subject }) => subject === `runtime ${runtime}`);
        expect(finding).to.include({ state: 'ok' });
        expect(finding!.detail).to.match(/^create \d+ ms, run \d+ ms, destroy \d+ ms$/);
      }
      expect(findings.find(({ subject }) => subject === 'program conmon')).to.include({ state: 'ok' });
      for (const [subject, detail] of [
        ['control groups', /^version [12].*: .*\bmemory\b/],
        ['disk quota', /^(xfs-prj|ext4-prj|loop-image), \d+ ms a volume/],
        ['user namespaces', /^made in \d+ ms$/],
        ['network', /^\d+ ms a network; mapped ports answer on [\d.]+$/],
        ['bandwidth limits', /^tbf, \d+ ms a link$/],
        ['default root file system', new RegExp(`^${stackRootfs()}$`)],
      ] as const) {
        const finding = findings.find((found) => found.subject === subject);
        expect(finding, subject).to.include({ state: 'ok' });
        expect(finding!.detail).to.match(detail);
      }
      expect(await readdir(join(directory, 'real'))).to.deep.equal([]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('tells why a runtime fails', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'host-check-'));
    try {
      const findings = await checkHost({ depotDirectory: join(directory, 'depot'), networkPool: '10.0.0.0/99' });
      const finding = findings.find(({ subject }) => subject === 'runtime crun');
      expect(finding).to.include({ state: 'fails' });
      expect(finding!.detail).to.contain('10.0.0.0/99');
      expect(findings.find(({ subject }) => subject === 'network')).to.include({ state: 'fails' });
      expect(isUsable(findings)).to.equal(false);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('tells what of the configuration is not there, or leads elsewhere', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'host-check-'));
    try {
      await mkdir(join(directory, 'tmpfs'));
      await runCommand('mount', ['-t', 'tmpfs', 'tmpfs', join(directory, 'tmpfs')]);
      const defaultRootfs = join(directory, 'nowhere');
      const findings = await checkHost({
        ...(await makeOciSettings()),
        depotDirectory: join(directory, 'tmpfs/depot'),
        defaultRootfs,
        externalIp: '192.0.2.77',
      });
      const of = (subject: string) => findings.find((finding) => finding.subject === subject);
      expect(of('default root file system')).to.include({
        state: 'missing',
        detail: `${defaultRootfs} is not there`,
        remedy: `bin/make-stack ${defaultRootfs}`,
      });
      expect(of('network')?.detail).to.include('on 192.0.2.77, which no interface of this host has');
      expect(of('disk quota')?.detail).to.include('the depot lies in memory');
      expect(isUsable(findings)).to.equal(false);
      expect(await readdir(join(directory, 'tmpfs'))).to.deep.equal([]);
    } finally {
      await runCommand('umount', [join(directory, 'tmpfs')]);
      await rm(directory, { recursive: true });
    }
  });

  it('tells why a quota driver that is demanded cannot be used, and what would help', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'host-check-'));
    try {
      await mkdir(join(directory, 'tmpfs'));
      await runCommand('mount', ['-t', 'tmpfs', 'tmpfs', join(directory, 'tmpfs')]);
      const settings = await makeOciSettings();
      const depotDirectory = join(directory, 'tmpfs/depot');
      const findings = await checkHost({ ...settings, depotDirectory, diskQuotaDriver: 'xfs-prj' });
      const finding = findings.find(({ subject }) => subject === 'disk quota');
      expect(finding).to.include({ state: 'fails', remedy: 'put it on xfs with project quotas' });
      expect(finding!.detail).to.include('lies on tmpfs, not on xfs');
      expect(isUsable(findings)).to.equal(false);
    } finally {
      await runCommand('umount', [join(directory, 'tmpfs')]);
      await rm(directory, { recursive: true });
    }
  });

  describe('knows the control groups of a host', () => {
    const mount = (path: string, fileSystem: string, options: string[]) => ({
      ...{ path, root: '/', fileSystem, source: fileSystem, options },
    });

    it('of version 1, where one that is needed is missing', async () => {
      const mounts = [mount('/a', 'cgroup', ['rw', 'memory']), mount('/b', 'cgroup', ['rw', 'cpu', 'cpuacct'])];
      const finding = await checkControlGroups(mounts);
      expect(finding).to.include({ state: 'fails', detail: 'version 1, without pids' });
      expect(finding.remedy).to.include('kernel');
    });

    it('of version 2', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'cgroup2-'));
      await writeFile(join(directory, 'cgroup.controllers'), 'cpu memory pids\n');
      expect(await checkControlGroups([mount(directory, 'cgroup2', ['rw'])])).to.include({
        state: 'ok',
        detail: `version 2 at ${directory}: cpu memory pids`,
      });
      await writeFile(join(directory, 'cgroup.controllers'), 'memory\n');
      expect(await checkControlGroups([mount(directory, 'cgroup2', ['rw'])])).to.include({
        state: 'fails',
        detail: `version 2 at ${directory}, without cpu, pids`,
      });
      await rm(directory, { recursive: true });
    });

    it('where there are none', async () => {
      expect(await checkControlGroups([])).to.include({ state: 'missing' });
    });
  });

  describe('calls a host usable', () => {
    const ok = (subject: string): HostFinding => ({ subject, state: 'ok', detail: '' });
    const missing = (subject: string): HostFinding => ({ subject, state: 'missing', detail: '' });

    it('with one runtime of two', () => {
      expect(isUsable([ok('program conmon'), ok('runtime crun'), missing('runtime runc')])).to.equal(true);
    });

    it('not without any runtime', () => {
      expect(isUsable([ok('program conmon'), missing('runtime crun'), missing('runtime runc')])).to.equal(false);
    });

    it('not without a program that is needed', () => {
      expect(isUsable([missing('program conmon'), ok('runtime crun')])).to.equal(false);
    });

    it('without one that is needed for some images only', () => {
      const skopeo = { ...missing('program skopeo'), optional: 'images from registries' };
      expect(isUsable([ok('program conmon'), skopeo, ok('runtime crun')])).to.equal(true);
    });
  });
});
