import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rm, stat, statfs, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { errorData, type Logger } from '../../../logging/logger.js';
import { HostRequirementError, InvalidSpecError } from '../../errors.js';
import { detachLoopDevice, listMounts, loopDevicesBeneath, mountOverlay, unmount } from '../mounts.js';
import type { DiskUsage, VolumeLease, VolumeRequest, Volumes } from '../ports.js';
import type { StartActivity } from '../start-activity.js';
import { WarmPool } from '../warm-pool.js';
import { capacityFor, type ImageLimits, inodesWithoutLimit } from './image-geometry.js';
import { loopImage } from './loop-image.js';
import { treeUsage } from './tree-usage.js';

export interface VolumesOptions {
  /** Where volumes live; its file system holds what containers write. Created when missing; nothing else may be in it. */
  directory: string;
  /**
   * `loop-image` enforces limits by an ext4 image per container; `none` enforces no limit at all (development only).
   * @default 'loop-image'
   */
  driver?: 'loop-image' | 'none';
  /** Spare volumes of the kind that was asked for last; each of up to two other recent kinds has one. 0: no spares. @default 3 */
  spares?: number;
  /** Stocks are filled when nothing is being started. */
  activity?: StartActivity;
  logger: Logger;
}

/** The kind of a volume: all that a spare one must agree in. */
const kindSchema = z.object({
  rootfs: z.string(),
  /** Device and inode of the root file system: one that was replaced under the same name is another kind. */
  identity: z.string(),
  /** Absent: no limit, no image. */
  capacity: z.object({ bytes: z.number(), inodes: z.number() }).optional(),
});

type VolumeKind = z.infer<typeof kindSchema>;

/** A mounted volume, in or out of the pool. */
const volumeSchema = z.object({
  driver: z.enum(['loop-image', 'none']),
  /** `<volumes>/<id>/rootfs` */
  mountPoint: z.string(),
  /** `<volumes>/<id>` */
  volumeDirectory: z.string(),
  /** `<container>/rootfs`, a symbolic link to the mount point; absent while the volume is a spare. */
  rootfs: z.string().optional(),
  link: z.string().optional(),
  bytes: z.number().optional(),
  inodes: z.number().optional(),
  baseline: z.object({ usedBlocks: z.number(), usedInodes: z.number() }),
});

type Volume = z.infer<typeof volumeSchema>;

/** Magic number of overlayfs in `statfs`. */
const overlayType = 0x794c7630;
const recentKinds = 3;
const defaultSpares = 3;
/** A walk through an unlimited layer is costly; its result is good for so long. */
const treeUsageAgeMs = 30_000;
const removalRetries = 5;

/**
 * Root file systems of containers (docs/adr/0002-one-container-engine.md).
 *
 *     <directory>/<id>/image     sparse ext4 image (driver loop-image)
 *                      data/     the image mounted; with driver none a plain directory
 *                      data/upper, data/work
 *                      rootfs/   overlay: rootfs below, upper above
 *     <container>/rootfs      -> <directory>/<id>/rootfs
 *
 * The mounts never move: a spare becomes a container's volume by a symbolic link, and removing a container's directory
 * can never reach through a mount.
 */
export function createVolumes(options: VolumesOptions): Volumes {
  return new OverlayVolumes(options);
}

class OverlayVolumes implements Volumes {
  readonly #options: VolumesOptions;
  readonly #logger: Logger;
  readonly #pool: WarmPool<Volume>;
  /** Directories that this process is making, keeps as spares or has handed out; `reclaim` spares them. */
  readonly #known = new Set<string>();
  /** Bytes of root file systems by path; counting visits every file, so it is done once. */
  readonly #imageSizes = new Map<string, Promise<number>>();
  readonly #treeUsages = new Map<string, { at: number; usage: Promise<DiskUsage> }>();
  #isVolatile = true;

