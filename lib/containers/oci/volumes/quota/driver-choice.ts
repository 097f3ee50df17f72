import { isBeneath } from '../../../../files/beneath.js';
import type { Logger } from '../../../../logging/logger.js';
import { HostRequirementError } from '../../../errors.js';
import { findProgram } from '../../host-tools.js';
import { listMounts, type MountPoint } from '../../mounts.js';
import type { DriverSetting } from '../disk-driver.js';
import { ext4Programs, type ProjectPrograms, xfsPrograms } from './project-programs.js';
import { ProjectQuota } from './project-quota.js';

/** Project quotas as one kind of file system has them. */
interface ProjectKind {
  name: 'xfs-prj' | 'ext4-prj';
  fileSystem: 'xfs' | 'ext4';
  programs: ProjectPrograms;
  /** How an administrator turns them on. */
  remedy: (mountPoint: string) => string;
}

const projectKinds: ProjectKind[] = [
  {
    name: 'xfs-prj',
    fileSystem: 'xfs',
    programs: xfsPrograms,
    remedy: (mountPoint) => `mount ${mountPoint} with the option pquota (at its first mount, not by a remount)`,
  },
  {
    name: 'ext4-prj',
    fileSystem: 'ext4',
    programs: ext4Programs,
    remedy: (mountPoint) =>
      `tune2fs -O quota,project -Q prjquota on the unmounted device of ${mountPoint}, and mount it with the option prjquota`,
  },
];

/** Whether a directory's file system can limit projects. */
export type ProjectSupport =
  | { name: 'xfs-prj' | 'ext4-prj'; isUsable: true; mountPoint: string; programs: ProjectPrograms }
  | { name: 'xfs-prj' | 'ext4-prj'; isUsable: false; reason: string; remedy: string };

/**
 * Looks at each driver by project, in the order of preference (docs/protocol/containers.md §4.3): by what is mounted
 * where the directory lies, and which programs are there. Tries nothing out.
 */
export function examineProjectDrivers(
  directory: string,
  mounts: MountPoint[],
  find: (program: string) => Promise<string | undefined> = findProgram,
): Promise<ProjectSupport[]> {
  const mount = mountOf(directory, mounts);
  return Promise.all(projectKinds.map((kind) => examine(kind, directory, mount, find)));
}

async function examine(
  { name, fileSystem, programs, remedy }: ProjectKind,
  directory: string,
  mount: MountPoint | undefined,
  find: (program: string) => Promise<string | undefined>,
): Promise<ProjectSupport> {
  if (mount?.fileSystem !== fileSystem) {
    const reason = `${directory} lies on ${mount?.fileSystem ?? 'nothing that is mounted'}, not on ${fileSystem}`;
    return { name, isUsable: false, reason, remedy: `put it on ${fileSystem} with project quotas` };
  }
  if (!mount.options.some((option) => option === 'prjquota' || option === 'pquota')) {
    const reason = `${mount.path} is mounted without project quotas`;
    return { name, isUsable: false, reason, remedy: remedy(mount.path) };
  }
  const wanted = Object.entries(programs.packages);
  const found = await Promise.all(wanted.map(async ([program]) => (await find(program)) !== undefined));
  const missing = wanted.filter((_, index) => !found[index]);
  if (missing.length > 0) {
    const reason = `${missing.map(([program]) => program).join(', ')} not installed`;
    const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))];
    return { name, isUsable: false, reason, remedy: `apt-get install ${packages.join(' ')}` };
  }
  return { name, isUsable: true, mountPoint: mount.path, programs };
}

/** The mount that a path lies on: the innermost, and of several at one place the last. */
function mountOf(path: string, mounts: MountPoint[]): MountPoint | undefined {
  const holding = mounts.filter((mount) => mount.path === path || isBeneath(mount.path, path));
  return holding.reduce<MountPoint | undefined>(
    (inner, mount) => (inner === undefined || mount.path.length >= inner.path.length ? mount : inner),
    undefined,
  );
}

/**
 * The project quotas of the file system that volumes lie on; undefined where there are none. Also when the setting is
 * another driver: volumes of an earlier setting may be there.
 *
 * @throws HostRequirementError with what would help, when a driver by project must be used and cannot
 */
export async function findProjectQuota(options: {
  setting: DriverSetting;
  /** Where volumes live. */
  directory: string;
  logger: Logger;
}): Promise<ProjectQuota | undefined> {
  const { setting, directory, logger } = options;
  const drivers = await examineProjectDrivers(directory, await listMounts());
  const demanded = drivers.find(({ name }) => name === setting);
  if (demanded && !demanded.isUsable) {
    throw new HostRequirementError(
      `the quota driver ${setting} cannot be used: ${demanded.reason}; ${demanded.remedy}`,
    );
  }
  const usable = drivers.find((driver) => driver.isUsable);
  if (!usable?.isUsable) return undefined;
  const { name, mountPoint, programs } = usable;
  const projects = new ProjectQuota({ name, directory, mountPoint, programs, logger });
  await projects.start();
  return projects;
}
