import { cpus, freemem, loadavg, totalmem } from 'node:os';
import type { ComponentAnnouncement } from '../messages.js';
import { availableRatios, type ComponentState, reservableStagers } from './component-state.js';
import { instanceRegistryVarz } from './instance-varz.js';

/** What changes from one reading to the next, beside the agent's own state. */
export interface VarzReading {
  announcement: ComponentAnnouncement;
  uptime: string;
  handles: string[];
}

/**
 * The keys of `/varz` in the order that collectors know (docs/protocol/dea.md §22.3). The figures of the container
 * server are there from its first call on.
 */
export function varz(state: ComponentState, { announcement, uptime, handles }: VarzReading): Record<string, unknown> {
  const { config, ledger, instances, activity, logCounts } = state;
  const stagers = config.staging.enabled ? reservableStagers(state) : 0;
  const ratios = availableRatios(ledger);
  const calls = activity.engineTotal;
  return {
    ...announcement,
    num_cores: cpus().length,
    log_counts: logCounts,
    stacks: config.stacks.map(({ name }) => name),
    uptime,
    cpu: processCpuPercent(),
    cpu_load_avg: loadavg()[0],
    mem_bytes: process.memoryUsage.rss(),
    mem_used_bytes: totalmem() - freemem(),
    mem_free_bytes: freemem(),
    can_stage: stagers > 0 ? 1 : 0,
    reservable_stagers: stagers,
    available_memory_ratio: ratios.memory,
    available_disk_ratio: ratios.disk,
    warden_containers: handles,
    instance_registry: instanceRegistryVarz(instances.all()),
    ...(calls.count > 0 && {
      total_warden_response_time_in_ms: Math.round(calls.seconds * 1000),
      warden_request_count: calls.count,
      warden_error_response_count: calls.failed,
    }),
  };
}

/** Percent of one core over the process's whole life, as `ps` tells it. */
function processCpuPercent(): number {
  const { user, system } = process.cpuUsage();
  return Math.round(((user + system) / 1e6 / process.uptime()) * 1000) / 10;
}
