import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkHost, type HostFinding, isUsable } from '../../../lib/containers/oci/host-check.js';
import { makeOciSettings } from '../../support/oci.js';

describe('the check of a host', function () {
  this.timeout(30_000);

  it('makes a real container with each runtime, tells what it costs, and leaves nothing, also where a link leads', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'host-check-'));
    try {
      const settings = await makeOciSettings();
      await mkdir(join(directory, 'real'));
      await symlink('real', join(directory, 'link'));
      const findings = await checkHost({ ...settings, depotDirectory: join(directory, 'link/depot') });
      expect(isUsable(findings)).to.equal(true);
      for (const runtime of ['crun', 'runc']) {
        const finding = findings.find(({ subject }) => subject === `runtime ${runtime}`);
        expect(finding).to.include({ state: 'ok' });
        expect(finding!.detail).to.match(/^create \d+ ms, run \d+ ms, destroy \d+ ms$/);
      }
      expect(findings.find(({ subject }) => subject === 'program conmon')).to.include({ state: 'ok' });
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
      expect(isUsable(findings)).to.equal(false);
    } finally {
      await rm(directory, { recursive: true });
    }
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
