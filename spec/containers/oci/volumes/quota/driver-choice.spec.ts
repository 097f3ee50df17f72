import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { MountPoint } from '../../../../../lib/containers/oci/mounts.js';
import {
  examineProjectDrivers,
  findProjectQuota,
} from '../../../../../lib/containers/oci/volumes/quota/driver-choice.js';
import { silentLogger } from '../../../../../lib/logging/logger.js';

describe('the quota drivers by project', () => {
  const mount = (path: string, fileSystem: string, ...options: string[]): MountPoint => ({
    ...{ path, root: '/', fileSystem, source: '/dev/vda', options },
  });
  const everywhere = async (program: string) => `/usr/bin/${program}`;
  const usable = async (mounts: MountPoint[], find = everywhere) =>
    (await examineProjectDrivers('/srv/depot', mounts, find)).map((driver) =>
      driver.isUsable ? `${driver.name} at ${driver.mountPoint}` : driver.reason,
    );

  it('can be used on their file system, when it is mounted with project quotas', async () => {
    expect(await usable([mount('/', 'xfs', 'rw', 'prjquota')])).to.deep.equal([
      'xfs-prj at /',
      '/srv/depot lies on xfs, not on ext4',
    ]);
    expect(await usable([mount('/', 'ext4', 'rw', 'prjquota')])).to.deep.equal([
      '/srv/depot lies on ext4, not on xfs',
      'ext4-prj at /',
    ]);
  });

  it('ask for the mount that the directory lies on, and no other', async () => {
    const mounts = [
      mount('/', 'ext4', 'prjquota'),
      mount('/srv', 'tmpfs'),
      mount('/srv', 'xfs', 'prjquota'),
      mount('/srv/depository', 'btrfs'),
    ];
    expect((await usable(mounts))[0]).to.equal('xfs-prj at /srv');
    expect((await usable(mounts.slice(0, 2)))[1]).to.equal('/srv/depot lies on tmpfs, not on ext4');
    expect((await usable([]))[0]).to.include('nothing that is mounted');
  });

  it('say what would help without the mount option, and without the programs', async () => {
    const without = await examineProjectDrivers('/srv/depot', [mount('/srv', 'ext4', 'rw')], everywhere);
    expect(without[1]).to.include({ isUsable: false, reason: '/srv is mounted without project quotas' });
    expect(without[1]).to.have.property('remedy').that.includes('tune2fs');
    // Counted, and not enforced.
    expect(await usable([mount('/srv', 'xfs', 'rw', 'pqnoenforce')])).to.include(
      '/srv is mounted without project quotas',
    );
    const nowhere = async () => undefined;
    const missing = await examineProjectDrivers('/srv/depot', [mount('/srv', 'xfs', 'prjquota')], nowhere);
    expect(missing[0]).to.include({ reason: 'xfs_io, xfs_quota not installed', remedy: 'apt-get install xfsprogs' });
  });

  it('are an error where they are demanded and cannot be used', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'quota-'));
    // At most one of the two can be there.
    const failures = await Promise.all(
      (['xfs-prj', 'ext4-prj'] as const).map((setting) =>
        findProjectQuota({ setting, directory, logger: silentLogger }).then(
          () => '',
          (error: Error) => `${error.name} ${error.message}`,
        ),
      ),
    );
    rmSync(directory, { recursive: true });
    expect(failures.some((text) => text.includes('cannot be used') && text.includes(directory))).to.equal(true);
  });
});
