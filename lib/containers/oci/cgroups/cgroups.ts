import { readFileSync } from 'node:fs';
import type { Logger } from '../../../logging/logger.js';
import { HostRequirementError, InvalidSpecError } from '../../errors.js';
import { type MountPoint, parseMountInfo } from '../mounts.js';
import type { Cgroups } from '../ports.js';
import { CgroupsV1 } from './cgroups-v1.js';
import { CgroupsV2 } from './cgroups-v2.js';
import { findHierarchies } from './hierarchies.js';

export interface CgroupsOptions {
  /** Marks the engine's parent group, `/isthmus-<tag>`. */
  tag: string;
  /** Mounts to look at instead of the host's; for recorded trees. @default those of /proc/self/mountinfo */
  mounts?: () => MountPoint[];
  /** Microseconds of processor time that each share allows in 100,000; absent: shares are relative only. */
  cpuQuotaPerShareUs?: number;
  logger: Logger;
}

/**
 * Control groups in the version that this host has: v1 when it has a memory hierarchy of its own, else v2.
 *
 * @throws HostRequirementError when there is neither
 * @throws InvalidSpecError for a quota that is none
 */
export function createCgroups({ tag, mounts = hostMounts, cpuQuotaPerShareUs, logger }: CgroupsOptions): Cgroups {
  if (cpuQuotaPerShareUs !== undefined && !(cpuQuotaPerShareUs > 0 && Number.isFinite(cpuQuotaPerShareUs))) {
    throw new InvalidSpecError(`cpuQuotaPerShareUs: ${cpuQuotaPerShareUs} is not above 0`);
  }
  const hierarchies = findHierarchies(mounts());
  const common = { parent: `/isthmus-${tag}`, logger, ...(cpuQuotaPerShareUs !== undefined && { cpuQuotaPerShareUs }) };
  if (hierarchies?.version === 1) {
    return new CgroupsV1({ ...common, hierarchies, mounts });
  }
  if (hierarchies?.version === 2) return new CgroupsV2({ ...common, root: hierarchies.root });
  throw new HostRequirementError('no control groups are mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup');
}

function hostMounts(): MountPoint[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}
