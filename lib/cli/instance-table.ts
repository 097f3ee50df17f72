import { formatTable } from '../process/table.js';
import type { InstanceEntry, StatsEntry } from './api/resources.js';
import { formatBytes, formatDuration, formatTime } from './quantities.js';
import type { Session } from './session.js';

/** Prints a line for each instance: state, since when, and why one crashed. */
export function showInstances(session: Session, instances: Record<string, InstanceEntry>): void {
  const rows = Object.entries(instances).map(([index, { state, since, details = '', exit_status: status }]) => [
    `#${index}`,
    state.toLowerCase(),
    sinceText(since),
    typeof status === 'number' ? `${details} (exit status ${status})` : details,
  ]);
  for (const line of formatTable(['', 'state', 'since', 'details'], rows)) session.line(line);
}

/** Prints a line for each instance with what it uses of what it may. */
export function showStats(session: Session, stats: Record<string, StatsEntry>): void {
  const rows = Object.entries(stats).map(([index, { state, since, stats: figures }]) => [
    `#${index}`,
    state.toLowerCase(),
    figures?.uptime === undefined ? sinceText(since) : `up ${formatDuration(figures.uptime)}`,
    figures?.usage?.cpu === undefined ? '-' : `${(figures.usage.cpu * 100).toFixed(1)}%`,
    share(figures?.usage?.mem, figures?.mem_quota),
    share(figures?.usage?.disk, figures?.disk_quota),
    figures?.host === undefined ? '' : `${figures.host}:${figures.port ?? '-'}`,
  ]);
  for (const line of formatTable(['', 'state', 'since', 'cpu', 'memory', 'disk', 'address'], rows)) session.line(line);
}

function sinceText(seconds: number | undefined): string {
  return seconds === undefined ? '-' : formatTime(new Date(seconds * 1000));
}

function share(used: number | undefined, quota: number | undefined): string {
  if (used === undefined) return '-';
  return quota === undefined ? formatBytes(used) : `${formatBytes(used)} of ${formatBytes(quota)}`;
}