  constructor(options: VolumesOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#pool = new WarmPool({
      name: 'volumes',
      size: options.spares ?? defaultSpares,
      keys: recentKinds,
      // One at a time: a batch would take both cores from the containers that are starting.
      make: async (key) => [await this.#make(parseKind(key))],
      discard: (volumes) => this.#removeAll(volumes.map((volume) => volume.volumeDirectory)),
      ...(options.activity && { activity: options.activity }),
      logger: options.logger,
    });
  }

  async start(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o711 });
    await this.#probe();
  }

  async stop(): Promise<void> {
    await this.#pool.stop();
  }

  async create(request: VolumeRequest): Promise<VolumeLease> {
    const limits = this.#options.driver === 'none' ? undefined : await this.#limitsOf(request);
    const kind = await kindOf(request.rootfs, limits);
    const volume = await this.#pool.obtain(JSON.stringify(kind), () => this.#make(kind));
    const link = join(request.directory, 'rootfs');
    try {
      if (limits) await loopImage.setLimit(volume.volumeDirectory, volume.baseline, limits.bytes);
      await symlink(volume.mountPoint, link);
    } catch (error) {
      await this.#removeAll([volume.volumeDirectory]);
      throw error;
    }
    return { ...volume, ...limits, link, rootfs: kind.rootfs };
  }

  async adopt(lease: VolumeLease): Promise<boolean> {
    const volume = volumeSchema.parse(lease);
    // A path that is no mount any more shows the file system that the volumes lie on.
    const status = await statfs(volume.mountPoint).catch(() => undefined);
    if (status?.type !== overlayType) return false;
    this.#known.add(volume.volumeDirectory);
    return true;
  }

  async usage(lease: VolumeLease): Promise<DiskUsage> {
    const volume = volumeSchema.parse(lease);
    if (volume.driver === 'loop-image') return loopImage.usage(volume.volumeDirectory, volume.baseline);
    return this.#treeUsage(volume.volumeDirectory);
  }

  async imageBytes(lease: VolumeLease): Promise<number> {
    const { rootfs } = volumeSchema.parse(lease);
    if (rootfs === undefined) return 0;
    const known = this.#imageSizes.get(rootfs);
    if (known) return known;
    const size = treeUsage(rootfs).then(({ bytesUsed }) => bytesUsed);
    this.#imageSizes.set(rootfs, size);
    return size;
  }

  async resize(lease: VolumeLease, limits: { bytes?: number; inodes?: number }): Promise<VolumeLease> {
    const volume = volumeSchema.parse(lease);
    if (volume.driver === 'none') {
      this.#logger.warn('a volume that was made without a limit cannot get one', { directory: volume.volumeDirectory });
      return lease;
    }
    const wanted = { ...(volume.bytes !== undefined && { bytes: volume.bytes }), ...limits };
    const bytes = wanted.bytes ?? (await this.#depotBytes());
    const inodes = Math.max(limits.inodes ?? 0, volume.inodes ?? 0);
    if (inodes > (volume.inodes ?? 0)) await loopImage.growInodes(volume.volumeDirectory, inodes);
    try {
      await loopImage.setLimit(volume.volumeDirectory, volume.baseline, bytes);
    } catch (error) {
      if (bytes > (volume.bytes ?? 0)) throw error;
      this.#logger.info('a smaller disk limit has no room beside what is in use', { bytes, ...errorData(error) });
      return { ...lease, inodes };
    }
    return { ...lease, bytes, inodes };
  }

  async release(lease: VolumeLease): Promise<void> {
    const volume = volumeSchema.parse(lease);
    if (volume.link !== undefined) await rm(volume.link, { force: true });
    await this.#removeAll([volume.volumeDirectory]);
  }

  async reclaim(leases: VolumeLease[]): Promise<void> {
    const kept = new Set(leases.map((lease) => volumeSchema.parse(lease).volumeDirectory));
    const isStray = (directory: string) => !kept.has(directory) && !this.#known.has(directory);
    const root = this.#options.directory;
    const onDisk = (await readdir(root)).map((name) => join(root, name));
    // A volume whose directory entry is gone may still be mounted.
    const mounted = (await listMounts())
      .filter((mount) => mount.path.startsWith(`${root}/`))
      .map((mount) => join(root, mount.path.slice(root.length + 1).split('/')[0] ?? ''));
    const strays = [...new Set([...onDisk, ...mounted])].filter(isStray);
    if (strays.length > 0) {
      this.#logger.info('removing volumes that no container has', { count: strays.length });
      await this.#removeAll(strays);
    }
    for (const { device, file } of await loopDevicesBeneath(root)) {
      if (isStray(dirname(file))) await detachLoopDevice(device);
    }
  }

  async #make(kind: VolumeKind): Promise<Volume> {
    const volumeDirectory = join(this.#options.directory, randomBytes(6).toString('hex'));
    this.#known.add(volumeDirectory);
    try {
      return await this.#mount(volumeDirectory, kind);
    } catch (error) {
      await this.#removeAll([volumeDirectory]).catch((failure: unknown) => {
        this.#logger.error('cannot remove a half-made volume', { volumeDirectory, ...errorData(failure) });
      });
      throw error;
    }
  }

  async #limitsOf({ bytes, inodes }: VolumeRequest): Promise<ImageLimits | undefined> {
    if (bytes === undefined && inodes === undefined) return undefined;
    const image = bytes ?? (await this.#depotBytes());
    return { bytes: image, inodes: inodes ?? inodesWithoutLimit(image) };
  }

  /** As many bytes as there are at all: the limit of a volume that is limited in inodes only. */
  async #depotBytes(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#options.directory);
    return blocks * bsize;
  }

  async #mount(volumeDirectory: string, kind: VolumeKind): Promise<Volume> {
    const data = join(volumeDirectory, 'data');
    const mountPoint = join(volumeDirectory, 'rootfs');
    await mkdir(volumeDirectory, { mode: 0o711 });
    if (kind.capacity) await loopImage.create(volumeDirectory, kind.capacity);
    else await mkdir(data);
    const upper = join(data, 'upper');
    const work = join(data, 'work');
    await Promise.all([mkdir(mountPoint), mkdir(upper), mkdir(work)]);
    await copyPermissions(kind.rootfs, upper);
    await mountOverlay({ lower: kind.rootfs, upper, work, target: mountPoint, volatile: this.#isVolatile });
    return {
      driver: kind.capacity ? 'loop-image' : 'none',
      mountPoint,
      volumeDirectory,
      baseline: kind.capacity ? await loopImage.baseline(volumeDirectory) : { usedBlocks: 0, usedInodes: 0 },
    };
  }

  async #removeAll(directories: string[]): Promise<void> {
    await unmount(directories.flatMap((directory) => [join(directory, 'rootfs'), join(directory, 'data')]));
    await Promise.all(
      directories.map(async (directory) => {
        await rm(directory, { recursive: true, force: true, maxRetries: removalRetries });
        this.#known.delete(directory);
        this.#treeUsages.delete(directory);
      }),
    );
  }

  #treeUsage(volumeDirectory: string): Promise<DiskUsage> {
    const last = this.#treeUsages.get(volumeDirectory);
    if (last && Date.now() - last.at < treeUsageAgeMs) return last.usage;
    const usage = treeUsage(join(volumeDirectory, 'data', 'upper'));
    this.#treeUsages.set(volumeDirectory, { at: Date.now(), usage });
    return usage;
  }

  /** Makes a small volume and removes it: what is missing shows now, not with the first container. */
  async #probe(): Promise<void> {
    const lower = join(this.#options.directory, `probe-${randomBytes(6).toString('hex')}`);
    await mkdir(lower);
    try {
      await this.#probeOverlay(lower);
      if (this.#options.driver === 'none') {
        this.#logger.warn('disk limits of containers are not enforced');
        return;
      }
      const volume = await this.#make(await kindOf(lower, { bytes: 1024 * 1024, inodes: 64 }));
      await this.#removeAll([volume.volumeDirectory]);
      this.#logger.info('disk limits of containers are enforced', { driver: 'loop-image', volatile: this.#isVolatile });
    } catch (error) {
      if (error instanceof HostRequirementError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new HostRequirementError(
        `cannot mount volumes below ${this.#options.directory} (overlay and loop devices are needed): ${reason}`,
        { cause: error },
      );
    } finally {
      await rm(lower, { recursive: true, force: true });
    }
  }

  /** `volatile` came with Linux 5.10; older kernels refuse the mount. */
  async #probeOverlay(lower: string): Promise<void> {
    const kind = await kindOf(lower, undefined);
    const volume = await this.#make(kind).catch((error: unknown) => {
      if (error instanceof HostRequirementError) throw error;
      this.#isVolatile = false;
      return this.#make(kind);
    });
    await this.#removeAll([volume.volumeDirectory]);
  }
}

async function kindOf(rootfs: string, limits: ImageLimits | undefined): Promise<VolumeKind> {
  const status = await stat(rootfs).catch((cause: unknown) => {
    throw new InvalidSpecError(`rootfs ${rootfs} not found`, { cause });
  });
  if (!status.isDirectory()) throw new InvalidSpecError(`rootfs ${rootfs} is not a directory`);
  const kind = { rootfs, identity: `${status.dev}:${status.ino}` };
  return limits ? { ...kind, capacity: { bytes: capacityFor(limits.bytes), inodes: limits.inodes } } : kind;
}

/** The root directory of a container has the owner and mode of its image's, not those of a fresh upper layer. */
async function copyPermissions(from: string, to: string): Promise<void> {
  const { mode, uid, gid } = await stat(from);
  await chown(to, uid, gid);
  await chmod(to, mode & 0o7777);
}

/** A key of the pool, read back; only `JSON.stringify` of a kind ever makes one. */
function parseKind(key: string): VolumeKind {
  return kindSchema.parse(JSON.parse(key));
}
