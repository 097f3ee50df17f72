import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, stat, statfs, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { DiskScope } from '../../engine.js';
import { HostRequirementError } from '../../errors.js';
import { detachLoopDevice, listMounts, loopDevicesBeneath, unmount } from '../mounts.js';
import type { DiskUsage, Image, Images, VolumeLease, VolumeRequest, Volumes } from '../ports.js';
import type { StartActivity } from '../start-activity.js';
import { WarmPool } from '../warm-pool.js';
import type { DiskDriver, DriverSetting } from './disk-driver.js';
import { bytesBesideImage, usableLimit } from './disk-limit.js';
import { type ImageLimits, inodesWithoutLimit } from './image-geometry.js';
import { LoopImages } from './loop-image.js';
import { layOverlay } from './overlay.js';
import { findProjectQuota } from './quota/driver-choice.js';
import { ForeignProjectError, type ProjectQuota } from './quota/project-quota.js';
import { treeUsage } from './tree-usage.js';
import { kindKey, parseKind, parseVolume, type Volume, type VolumeKind } from './volume-record.js';

export interface VolumesOptions {
  /** Where volumes live; its file system holds what containers write. Created when missing; nothing else may be in it. */
  directory: string;
  /**
   * How limits are enforced (docs/protocol/containers.md §4.3): by the file system's project quotas (`xfs-prj`,
   * `ext4-prj`), by an ext4 image per container (`loop-image`), or not at all (`none`, development only).
   * `auto`: by projects where the file system of `directory` has them, else by images.
   * @default 'auto'
   */
  driver?: DriverSetting;
  /** Keeps the layers that a volume is laid over. */
  layers: Pick<Images, 'retain' | 'release'>;
  /** Spare volumes of the kind that was asked for last; each of up to two other recent kinds has one. 0: no spares. @default 3 */
  spares?: number;
  /** Stocks are filled when nothing is being started. */
  activity?: StartActivity;
  logger: Logger;
}

/** An image as far as its size is concerned. */
type CountableImage = Pick<Image, 'identity' | 'bytes' | 'lowerDirectories'>;

/** Magic number of overlayfs in `statfs`. */
const overlayType = 0x794c7630;
const recentKinds = 3;
const defaultSpares = 3;
/** A walk through an unlimited layer is costly; its result is good for so long. */
const treeUsageAgeMs = 30_000;
const removalRetries = 5;
/** A project that is somebody else's is passed over so often. */
const mostTries = 10;

