import { freemem, loadavg, totalmem } from 'node:os';
import type { Ledger } from '../../cell/ledger.js';
import type { ValueMetric } from '../../loggregator/envelope.js';
import type { Loggregator } from '../../loggregator/loggregator.js';
import type { DeaConfig } from '../config.js';
import type { Instance } from '../instances/instance.js';
import type { InstanceRegistry } from '../instances/instance-registry.js';
import { type InstanceState, instanceStates } from '../messages.js';

export interface CellMetricsOptions {
  config: DeaConfig;
  ledger: Ledger;
  instances: InstanceRegistry;
  loggregator: Loggregator;
  /** Milliseconds since 1970. */
  clock: () => number;
}

const periodMs = 30_000;

/** Tells every 30 s what the cell has left, and what each instance uses (docs/protocol/dea.md §21.2, §14). */
export class CellMetrics {
  readonly #options: CellMetricsOptions;
  #startedAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CellMetricsOptions) {
    this.#options = options;
  }

  /** Values are told at once, too, so that a restart leaves no gap. */
  start(): void {
    this.#startedAtMs = this.#options.clock();
    this.#emitValues();
    this.#timer = setInterval(() => {
      this.#emitValues();
      for (const instance of this.#options.instances.all()) {
        if (isSampled(instance)) void instance.reportStats();
      }
    }, periodMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #emitValues(): void {
    const { config, ledger, instances, loggregator, clock } = this.#options;
    const all = instances.all();
    const metrics = cellMetrics({
      uptimeSeconds: Math.floor((clock() - this.#startedAtMs) / 1000),
      free: ledger.free(),
      capacity: ledger.capacity,
      stagingSize: { memoryMb: config.staging.memory_limit_mb, diskMb: config.staging.disk_limit_mb },
      states: all.map(({ state }) => state),
      loadAverage: loadavg()[0]!,
      memory: { totalBytes: totalmem(), freeBytes: freemem() },
    });
    for (const metric of metrics) loggregator.emit(metric);
  }
}

/** Resources of the cell, megabytes. */
interface Megabytes {
  memoryMb: number;
  diskMb: number;
}

interface CellFacts {
  uptimeSeconds: number;
  free: Megabytes;
  capacity: Megabytes;
  /** Least size of a staging. */
  stagingSize: Megabytes;
  /** Of all instances. */
  states: InstanceState[];
  /** Of the last minute. */
  loadAverage: number;
  memory: { totalBytes: number; freeBytes: number };
}

/** Names, values and units of docs/protocol/dea.md §21.2. */
export function cellMetrics(facts: CellFacts): ValueMetric[] {
  const { free, capacity, stagingSize, states, memory } = facts;
  const stagers = Math.min(free.memoryMb / stagingSize.memoryMb, free.diskMb / stagingSize.diskMb);
  const metric = (name: string, value: number, unit: string): ValueMetric => ({
    kind: 'ValueMetric',
    name,
    value,
    unit,
  });
  return [
    metric('uptime', facts.uptimeSeconds, 's'),
    metric('remaining_memory', free.memoryMb, 'mb'),
    metric('remaining_disk', free.diskMb, 'mb'),
    metric('available_memory_ratio', free.memoryMb / capacity.memoryMb, 'P'),
    metric('available_disk_ratio', free.diskMb / capacity.diskMb, 'P'),
    metric('instances', states.length, 'instances'),
    metric('reservable_stagers', Math.max(0, Math.floor(stagers)), 'stagers'),
    metric('avg_cpu_load', facts.loadAverage, 'loadavg'),
    metric('mem_used_bytes', memory.totalBytes - memory.freeBytes, 'B'),
    metric('mem_free_bytes', memory.freeBytes, 'B'),
    ...instanceStates.map((state) =>
      metric(`dea_registry_${state.toLowerCase()}`, states.filter((other) => other === state).length, 'instances'),
    ),
  ];
}

function isSampled({ state }: Instance): boolean {
  return state === 'RUNNING' || state === 'EVACUATING';
}
