import type { Ledger } from '../../cell/ledger.js';
import type { ContainerEngine } from '../../containers/engine.js';
import type { Activity } from '../activity.js';
import type { DeaConfig } from '../config.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';
import type { LogCounts } from './counted-logger.js';

/** What the component's pages are made of. */
export interface ComponentState {
  config: DeaConfig;
  ledger: Ledger;
  engine: Pick<ContainerEngine, 'list'>;
  instances: InstanceRegistry;
  activity: Activity;
  logCounts: LogCounts;
}

/** How many stagings of the least size there is room for (docs/protocol/dea.md §7). */
export function reservableStagers({ config, ledger }: Pick<ComponentState, 'config' | 'ledger'>): number {
  const { memory_limit_mb: memory, disk_limit_mb: disk } = config.staging;
  const free = ledger.free();
  return Math.max(0, Math.floor(Math.min(free.memoryMb / memory, free.diskMb / disk)));
}

/** The parts of memory and disk that are free, 1 for all of it. */
export function availableRatios(ledger: Ledger): { memory: number; disk: number } {
  const [reserved, capacity] = [ledger.reserved(), ledger.capacity];
  return { memory: 1 - reserved.memoryMb / capacity.memoryMb, disk: 1 - reserved.diskMb / capacity.diskMb };
}