/**
 * Root file systems of containers (docs/adr/0002-one-container-engine.md).
 *
 *     <directory>/<id>/image     sparse ext4 image (driver loop-image)
 *                      data/     the image mounted; else a plain directory, with drivers by project of a project
 *                      data/upper, data/work
 *                      lower/    the image's layers
 *                      rootfs/   overlay: lower below, upper above
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
  /**
   * Directories that this process is making, keeps as spares or has handed out, with the layers that they refer to;
   * `reclaim` spares them.
   */
  readonly #known = new Map<string, readonly string[]>();
  /** Bytes of images that nobody has counted; counting visits every file, so it is done once. */
  readonly #imageSizes = new Map<string, Promise<number>>();
  readonly #treeUsages = new Map<string, { at: number; usage: Promise<DiskUsage> }>();
  #isVolatile = true;
  /** Of new volumes; undefined: limits are not enforced. */
  #driver: DiskDriver | undefined;
  readonly #images: LoopImages;
  /** Only where the file system of the volumes has projects, whatever new volumes get. */
  #projects: ProjectQuota | undefined;

  constructor(options: VolumesOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#images = new LoopImages({ logger: options.logger });
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
    const { image } = request;
    const isCounted = request.scope === 'total';
    const asked = this.#driver && !image.isRaw ? await this.#limitsOf(request, isCounted) : undefined;
    const { identity, lowerDirectories, bytes } = image;
    const volume = image.isRaw ? this.#rawVolume(image) : await this.#obtain(image, asked);
    const link = join(request.directory, 'rootfs');
    try {
      if (asked) await this.#driver?.limit(volume, asked);
      await symlink(volume.mountPoint, link);
    } catch (error) {
      if (!image.isRaw) await this.#removeAll([volume.volumeDirectory]);
      throw error;
    }
    const counted = { identity, isCounted, lowerDirectories, ...(bytes !== undefined && { bytes }) };
    return { ...volume, ...asked, link, image: counted };
  }

  async adopt(lease: VolumeLease): Promise<boolean> {
    const volume = parseVolume(lease);
    const status = await statfs(volume.mountPoint).catch(() => undefined);
    if (volume.driver === 'raw') return status !== undefined;
    // A path that is no mount any more shows the file system that the volumes lie on.
    if (status?.type !== overlayType) return false;
    try {
      this.#options.layers.retain(volume.layers);
    } catch (error) {
      this.#logger.warn('a volume has lost its image', { directory: volume.volumeDirectory, ...errorData(error) });
      return false;
    }
    this.#known.set(volume.volumeDirectory, volume.layers);
    return true;
  }

  async usage(lease: VolumeLease): Promise<DiskUsage> {
    const volume = parseVolume(lease);
    if (volume.driver === 'raw') return { bytesUsed: 0, inodesUsed: 0 };
    return this.#driverOf(volume)?.usage(volume) ?? this.#treeUsage(volume.volumeDirectory);
  }

  async imageBytes(lease: VolumeLease): Promise<number> {
    const { driver, image } = parseVolume(lease);
    return driver === 'raw' || !image ? 0 : this.#imageSize(image);
  }

  async resize(
    lease: VolumeLease,
    asked: { bytes?: number; inodes?: number; scope?: DiskScope },
  ): Promise<VolumeLease> {
    const volume = parseVolume(lease);
    const driver = this.#driverOf(volume);
    if (!driver) {
      this.#logger.warn('a volume that was made without a limit cannot get one', { directory: volume.volumeDirectory });
      return lease;
    }
    const isCounted = asked.scope === undefined ? volume.image?.isCounted === true : asked.scope === 'total';
    const bytes =
      asked.bytes === undefined
        ? (volume.bytes ?? (await this.#depotBytes()))
        : await this.#writableBytes(asked.bytes, volume.image, isCounted);
    const limits = await driver.limit(volume, { bytes, inodes: asked.inodes ?? volume.inodes ?? 0 });
    const isAsAsked = limits.bytes === bytes;
    return { ...lease, ...limits, ...(isAsAsked && volume.image && { image: { ...volume.image, isCounted } }) };
  }

  async release(lease: VolumeLease): Promise<void> {
    const volume = parseVolume(lease);
    if (volume.link !== undefined) await rm(volume.link, { force: true });
    if (volume.driver === 'raw') return;
    await this.#removeAll([volume.volumeDirectory]);
  }

  async reclaim(leases: VolumeLease[]): Promise<void> {
    const kept = new Set(leases.map((lease) => parseVolume(lease).volumeDirectory));
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

  async #make(kind: VolumeKind, tries = mostTries): Promise<Volume> {
    const driver = kind.capacity && this.#driver;
    const volumeDirectory = join(this.#options.directory, driver?.newName() ?? randomBytes(6).toString('hex'));
    this.#options.layers.retain(kind.layers);
    this.#known.set(volumeDirectory, kind.layers);
    try {
      return await this.#mount(volumeDirectory, kind, driver);
    } catch (error) {
      await this.#removeAll([volumeDirectory]).catch((failure: unknown) => {
        this.#logger.error('cannot remove a half-made volume', { volumeDirectory, ...errorData(failure) });
      });
      if (error instanceof ForeignProjectError && tries > 1) return this.#make(kind, tries - 1);
      throw error;
    }
  }

  #obtain(image: Image, limits: ImageLimits | undefined): Promise<Volume> {
    const { identity, lowerDirectories, layers, hasMetacopy } = image;
    const kind: VolumeKind = {
      identity,
      lowerDirectories,
      layers,
      hasMetacopy,
      ...(limits && this.#driver && { capacity: this.#driver.capacityFor(limits) }),
    };
    return this.#pool.obtain(kindKey(kind), () => this.#make(kind));
  }

  /** The image's own directory, which nobody mounts, counts or removes. */
  #rawVolume({ lowerDirectories, layers }: Image): Volume {
    const directory = lowerDirectories[0]!;
    const baseline = { usedBlocks: 0, usedInodes: 0 };
    return { driver: 'raw', mountPoint: directory, volumeDirectory: directory, baseline, layers };
  }

  async #limitsOf({ bytes, inodes, image }: VolumeRequest, isCounted: boolean): Promise<ImageLimits | undefined> {
    if (bytes === undefined && inodes === undefined) return undefined;
    const limit = bytes === undefined ? await this.#depotBytes() : await this.#writableBytes(bytes, image, isCounted);
    return { bytes: limit, inodes: inodes ?? inodesWithoutLimit(limit) };
  }

  /** What the writable layer may hold, when so many bytes were asked for. */
  async #writableBytes(bytes: number, image: CountableImage | undefined, isCounted: boolean): Promise<number> {
    if (!isCounted || !image) return usableLimit(bytes);
    return usableLimit(bytesBesideImage(bytes, await this.#imageSize(image)));
  }

  async #imageSize({ identity, bytes, lowerDirectories }: CountableImage): Promise<number> {
    if (bytes !== undefined) return bytes;
    const known = this.#imageSizes.get(identity);
    if (known) return known;
    const size = Promise.all(lowerDirectories.map(treeUsage)).then((usages) =>
      usages.reduce((sum, { bytesUsed }) => sum + bytesUsed, 0),
    );
    this.#imageSizes.set(identity, size);
    return size;
  }

  /** As many bytes as there are at all: the limit of a volume that is limited in inodes only. */
  async #depotBytes(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#options.directory);
    return blocks * bsize;
  }

  #driverOf(volume: Volume): DiskDriver | undefined {
    if (volume.driver === 'loop-image') return this.#images;
    return volume.driver === this.#projects?.name ? this.#projects : undefined;
  }

  async #mount(volumeDirectory: string, kind: VolumeKind, driver: DiskDriver | undefined): Promise<Volume> {
    await mkdir(volumeDirectory, { mode: 0o711 });
    if (driver && kind.capacity) await driver.prepare(volumeDirectory, kind.capacity);
    else await mkdir(join(volumeDirectory, 'data'));
    const { lowerDirectories, hasMetacopy: metacopy } = kind;
    await layOverlay(volumeDirectory, lowerDirectories, { volatile: this.#isVolatile, metacopy });
    return {
      driver: driver?.name ?? 'none',
      mountPoint: join(volumeDirectory, 'rootfs'),
      volumeDirectory,
      baseline: (await driver?.baseline(volumeDirectory)) ?? { usedBlocks: 0, usedInodes: 0 },
      layers: kind.layers,
    };
  }

  async #removeAll(directories: string[]): Promise<void> {
    await unmount(directories.flatMap((directory) => [join(directory, 'rootfs'), join(directory, 'data')]));
    await Promise.all(
      directories.map(async (directory) => {
        await rm(directory, { recursive: true, force: true, maxRetries: removalRetries });
        this.#options.layers.release(this.#known.get(directory) ?? []);
        this.#known.delete(directory);
        this.#treeUsages.delete(directory);
      }),
    );
    await this.#projects?.forget(directories);
  }

  #treeUsage(volumeDirectory: string): Promise<DiskUsage> {
    const last = this.#treeUsages.get(volumeDirectory);
    if (last && Date.now() - last.at < treeUsageAgeMs) return last.usage;
    const usage = treeUsage(join(volumeDirectory, 'data', 'upper'));
    this.#treeUsages.set(volumeDirectory, { at: Date.now(), usage });
    return usage;
  }

  /** Makes small volumes and removes them: what is missing shows now, not with the first container. */
  async #probe(): Promise<void> {
    const lower = join(this.#options.directory, `probe-${randomBytes(6).toString('hex')}`);
    await mkdir(lower);
    try {
      await this.#probeOverlay(lower);
      await this.#chooseDriver(lower);
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

  /**
   * The first driver that works, of those that the setting lets have a try.
   *
   * @throws HostRequirementError when the driver that must be used does not work
   */
  async #chooseDriver(lower: string): Promise<void> {
    const { driver: setting = 'auto', directory } = this.#options;
    this.#projects = await findProjectQuota({ setting, directory, logger: this.#logger });
    if (setting === 'none') {
      this.#logger.warn('disk limits of containers are not enforced');
      return;
    }
    if (setting !== 'loop-image' && this.#projects) {
      try {
        await this.#tryDriver(this.#projects, lower);
        return;
      } catch (error) {
        const { name } = this.#projects;
        if (setting === name) {
          throw new HostRequirementError(`the quota driver ${name} does not work in ${directory}: ${String(error)}`, {
            cause: error,
          });
        }
        this.#logger.warn('a quota driver does not work here', { driver: name, ...errorData(error) });
      }
    }
    await this.#tryDriver(this.#images, lower);
  }

  async #tryDriver(driver: DiskDriver, lower: string): Promise<void> {
    this.#driver = driver;
    const capacity = driver.capacityFor({ bytes: 1024 * 1024, inodes: 64 });
    const volume = await this.#make(await kindOf(lower, capacity));
    await this.#removeAll([volume.volumeDirectory]);
    this.#logger.info('disk limits of containers are enforced', { driver: driver.name, volatile: this.#isVolatile });
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

/** The kind of a volume over one directory. */
async function kindOf(directory: string, capacity: ImageLimits | undefined): Promise<VolumeKind> {
  const { dev, ino } = await stat(directory);
  return {
    identity: `${dev}:${ino}`,
    lowerDirectories: [directory],
    layers: [],
    hasMetacopy: false,
    ...(capacity && { capacity }),
  };
}
