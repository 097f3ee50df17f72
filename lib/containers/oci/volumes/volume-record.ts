import { z } from 'zod';
import type { VolumeLease } from '../ports.js';
import { quotaDriverNames } from './disk-driver.js';

/** The kind of a volume: all that a spare one must agree in. */
const kindSchema = z.object({
  /** Of the image: a root file system that was replaced under the same name is another kind. */
  identity: z.string(),
  /** Directories below the writable layer, top first. */
  lowerDirectories: z.array(z.string()),
  /** Layers of the store that are among them. */
  layers: z.array(z.string()),
  /** As in `Image`. */
  hasMetacopy: z.boolean(),
  /** Absent: no limit. */
  capacity: z.object({ bytes: z.number(), inodes: z.number() }).optional(),
});

export type VolumeKind = z.infer<typeof kindSchema>;

const volumeSchema = z.object({
  /** `raw`: nothing was mounted, the container has the image's own directory. */
  driver: z.enum([...quotaDriverNames, 'none', 'raw']),
  /** `<volumes>/<id>/rootfs` */
  mountPoint: z.string(),
  /** `<volumes>/<id>` */
  volumeDirectory: z.string(),
  /** `<container>/rootfs`, a symbolic link to the mount point; absent while the volume is a spare. */
  link: z.string().optional(),
  /** What the writable layer may hold; absent: as much as there is. */
  bytes: z.number().optional(),
  inodes: z.number().optional(),
  /** What the empty writable layer takes for itself. */
  baseline: z.object({ usedBlocks: z.number(), usedInodes: z.number() }),
  /** Layers of the store below it. */
  layers: z.array(z.string()).default([]),
  image: z
    .object({
      identity: z.string(),
      /** Absent: nobody has counted. */
      bytes: z.number().exactOptional(),
      lowerDirectories: z.array(z.string()),
      /** Whether its bytes count for the limit that was asked for. */
      isCounted: z.boolean(),
    })
    .optional(),
});

/** A volume, in or out of the pool, with a lease's plain content. */
export type Volume = z.infer<typeof volumeSchema>;

/** A lease, read back; only `Volumes` ever makes one. */
export function parseVolume(lease: VolumeLease): Volume {
  return volumeSchema.parse(lease);
}

/** A kind as the key of a pool. */
export function kindKey(kind: VolumeKind): string {
  return JSON.stringify(kind);
}

/** A key of the pool, read back; only `kindKey` ever makes one. */
export function parseKind(key: string): VolumeKind {
  return kindSchema.parse(JSON.parse(key));
}
