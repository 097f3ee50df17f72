import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Image, VolumeLease, Volumes } from '../../lib/containers/oci/ports.js';
import { projectOf } from '../../lib/containers/oci/volumes/quota/project-quota.js';
import { createVolumes } from '../../lib/containers/oci/volumes/volumes.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { itKeepsTheVolumesContract } from '../containers/oci/volumes/volumes-contract.js';
import { makeQuotaFileSystem, type QuotaFileSystem } from './quota-file-system.js';

const MiB = 2 ** 20;
const subjects = [
  { driver: 'xfs-prj', kind: 'xfs', refusal: 'ENOSPC' },
  { driver: 'ext4-prj', kind: 'ext4', refusal: 'EDQUOT' },
] as const;

for (const { driver, kind, refusal } of subjects) {
  describe(`volumes of containers with the quota driver ${driver}`, () => {
    let fileSystem: QuotaFileSystem;
    before(() => {
      fileSystem = makeQuotaFileSystem(kind);
    });
    after(() => fileSystem.remove());

    itKeepsTheVolumesContract({ driver, refusal, directory: () => fileSystem.path });
  });

  describe(`volumes of containers, limited by projects of ${kind}`, () => {
    let fileSystem: QuotaFileSystem;
    let base: string;
    let rootfs: string;
    const engines: Volumes[] = [];
    const layers = { retain: () => {}, release: () => {} };
    const directory = () => join(base, '@volumes');

    const open = async (setting: 'auto' | 'xfs-prj' | 'ext4-prj' | 'loop-image' = 'auto'): Promise<Volumes> => {
      const options = { directory: directory(), layers, driver: setting, spares: 0, logger: silentLogger };
      const engine = createVolumes(options);
      engines.push(engine);
      await engine.start();
      return engine;
    };
    const create = (engine: Volumes, handle: string, limits: { bytes?: number; inodes?: number }) => {
      const { dev, ino } = statSync(rootfs);
      const image: Image = {
        ...{ identity: `${dev}:${ino}`, lowerDirectories: [rootfs], layers: [], env: [] },
        ...{ annotations: {}, isRaw: false, hasMetacopy: false },
      };
      mkdirSync(join(base, handle));
      return engine.create({ handle, directory: join(base, handle), image, ...limits });
    };
    const project = (lease: VolumeLease) => projectOf(join(lease.mountPoint, '..'))!;
    /** What the file system itself has on record for a project. */
    const recorded = (id: number) => {
      const args = ['-x', '-f', '-c', `quota -p -N -b -v ${id}`, '-c', `quota -p -N -i -v ${id}`, fileSystem.path];
      return execFileSync('xfs_quota', args, { encoding: 'utf8' });
    };

    before(() => {
      fileSystem = makeQuotaFileSystem(kind);
    });
    after(() => fileSystem.remove());
    beforeEach(() => {
      base = mkdtempSync(join(fileSystem.path, 'own-'));
      rootfs = join(base, 'image');
      mkdirSync(rootfs);
      mkdirSync(directory());
      writeFileSync(join(rootfs, 'big'), Buffer.alloc(MiB, 1));
    });
    afterEach(async () => {
      for (const engine of engines.splice(0)) await engine.stop();
      // An engine that made none of them takes all for strays.
      const options = { directory: directory(), layers, spares: 0, logger: silentLogger };
      await createVolumes(options).reclaim([]);
      expect(readdirSync(directory())).to.deep.equal([]);
      rmSync(base, { recursive: true });
    });

    it('are the choice where nothing else is asked for', async () => {
      const lease = await create(await open(), 'app', { bytes: 8 * MiB });
      expect(lease.driver).to.equal(driver);
      expect(project(lease)).to.be.at.least(2 ** 20);
    });

    it('have images where those are asked for, and both kinds live side by side', async () => {
      const before = await create(await open(), 'before', { bytes: 8 * MiB, inodes: 100 });
      const engine = await open('loop-image');
      expect(await engine.adopt(before)).to.equal(true);
      const after = await create(engine, 'after', { bytes: 8 * MiB, inodes: 100 });
      expect([before.driver, after.driver]).to.deep.equal([driver, 'loop-image']);
      for (const lease of [before, after]) {
        writeFileSync(join(lease.mountPoint, 'file'), Buffer.alloc(MiB, 1));
        expect(await engine.usage(lease)).to.deep.equal({ bytesUsed: MiB, inodesUsed: 1 });
        expect(await engine.resize(lease, { bytes: 16 * MiB })).to.include({ bytes: 16 * MiB });
      }
      for (const lease of [before, after]) await engine.release(lease);
    });

    it('count what is copied up from the image, and what was renamed there', async () => {
      const engine = await open();
      const lease = await create(engine, 'app', { bytes: 8 * MiB, inodes: 100 });
      execFileSync('sh', ['-c', 'echo x >> big; mkdir d; mv big d/other'], { cwd: lease.mountPoint });
      const usage = await engine.usage(lease);
      expect(usage.bytesUsed).to.be.within(MiB, MiB + 64 * 1024);
      expect(usage.inodesUsed).to.be.within(2, 4);
    });

    it('tell their limit to who asks inside how much room there is', async () => {
      const lease = await create(await open(), 'app', { bytes: 64 * MiB, inodes: 100 });
      const text = execFileSync('df', ['--output=size', '-B1', lease.mountPoint], { encoding: 'utf8' });
      expect(Number(text.split('\n')[1])).to.be.within(64 * MiB, 66 * MiB);
    });

    it('keep their project from root in a user namespace', async () => {
      const lease = await create(await open(), 'app', { bytes: 8 * MiB, inodes: 100 });
      const inside = spawnSync('unshare', ['--user', '--map-root-user', 'chattr', '-p', '0', lease.mountPoint]);
      expect(inside.status).to.not.equal(0);
      const listed = execFileSync('lsattr', ['-pd', lease.mountPoint], { encoding: 'utf8' });
      expect(Number(listed.trim().split(/\s+/)[0])).to.equal(project(lease));
    });

    it('keep their project from the next engine, which takes others', async () => {
      const kept = await create(await open(), 'kept', { bytes: 8 * MiB, inodes: 100 });
      const next = await open();
      expect(await next.adopt(JSON.parse(JSON.stringify(kept)))).to.equal(true);
      await next.reclaim([kept]);
      const others = await Promise.all(['a', 'b', 'c'].map((name) => create(next, name, { bytes: 8 * MiB })));
      expect(others.map(project)).to.not.include(project(kept));
      await next.release(kept);
    });

    it('pass over a project that has files of somebody else', async () => {
      const engine = await open();
      const first = await create(engine, 'first', { bytes: 8 * MiB });
      const foreign = join(base, 'foreign');
      mkdirSync(foreign);
      execFileSync('chattr', ['-p', String(project(first) + 1), '+P', foreign]);
      writeFileSync(join(foreign, 'file'), 'somebody');
      const second = await create(engine, 'second', { bytes: 8 * MiB });
      expect(project(second)).to.equal(project(first) + 2);
    });

    it('leave no limits on record when they are gone', async () => {
      const engine = await open();
      const lease = await create(engine, 'app', { bytes: 8 * MiB, inodes: 100 });
      // Kibibytes: what was asked for, and room for what the file system itself needs of it.
      expect(recorded(project(lease))).to.match(/ 8[23]\d\d +00 /);
      await engine.release(lease);
      expect(recorded(project(lease))).to.not.match(/[1-9]\d{2,} +\d+ \[/);
    });

    it('are refused with the reason when another driver is demanded', async () => {
      const other = driver === 'xfs-prj' ? 'ext4-prj' : 'xfs-prj';
      const failure = await open(other).catch((error: Error) => error.message);
      expect(failure).to.include(`the quota driver ${other} cannot be used`).and.include(`lies on ${kind}`);
    });

    it('have images on a file system that is mounted without quotas, and say what would help', async () => {
      const plain = makeQuotaFileSystem(kind, { isEnforced: false });
      try {
        const options = { directory: join(plain.path, '@volumes'), layers, spares: 0, logger: silentLogger };
        await createVolumes(options).start();
        const failure = await createVolumes({ ...options, driver })
          .start()
          .catch((error: Error) => error.message);
        expect(failure).to.include('is mounted without project quotas').and.include(plain.path);
      } finally {
        plain.remove();
      }
    });
  });
}
