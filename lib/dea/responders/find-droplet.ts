import type { FirstDirectory } from '../files/file-server.js';
import { formatLocalTime } from '../instances/environment.js';
import type { Instance } from '../instances/instance.js';

const mebibyte = 1024 * 1024;

export interface FindResponseContext {
  agentId: string;
  localIp: string;
  clock: () => number;
  fileUrl(instanceId: string, path: string | null): string;
  /** Directory server, version 1, when it is served (docs/protocol/dea.md §22.2). */
  firstDirectory(): FirstDirectory | undefined;
}

/** One answer to `dea.find.droplet` (docs/protocol/dea.md §5.6). `path` undefined: no file URL was asked for. */
export function findResponse(
  instance: Instance,
  asked: { path: string | null | undefined; withStats: boolean },
  context: FindResponseContext,
): Record<string, unknown> {
  const { attributes, state, stateSinceMs } = instance;
  const first = context.firstDirectory();
  return {
    dea: context.agentId,
    droplet: attributes.applicationId,
    version: attributes.applicationVersion,
    instance: attributes.instanceId,
    index: attributes.instanceIndex,
    state,
    state_timestamp: stateSinceMs / 1000,
    staged: `/${attributes.instanceId}`,
    ...(first && { file_uri: first.uri, credentials: first.credentials }),
    ...(asked.path !== undefined && { file_uri_v2: context.fileUrl(attributes.instanceId, asked.path) }),
    ...(asked.withStats && state === 'RUNNING' && { stats: statsOf(instance, context) }),
  };
}

function statsOf(instance: Instance, { clock, localIp }: FindResponseContext): Record<string, unknown> {
  const { attributes, stats, uptimeMs } = instance;
  const nowMs = clock();
  return {
    name: attributes.applicationName,
    uris: attributes.applicationUris,
    host: localIp,
    port: instance.hostPort,
    uptime: Math.floor(uptimeMs / 1000),
    mem_quota: attributes.limits.mem * mebibyte,
    disk_quota: attributes.limits.disk * mebibyte,
    fds_quota: attributes.limits.fds,
    usage: {
      time: formatLocalTime(new Date(nowMs)),
      cpu: stats.cpu,
      mem: stats.memoryBytes,
      disk: stats.diskBytes,
    },
  };
}
