import { randomBytes } from 'node:crypto';
import { mkdir, readdir, statfs } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errorData, type Logger } from '../../../../logging/logger.js';
import type { DiskUsage } from '../../ports.js';
import type { Baseline, DiskDriver, LimitedVolume } from '../disk-driver.js';
import { blockBytes, type ImageLimits, neededBytes } from '../image-geometry.js';
import { treeUsage } from '../tree-usage.js';
import { ProjectIds } from './project-ids.js';
import type { ProjectLimits, ProjectPrograms } from './project-programs.js';

export interface ProjectQuotaOptions {
  name: 'xfs-prj' | 'ext4-prj';
  /** Where volumes live. */
  directory: string;
  /** Where the file system of `directory` is mounted. */
  mountPoint: string;
  programs: ProjectPrograms;
  logger: Logger;
}

/** A project has files that are not of this engine. */
export class ForeignProjectError extends Error {}

/** Limits of a spare: enough for the overlay's own directories. */
const spareBytes = 2 ** 30;
const spareInodes = 1024;

/**
 * Limits by the project quotas of the file system that the volumes lie on (docs/protocol/containers.md §4.3).
 *
 *     <volumes>/<random>.<project>/data    of that project; what is made in it inherits the project
 *
 * The number stands in the directory's name, so that it is found again after a crash, and is in use exactly as long as
 * the directory. How full a project is needs no program: `statfs` of a directory that hands its project on tells the
 * project's limits and use instead of the file system's.
 */
export class ProjectQuota implements DiskDriver {
  readonly name: 'xfs-prj' | 'ext4-prj';
  readonly #directory: string;
  readonly #mountPoint: string;
  readonly #programs: ProjectPrograms;
  readonly #ids: ProjectIds;
  readonly #logger: Logger;
  /** Numbers that others use; never taken again. */
  readonly #foreign = new Set<number>();

  constructor({ name, directory, mountPoint, programs, logger }: ProjectQuotaOptions) {
    this.name = name;
    this.#directory = directory;
    this.#mountPoint = mountPoint;
    this.#programs = programs;
    this.#ids = new ProjectIds(directory);
    this.#logger = logger;
  }

  /** Finds the projects of the volumes that are there. */
  async start(): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      const project = projectOf(name);
      if (project !== undefined) this.#ids.occupy(project);
    }
  }

  /** Any spare serves any limit. */
  capacityFor(): ImageLimits {
    return { bytes: spareBytes, inodes: spareInodes };
  }

  newName(): string {
    return `${randomBytes(6).toString('hex')}.${this.#ids.take()}`;
  }

  /** @throws when the project has files already, which then are somebody else's, and when the kernel does not count */
  async prepare(directory: string): Promise<void> {
    const project = projectOf(directory);
    if (project === undefined) throw new Error(`${directory} names no project`);
    await mkdir(join(directory, 'data'));
    await this.#programs.assign(directory, 'data', project);
    const limits = await this.#withinFileSystem({ project, bytes: spareBytes, inodes: spareInodes });
    await this.#programs.limit(this.#mountPoint, [limits]);
    const used = await this.#counted(directory, limits);
    if (!used) throw new Error(`the project quota of ${this.#mountPoint} is not enforced`);
    if (used.usedInodes === 1) return;
    this.#foreign.add(project);
    throw new ForeignProjectError(`project ${project} has ${used.usedInodes} files, one of them ours`);
  }

  async baseline(directory: string): Promise<Baseline> {
    return usedIn(directory);
  }

  /** No process, two system calls; a walk through the layer where the limits are beyond the file system's own. */
  async usage(volume: LimitedVolume): Promise<DiskUsage> {
    const { volumeDirectory, baseline } = volume;
    const used = await this.#counted(volumeDirectory, await this.#withinFileSystem(quotaOf(volume, volume)));
    if (!used) return treeUsage(join(volumeDirectory, 'data', 'upper'));
    return {
      bytesUsed: Math.max(used.usedBlocks - baseline.usedBlocks, 0) * blockBytes,
      inodesUsed: Math.max(used.usedInodes - baseline.usedInodes, 0),
    };
  }

  async limit(volume: LimitedVolume, asked: ImageLimits): Promise<ImageLimits> {
    const limits = { ...asked };
    if (volume.bytes !== undefined && volume.inodes !== undefined) {
      const { bytesUsed, inodesUsed } = await this.usage(volume);
      if (limits.bytes < bytesUsed) limits.bytes = volume.bytes;
      if (limits.inodes < inodesUsed) limits.inodes = volume.inodes;
    }
    await this.#programs.limit(this.#mountPoint, [await this.#withinFileSystem(quotaOf(volume, limits))]);
    return limits;
  }

  /** Takes the limits from projects whose files are gone: a number without limits leaves no mark. */
  async forget(directories: string[]): Promise<void> {
    const projects = directories
      .flatMap((directory) => projectOf(directory) ?? [])
      .filter((id) => !this.#foreign.has(id));
    if (projects.length === 0) return;
    try {
      await this.#programs.limit(
        this.#mountPoint,
        projects.map((project) => ({ project, bytes: 0, inodes: 0 })),
      );
    } catch (error) {
      // Of no consequence: who gets the number next sets limits of his own.
      this.#logger.warn('projects keep their limits', { projects, ...errorData(error) });
    }
    for (const project of projects) this.#ids.release(project);
  }

  /** What a project uses; undefined where `statfs` does not speak of it, but of the whole file system. */
  async #counted(directory: string, limits: ProjectLimits): Promise<Baseline | undefined> {
    const { blocks, bsize, files } = await statfs(join(directory, 'data'));
    const isOfProject = blocks === Math.floor(limits.bytes / bsize) && files === limits.inodes;
    return isOfProject ? usedIn(directory) : undefined;
  }

  /** A limit that the file system can never reach would not show in `statfs`. */
  async #withinFileSystem(limits: ProjectLimits): Promise<ProjectLimits> {
    const { blocks, bsize } = await statfs(this.#directory);
    return { ...limits, bytes: Math.min(limits.bytes, (blocks - 1) * bsize) };
  }
}

/** The project of a volume's directory, by its name; undefined when it has none. */
export function projectOf(directory: string): number | undefined {
  const digits = /\.(\d{1,10})$/.exec(basename(directory))?.[1];
  return digits === undefined ? undefined : Number(digits);
}

async function usedIn(directory: string): Promise<Baseline> {
  const { blocks, bfree, bsize, files, ffree } = await statfs(join(directory, 'data'));
  return { usedBlocks: ((blocks - bfree) * bsize) / blockBytes, usedInodes: files - ffree };
}

/** Limits of the project, such that there is room for so much beside what the overlay has for itself. */
function quotaOf(
  { volumeDirectory, baseline }: LimitedVolume,
  { bytes = 0, inodes = 0 }: { bytes?: number | undefined; inodes?: number | undefined },
): ProjectLimits {
  const room = neededBytes(bytes) + Math.ceil(baseline.usedBlocks) * blockBytes;
  return { project: projectOf(volumeDirectory) ?? 0, bytes: room, inodes: inodes + baseline.usedInodes };
}
