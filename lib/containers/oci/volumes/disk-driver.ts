import type { DiskUsage } from '../ports.js';
import type { ImageLimits } from './image-geometry.js';

/** What an empty writable layer takes for itself; blocks of 4096 bytes. */
export interface Baseline {
  usedBlocks: number;
  usedInodes: number;
}

/** A volume as far as its limits are concerned. */
export interface LimitedVolume {
  /** `<volumes>/<id>`; what is limited is `data` in it. */
  volumeDirectory: string;
  baseline: Baseline;
  /** The limits in force; absent on a spare. */
  bytes?: number | undefined;
  inodes?: number | undefined;
}

/** Names of the ways to limit what a writable layer holds (docs/protocol/containers.md §4.3). */
export const quotaDriverNames = ['xfs-prj', 'ext4-prj', 'loop-image'] as const;

export type QuotaDriverName = (typeof quotaDriverNames)[number];

/** What may be asked for: a driver, the best that works, or no limits at all. */
export type DriverSetting = 'auto' | QuotaDriverName | 'none';

/** One way to limit what a writable layer holds. */
export interface DiskDriver {
  readonly name: QuotaDriverName;
  /** What a spare must be made for, so that it can serve these limits; equal for all limits that a spare can serve. */
  capacityFor(limits: ImageLimits): ImageLimits;
  /** A name for a new volume's directory, which no other volume has. */
  newName(): string;
  /** Makes `<directory>/data`. What it leaves when it fails goes with the volume. */
  prepare(directory: string, capacity: ImageLimits): Promise<void>;
  /** What is in use now: of a volume that nobody has written to yet. */
  baseline(directory: string): Promise<Baseline>;
  usage(volume: LimitedVolume): Promise<DiskUsage>;
  /**
   * Sets the limits and gives those that are in force then: what is in use does not become less.
   *
   * @throws when the room cannot be had
   */
  limit(volume: LimitedVolume, limits: ImageLimits): Promise<ImageLimits>;
  /** Gives back what the driver holds outside of directories that are removed. */
  forget(directories: string[]): Promise<void>;
}
