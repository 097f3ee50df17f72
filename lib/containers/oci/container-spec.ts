import { stat } from 'node:fs/promises';
import type { BindMount, ContainerSpec, Limits } from '../engine.js';
import { InvalidSpecError } from '../errors.js';
import { isReservedGroupName } from './cgroups/reserved-names.js';
import { checkEnvironment } from './supervisor/process-spec.js';

const handlePattern = /^[A-Za-z0-9_+.-]{1,200}$/;
const smallestCpuShares = 2;
const largestCpuShares = 262_144;

/**
 * Checks what can be told from a container description alone.
 *
 * @throws InvalidSpecError naming the field
 */
export function checkContainerSpec(spec: ContainerSpec): void {
  const { handle, graceTimeMs } = spec;
  if (handle !== undefined && (!handlePattern.test(handle) || handle === '.' || handle === '..')) {
    throw new InvalidSpecError(`handle: ${JSON.stringify(handle)} must match [A-Za-z0-9_+.-]{1,200}`);
  }
  if (handle !== undefined && isReservedGroupName(handle)) {
    throw new InvalidSpecError(`handle: ${JSON.stringify(handle)} is a name of the kernel's control groups`);
  }
  checkBindMounts(spec.bindMounts ?? []);
  if (graceTimeMs !== undefined && !(graceTimeMs >= 0)) throw new InvalidSpecError(`graceTimeMs: ${graceTimeMs}`);
  checkEnvironment(spec.env ?? []);
  checkLimits(spec.limits ?? {});
}

/** @throws InvalidSpecError naming the field */
export function checkBindMounts(bindMounts: BindMount[]): void {
  bindMounts.forEach(({ source, destination }, index) => {
    if (!isAbsolute(source)) throw new InvalidSpecError(`bindMounts[${index}].source: must be an absolute path`);
    if (!isAbsolute(destination)) {
      throw new InvalidSpecError(`bindMounts[${index}].destination: must be an absolute path`);
    }
  });
}

/** @throws InvalidSpecError naming the field */
export function checkLimits(limits: Limits): void {
  const numbers: [string, number | undefined][] = [
    ['memoryBytes', limits.memoryBytes],
    ['maxPids', limits.maxPids],
    ['cpuShares', limits.cpuShares],
    ['disk.bytes', limits.disk?.bytes],
    ['disk.inodes', limits.disk?.inodes],
    ['bandwidth.rate', limits.bandwidth?.rate],
    ['bandwidth.burst', limits.bandwidth?.burst],
  ];
  for (const [name, value] of numbers) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw new InvalidSpecError(`limits.${name}: ${value} is not a positive whole number`);
    }
  }
  const scope = limits.disk?.scope;
  if (scope !== undefined && scope !== 'exclusive' && scope !== 'total') {
    throw new InvalidSpecError(`limits.disk.scope: ${JSON.stringify(scope)} is neither "exclusive" nor "total"`);
  }
  const { cpuShares } = limits;
  if (cpuShares !== undefined && (cpuShares < smallestCpuShares || cpuShares > largestCpuShares)) {
    throw new InvalidSpecError(`limits.cpuShares: ${cpuShares} is not within 2 to 262144`);
  }
}

/** @throws InvalidSpecError for the first source of a bind mount that does not exist */
export async function checkBindSources(bindMounts: BindMount[]): Promise<void> {
  for (const [index, { source }] of bindMounts.entries()) {
    await stat(source).catch((cause: unknown) => {
      throw new InvalidSpecError(`bindMounts[${index}].source: ${source}: no such file or directory`, { cause });
    });
  }
}

function isAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0');
}
