import type { DiskScope, Limits } from '../../engine.js';
import { integer, message } from '../json/decode.js';
import { type JsonValue, unlessZero } from '../json/encode.js';

const uint64 = integer('uint64');

export const bandwidthLimits = message('BandwidthLimits', { rate: uint64, burst: uint64 });
export const cpuLimits = message('CPULimits', { weight: uint64, limit_in_shares: uint64 });
export const diskLimits = message('DiskLimits', {
  inode_soft: uint64,
  inode_hard: uint64,
  byte_soft: uint64,
  byte_hard: uint64,
  scope: integer('uint8'),
});
export const memoryLimits = message('MemoryLimits', { limit_in_bytes: uint64 });
const pidLimits = message('PidLimits', { max: uint64 });

/** The cgroup limits of a container or process (docs/protocol/containers.md §2.3). */
export const limits = message('Limits', {
  bandwidth_limits: bandwidthLimits,
  cpu_limits: cpuLimits,
  disk_limits: diskLimits,
  memory_limits: memoryLimits,
  pid_limits: pidLimits,
});

/** 0 is the default: the image counts. */
const diskScopes: DiskScope[] = ['total', 'exclusive'];

/** Limits for the engine; a zero means none. */
export function limitsFrom(body: NonNullable<ReturnType<typeof limits>>): Limits {
  const memoryBytes = body.memory_limits?.limit_in_bytes;
  const cpuShares = body.cpu_limits?.weight || body.cpu_limits?.limit_in_shares;
  const maxPids = body.pid_limits?.max;
  const disk = diskFrom(body.disk_limits);
  const bandwidth = bandwidthFrom(body.bandwidth_limits);
  return {
    ...(memoryBytes && { memoryBytes }),
    ...(cpuShares && { cpuShares }),
    ...(maxPids && { maxPids }),
    ...(disk && { disk }),
    ...(bandwidth && { bandwidth }),
  };
}

/** Undefined when the body limits nothing. */
export function diskFrom(body: ReturnType<typeof diskLimits>): Limits['disk'] {
  const bytes = body?.byte_hard;
  const inodes = body?.inode_hard;
  if (!bytes && !inodes) return undefined;
  const scope = diskScopes[body?.scope ?? 0] ?? 'total';
  return { ...(bytes && { bytes }), ...(inodes && { inodes }), scope };
}

/** Undefined when the body limits nothing. */
export function bandwidthFrom(body: ReturnType<typeof bandwidthLimits>): Limits['bandwidth'] {
  if (!body?.rate) return undefined;
  return { rate: body.rate, burst: body.burst || body.rate };
}

/** Bodies of the limit routes, by the last part of their path. */
export const limitBodies = {
  bandwidth: ({ bandwidth }: Limits): JsonValue => ({ rate: bandwidth?.rate, burst: bandwidth?.burst }),
  cpu: ({ cpuShares }: Limits): JsonValue => ({ limit_in_shares: cpuShares }),
  disk: ({ disk }: Limits): JsonValue => diskBody(disk),
  memory: ({ memoryBytes }: Limits): JsonValue => ({ limit_in_bytes: memoryBytes }),
};

export type LimitKind = keyof typeof limitBodies;

/** Limits as a body of `ContainerSpec` and `ProcessSpec`. */
export function limitsBody(given: Limits): JsonValue {
  const { bandwidth, cpuShares, disk, memoryBytes, maxPids } = given;
  return {
    bandwidth_limits: bandwidth && limitBodies.bandwidth(given),
    cpu_limits: cpuShares === undefined ? undefined : { weight: cpuShares },
    disk_limits: disk && diskBody(disk),
    memory_limits: memoryBytes === undefined ? undefined : { limit_in_bytes: memoryBytes },
    pid_limits: maxPids === undefined ? undefined : { max: maxPids },
  };
}

function diskBody(disk: Limits['disk']): JsonValue {
  if (!disk) return {};
  const scope = diskScopes.indexOf(disk.scope ?? 'exclusive');
  return { inode_hard: disk.inodes, byte_hard: disk.bytes, scope: unlessZero(scope) };
}
