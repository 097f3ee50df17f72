import type { ContainerMetrics } from '../../containers/engine.js';

export interface InstanceStats {
  /** Fraction of one core; 0 until two samples exist. */
  cpu: number;
  memoryBytes: number;
  diskBytes: number;
  /** When the last sample was taken, milliseconds of the monotonic clock; -Infinity before the first. */
  sampledAtMs: number;
}

/** Turns successive samples of a container into what find responses report (docs/protocol/dea.md §14). */
export class StatCollector {
  private current: InstanceStats = { cpu: 0, memoryBytes: 0, diskBytes: 0, sampledAtMs: Number.NEGATIVE_INFINITY };
  private lastUsageNs: number | undefined;

  get stats(): InstanceStats {
    return this.current;
  }

  add(metrics: ContainerMetrics, nowMs: number): void {
    const elapsedMs = nowMs - this.current.sampledAtMs;
    const usedNs = metrics.cpu.usageNs - (this.lastUsageNs ?? metrics.cpu.usageNs);
    const isComparable = this.lastUsageNs !== undefined && elapsedMs > 0;
    this.lastUsageNs = metrics.cpu.usageNs;
    this.current = {
      cpu: isComparable ? Math.max(usedNs, 0) / (elapsedMs * 1e6) : 0,
      memoryBytes: metrics.memory.usageBytes,
      diskBytes: metrics.disk.bytesUsed,
      sampledAtMs: nowMs,
    };
  }
}
