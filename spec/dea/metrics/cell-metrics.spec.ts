import { expect } from 'chai';
import { cellMetrics } from '../../../lib/dea/metrics/cell-metrics.js';

describe('the metrics of a cell', () => {
  const facts = {
    uptimeSeconds: 90,
    free: { memoryMb: 3000, diskMb: 10_000 },
    capacity: { memoryMb: 4000, diskMb: 40_000 },
    stagingSize: { memoryMb: 1024, diskMb: 2048 },
    states: ['RUNNING', 'RUNNING', 'CRASHED'] as const,
    loadAverage: 1.25,
    memory: { totalBytes: 8000, freeBytes: 3000 },
  };

  it('have the names and units that consumers know', () => {
    const all = cellMetrics({ ...facts, states: [...facts.states] });
    expect(all.map(({ name, value, unit }) => [name, value, unit])).to.deep.equal([
      ['uptime', 90, 's'],
      ['remaining_memory', 3000, 'mb'],
      ['remaining_disk', 10_000, 'mb'],
      ['available_memory_ratio', 0.75, 'P'],
      ['available_disk_ratio', 0.25, 'P'],
      ['instances', 3, 'instances'],
      ['reservable_stagers', 2, 'stagers'],
      ['avg_cpu_load', 1.25, 'loadavg'],
      ['mem_used_bytes', 5000, 'B'],
      ['mem_free_bytes', 3000, 'B'],
      ['dea_registry_born', 0, 'instances'],
      ['dea_registry_starting', 0, 'instances'],
      ['dea_registry_running', 2, 'instances'],
      ['dea_registry_stopping', 0, 'instances'],
      ['dea_registry_stopped', 0, 'instances'],
      ['dea_registry_crashed', 1, 'instances'],
      ['dea_registry_resuming', 0, 'instances'],
      ['dea_registry_evacuating', 0, 'instances'],
    ]);
  });

  it('offer no stager where more is reserved than there is', () => {
    const all = cellMetrics({ ...facts, states: [], free: { memoryMb: -100, diskMb: 10_000 } });
    expect(all.find(({ name }) => name === 'reservable_stagers')!.value).to.equal(0);
  });
});
