import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { listMounts, loopDevicesBeneath } from '../../../../lib/containers/oci/mounts.js';
import type { Image, VolumeLease, VolumeRequest, Volumes } from '../../../../lib/containers/oci/ports.js';
import { createVolumes } from '../../../../lib/containers/oci/volumes/volumes.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { eventually, patience } from '../../../support/eventually.js';

const KiB = 1024;
const MiB = KiB * KiB;
/** What the volumes of one quota driver are like. */
export interface VolumesSubject {
  driver: 'xfs-prj' | 'ext4-prj' | 'loop-image';
  /** A directory on a file system that has what the driver needs. */
  directory: () => string;
  /** What the kernel tells who writes too much. */
  refusal: 'ENOSPC' | 'EDQUOT';
}

/** What every quota driver keeps; specs of a driver's own stand with its subject. */
export function itKeepsTheVolumesContract({ driver: subject, directory: home, refusal }: VolumesSubject): void {
  const hasImages = subject === 'loop-image';
  let base: string;
  let directory: string;
  let rootfs: string;
  let volumes: Volumes;
  const engines: Volumes[] = [];

  const imageOf = (path: string): Image => {
    const { dev, ino } = statSync(path);
    return {
      identity: `${dev}:${ino}`,
      lowerDirectories: [path],
      layers: [],
      env: [],
      annotations: {},
      isRaw: false,
      hasMetacopy: false,
    };
  };
  const references: string[] = [];
  const layers = {
    retain: (names: readonly string[]) => void references.push(...names),
    release: (names: readonly string[]) => {
      for (const name of names) references.splice(references.indexOf(name), 1);
    },
  };
  const open = async (options: { spares?: number; driver?: 'none' } = {}): Promise<Volumes> => {
    const engine = createVolumes({ directory, layers, driver: subject, spares: 0, logger: silentLogger, ...options });
    engines.push(engine);
    await engine.start();
    return engine;
  };
  const request = (handle: string, rest: Partial<VolumeRequest> = {}): VolumeRequest => {
    const own = join(base, handle);
    mkdirSync(own, { recursive: true });
    return { handle, directory: own, image: imageOf(rootfs), ...rest };
  };
  const create = (handle: string, rest: Partial<VolumeRequest> = {}, engine = volumes) =>
    engine.create(request(handle, rest));
  /** By its number: Node has no name for EDQUOT. */
  const reasonOf = (error: unknown) =>
    Object.entries(constants.errno).find(([, number]) => number === -(error as { errno: number }).errno)?.[0];
  /** Writes until the kernel refuses; gives the bytes that fitted and the refusal's name. */
  const fill = (path: string, most: number): { written: number; code: string | undefined } => {
    const file = openSync(path, 'w');
    let written = 0;
    try {
      while (written < most) written += writeSync(file, Buffer.alloc(64 * KiB, 1));
      return { written, code: undefined };
    } catch (error) {
      return { written, code: reasonOf(error) };
    } finally {
      closeSync(file);
    }
  };
  const mountsBelow = async () => (await listMounts()).filter((mount) => mount.path.startsWith(`${directory}/`));
  const leftovers = async () => ({
    mounts: (await mountsBelow()).map((mount) => mount.path),
    loops: await loopDevicesBeneath(directory),
    files: existsSync(directory) ? readdirSync(directory) : [],
  });
  const nothing = { mounts: [], loops: [], files: [] };

  beforeEach(async () => {
    base = mkdtempSync(join(home(), 'volumes-'));
    directory = join(base, '@volumes');
    rootfs = join(base, 'image');
    mkdirSync(join(rootfs, 'etc'), { recursive: true });
    writeFileSync(join(rootfs, 'etc/motd'), 'from the image');
    volumes = await open();
  });

  afterEach(async () => {
    for (const engine of engines.splice(0)) await engine.stop();
    await createVolumes({ directory, layers, spares: 0, logger: silentLogger }).reclaim([]);
    expect(await leftovers()).to.deep.equal(nothing);
    rmSync(base, { recursive: true });
  });

  it('lay a writable layer over the image, which stays as it is', async () => {
    chmodSync(rootfs, 0o751);
    chownSync(rootfs, 2000, 3000);
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    const root = join(base, 'app', 'rootfs');
    expect(readFileSync(join(root, 'etc/motd'), 'utf8')).to.equal('from the image');
    writeFileSync(join(root, 'etc/motd'), 'changed');
    expect(readFileSync(join(lease.mountPoint, 'etc/motd'), 'utf8')).to.equal('changed');
    expect(readFileSync(join(rootfs, 'etc/motd'), 'utf8')).to.equal('from the image');
    expect(statSync(lease.mountPoint)).to.include({ uid: 2000, gid: 3000, mode: 0o40751 });
  });

  for (const bytes of [4 * MiB, 64 * MiB, 300 * MiB]) {
    it(`hold what was promised and hardly more: ${bytes / MiB} MiB`, async () => {
      const lease = await create('app', { bytes, inodes: 5000 });
      const { written, code } = fill(join(lease.mountPoint, 'filler'), 2 * bytes);
      expect(code).to.equal(refusal);
      expect(written / bytes).to.be.within(1, 1.06);
      expect((await volumes.usage(lease)).bytesUsed).to.be.within(written, written * 1.01);
    });
  }

  it('stop a disk filler of many files, too, while other volumes have room', async () => {
    const [app, other] = [
      await create('app', { bytes: 64 * MiB, inodes: 2000 }),
      await create('other', { bytes: MiB }),
    ];
    let made = 0;
    const failure = (() => {
      try {
        for (; made < 5000; made += 1) writeFileSync(join(app.mountPoint, `file-${made}`), '');
      } catch (error) {
        return reasonOf(error);
      }
      return undefined;
    })();
    expect(failure).to.equal(refusal);
    expect(made).to.be.within(2000, 2200);
    expect((await volumes.usage(app)).inodesUsed).to.equal(made);
    expect(fill(join(other.mountPoint, 'file'), MiB).code).to.equal(undefined);
  });

  it('begin with nothing used and count what is given back', async () => {
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    expect(lease.driver).to.equal(subject);
    expect(await volumes.usage(lease)).to.deep.equal({ bytesUsed: 0, inodesUsed: 0 });
    writeFileSync(join(lease.mountPoint, 'file'), Buffer.alloc(MiB));
    expect(await volumes.usage(lease)).to.deep.equal({ bytesUsed: MiB, inodesUsed: 1 });
    rmSync(join(lease.mountPoint, 'file'));
    expect(await volumes.usage(lease)).to.deep.equal({ bytesUsed: 0, inodesUsed: 0 });
  });

  it('can hold as many files as bytes when inodes are not limited', async () => {
    const lease = await create('app', { bytes: 4 * MiB });
    for (let number = 0; number < 900; number += 1) writeFileSync(join(lease.mountPoint, `file-${number}`), 'x');
    expect((await volumes.usage(lease)).inodesUsed).to.equal(900);
  });

  it('count in a layer without limits as well, and need no image for it', async () => {
    const lease = await create('app');
    expect(lease.driver).to.equal('none');
    writeFileSync(join(lease.mountPoint, 'file'), Buffer.alloc(8192, 1));
    expect(await volumes.usage(lease)).to.include({ inodesUsed: 1 });
    expect(await loopDevicesBeneath(directory)).to.deep.equal([]);
  });

  it('ignore limits when they are told to', async () => {
    const free = await open({ driver: 'none' });
    const lease = await create('app', { bytes: MiB, inodes: 100 }, free);
    expect(lease.driver).to.equal('none');
    expect(fill(join(lease.mountPoint, 'file'), 2 * MiB).code).to.equal(undefined);
  });

  it('grow at once, and what is stored stays', async () => {
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    fill(join(lease.mountPoint, 'first'), 16 * MiB);
    const grown = await volumes.resize(lease, { bytes: 24 * MiB });
    expect(grown).to.include({ bytes: 24 * MiB, inodes: 100 });
    const { written, code } = fill(join(lease.mountPoint, 'second'), 64 * MiB);
    expect(code).to.equal(refusal);
    expect((statSync(join(lease.mountPoint, 'first')).size + written) / (24 * MiB)).to.be.within(1, 1.06);
  });

  it('shrink as far as what is stored leaves room', async () => {
    const lease = await create('app', { bytes: 32 * MiB, inodes: 100 });
    fill(join(lease.mountPoint, 'file'), 10 * MiB);
    const shrunk = await volumes.resize(lease, { bytes: 16 * MiB, inodes: 10 });
    // An image has the inodes that it was made with.
    expect(shrunk).to.include({ bytes: 16 * MiB, inodes: hasImages ? 100 : 10 });
    const refused = await volumes.resize(shrunk, { bytes: 4 * MiB });
    expect(refused).to.include({ bytes: 16 * MiB });
    const { written, code } = fill(join(lease.mountPoint, 'more'), 64 * MiB);
    expect(code).to.equal(refusal);
    expect((10 * MiB + written) / (16 * MiB)).to.be.within(1, 1.06);
  });

  it('are taken from the spares, which come back', async () => {
    const warm = await open({ spares: 2 });
    const first = await create('first', { bytes: 8 * MiB, inodes: 100 }, warm);
    // A spare is mounted a moment before it can be taken: it must have been seen for some looks.
    let looks = 0;
    const spares = await eventually(() => {
      const names = readdirSync(directory).filter((name) => existsSync(join(directory, name, 'rootfs/etc/motd')));
      looks = names.length === 3 ? looks + 1 : 0;
      return looks === 8 ? names : undefined;
    });
    const leases = await Promise.all(
      ['second', 'third'].map((handle) => create(handle, { bytes: 32 * MiB, inodes: 100 }, warm)),
    );
    for (const lease of leases) expect(spares).to.include(lease.mountPoint.split('/').at(-2));
    expect(fill(join(leases[0]!.mountPoint, 'file'), 64 * MiB).written / (32 * MiB)).to.be.within(1, 1.06);
    expect(fill(join(first.mountPoint, 'file'), 64 * MiB).written / (8 * MiB)).to.be.within(1, 1.06);
    await eventually(() => readdirSync(directory).length === 5 || undefined);
  });

  it('never come from a spare of an image that was replaced', async () => {
    const warm = await open({ spares: 1 });
    await create('first', {}, warm);
    await eventually(() => readdirSync(directory).length === 2 || undefined);
    renameSync(rootfs, `${rootfs}.old`);
    mkdirSync(join(rootfs, 'etc'), { recursive: true });
    writeFileSync(join(rootfs, 'etc/motd'), 'newer');
    const lease = await create('second', {}, warm);
    expect(readFileSync(join(lease.mountPoint, 'etc/motd'), 'utf8')).to.equal('newer');
  });

  it('are gone after the release, also after a second one', async () => {
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    fill(join(lease.mountPoint, 'file'), 4 * MiB);
    await volumes.release(lease);
    expect(await leftovers()).to.deep.equal(nothing);
    expect(existsSync(join(base, 'app', 'rootfs'))).to.equal(false);
    await volumes.release(lease);
  });

  it('go away with their last user when a process holds on to one', async () => {
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    const holder = spawn('sleep', ['60'], { cwd: lease.mountPoint, stdio: 'ignore' });
    await eventually(() => holder.pid !== undefined || undefined);
    await volumes.release(lease);
    expect(await mountsBelow()).to.deep.equal([]);
    holder.kill('SIGKILL');
    await eventually(async () => (await loopDevicesBeneath(directory)).length === 0 || undefined);
  });

  it('survive the engine; the next one adopts them and removes what belongs to nobody', async () => {
    const dead = await open({ spares: 2 });
    const [kept, lost] = [
      await create('kept', { bytes: 8 * MiB, inodes: 100 }, dead),
      await create('lost', { bytes: 8 * MiB, inodes: 100 }, dead),
    ];
    await eventually(() => readdirSync(directory).length === 4 || undefined);
    writeFileSync(join(kept.mountPoint, 'file'), 'kept');
    // What a kill amid formatting leaves.
    mkdirSync(join(directory, 'half-made'));
    writeFileSync(join(directory, 'half-made', 'image'), '');
    truncateSync(join(directory, 'half-made', 'image'), MiB);

    const next = await open();
    const lease: VolumeLease = JSON.parse(JSON.stringify(kept));
    expect(await next.adopt(lease)).to.equal(true);
    await next.reclaim([lease]);
    expect(readdirSync(directory)).to.deep.equal([lease.mountPoint.split('/').at(-2)]);
    expect(await loopDevicesBeneath(directory)).to.have.length(hasImages ? 1 : 0);
    expect(await next.adopt(lost)).to.equal(false);
    expect(readFileSync(join(lease.mountPoint, 'file'), 'utf8')).to.equal('kept');
    expect(await next.usage(lease)).to.deep.equal({ bytesUsed: 4096, inodesUsed: 1 });
    await next.release(lease);
    expect(await leftovers()).to.deep.equal(nothing);
  });

  it('leave nothing behind when their image has gone away', async () => {
    const image = { ...imageOf(rootfs), lowerDirectories: [join(base, 'nowhere')] };
    const failure = await create('app', { image, bytes: MiB }).catch((error: NodeJS.ErrnoException) => error.code);
    expect(failure).to.equal('ENOENT');
    expect(await leftovers()).to.deep.equal(nothing);
  });

  it('leave nothing behind when they cannot be linked', async () => {
    const failure = await volumes
      .create({ handle: 'app', directory: join(base, 'nowhere'), image: imageOf(rootfs), bytes: MiB })
      .catch((error: NodeJS.ErrnoException) => error.code);
    expect(failure).to.equal('ENOENT');
    expect(await leftovers()).to.deep.equal(nothing);
  });

  it('are laid over hundreds of layers, the first of which is on top', async () => {
    const lowerDirectories = Array.from({ length: 300 }, (_, number) => join(base, `layer-${number}`));
    for (const [number, path] of lowerDirectories.entries()) {
      mkdirSync(path);
      writeFileSync(join(path, `file-${number}`), '');
      writeFileSync(join(path, 'all'), String(number));
    }
    const lease = await create('app', { image: { ...imageOf(rootfs), lowerDirectories } });
    expect(readdirSync(lease.mountPoint)).to.have.length(301);
    expect(readFileSync(join(lease.mountPoint, 'all'), 'utf8')).to.equal('0');
  });

  it('keep the layers below them, spares as well, also in the hands of another engine', async () => {
    const spared = await open({ spares: 1 });
    const image = { ...imageOf(rootfs), layers: ['one', 'two'] };
    const lease = await create('app', { image }, spared);
    await eventually(() => references.length === 4 || undefined, { what: 'a spare' });
    await spared.stop();
    expect(references.sort()).to.deep.equal(['one', 'two']);
    references.length = 0;
    const next = await open();
    expect(await next.adopt(JSON.parse(JSON.stringify(lease)))).to.equal(true);
    expect(references.sort()).to.deep.equal(['one', 'two']);
    await next.release(lease);
    await next.release(lease);
    expect(references).to.deep.equal([]);
  });

  it('tell what their image takes, as it was recorded or else as it is counted', async () => {
    writeFileSync(join(rootfs, 'big'), Buffer.alloc(MiB, 1));
    linkSync(join(rootfs, 'big'), join(rootfs, 'same'));
    const counted = await create('counted');
    expect(await volumes.imageBytes(counted)).to.be.within(MiB, 1.1 * MiB);
    const recorded = await create('recorded', { image: { ...imageOf(rootfs), bytes: 12_345 } });
    expect(await volumes.imageBytes(JSON.parse(JSON.stringify(recorded)))).to.equal(12_345);
  });

  it('accept any name of an image', async () => {
    const odd = join(base, 'a b,c:d\\e');
    mkdirSync(odd);
    writeFileSync(join(odd, 'file'), 'odd');
    const lease = await create('app', { image: imageOf(odd) });
    expect(readFileSync(join(lease.mountPoint, 'file'), 'utf8')).to.equal('odd');
  });

  it('are made and released ten at a time', async () => {
    const handles = Array.from({ length: 10 }, (_, number) => `c${number}`);
    const leases = await Promise.all(handles.map((handle) => create(handle, { bytes: 8 * MiB, inodes: 100 })));
    expect(new Set(leases.map((lease) => lease.mountPoint)).size).to.equal(10);
    await Promise.all(leases.map((lease) => volumes.release(lease)));
    expect(await leftovers()).to.deep.equal(nothing);
  });

  it('start no process to tell how full they are', async () => {
    const lease = await create('app', { bytes: 8 * MiB, inodes: 100 });
    const forks = () => Number(/^processes (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]);
    const forksBefore = forks();
    const cpuBefore = process.cpuUsage();
    for (let reads = 0; reads < 200; reads += 1) await volumes.usage(lease);
    const { user, system } = process.cpuUsage(cpuBefore);
    expect((user + system) / 1000 / 200, 'milliseconds per reading').to.be.below(2 * patience);
    // Others may fork meanwhile, but not two hundred times.
    expect(forks() - forksBefore).to.be.below(200);
  });
}
