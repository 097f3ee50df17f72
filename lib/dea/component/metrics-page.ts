import { readdirSync } from 'node:fs';
import { stagingDurationBounds } from '../activity.js';
import { instanceStates } from '../messages.js';
import { type ComponentState, reservableStagers } from './component-state.js';

const mebibyte = 1024 * 1024;

type Labels = Record<string, string>;
type Sample = [labels: Labels, value: number, suffix?: string];

interface Metric {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram';
  samples: Sample[];
}

/** The agent's figures in Prometheus's text format 0.0.4 (docs/metrics.md names them). */
export function metricsPage(state: ComponentState): string {
  return [...cellMetrics(state), ...activityMetrics(state), ...processMetrics()].map(formatMetric).join('');
}

function cellMetrics(state: ComponentState): Metric[] {
  const { instances, ledger } = state;
  const all = instances.all();
  const count = (wanted: string) => all.filter(({ state: present }) => present === wanted).length;
  const { memoryMb, diskMb } = ledger.capacity;
  const free = ledger.free();
  const owners = ['dea', 'staging', 'rep'] as const;
  const reserved = (resource: 'memoryMb' | 'diskMb'): Sample[] =>
    owners.map((owner) => [{ owner }, ledger.reserved(owner)[resource] * mebibyte]);
  return [
    gauge(
      'isthmus_dea_instances',
      'App instances by state.',
      instanceStates.map((name) => [{ state: name }, count(name)]),
    ),
    gauge('isthmus_dea_memory_capacity_bytes', 'Memory that may be reserved.', [[{}, memoryMb * mebibyte]]),
    gauge('isthmus_dea_memory_reserved_bytes', 'Memory that is reserved.', reserved('memoryMb')),
    gauge('isthmus_dea_memory_free_bytes', 'Memory that is offered.', [[{}, free.memoryMb * mebibyte]]),
    gauge('isthmus_dea_disk_capacity_bytes', 'Disk that may be reserved.', [[{}, diskMb * mebibyte]]),
    gauge('isthmus_dea_disk_reserved_bytes', 'Disk that is reserved.', reserved('diskMb')),
    gauge('isthmus_dea_disk_free_bytes', 'Disk that is offered.', [[{}, free.diskMb * mebibyte]]),
    gauge(
      'isthmus_dea_reservations',
      'Reservations by owner.',
      owners.map((owner) => [{ owner }, ledger.list().filter((reservation) => reservation.owner === owner).length]),
    ),
    gauge('isthmus_dea_reservable_stagers', 'Stagings of the least size that there is room for.', [
      [{}, reservableStagers(state)],
    ]),
  ];
}

function activityMetrics({ activity, logCounts }: ComponentState): Metric[] {
  const transports = ['nats', 'https'] as const;
  const perTransport = (counts: Map<string, number>): Sample[] =>
    transports.map((transport) => [{ transport }, counts.get(transport) ?? 0]);
  const entered = (name: string): Sample[] => [[{}, activity.transitions.get(name) ?? 0]];
  const calls = [...activity.engineCalls].sort(([a], [b]) => a.localeCompare(b));
  const perCall = (field: 'count' | 'failed' | 'seconds'): Sample[] =>
    calls.map(([call, figures]) => [{ call }, figures[field]]);
  const { stagings } = activity;
  const ended = stagings.ok + stagings.failed;
  return [
    counter(
      'isthmus_dea_heartbeats_sent_total',
      'Heartbeats that were sent, over HTTPS accepted.',
      perTransport(activity.heartbeatsSent),
    ),
    counter(
      'isthmus_dea_heartbeats_failed_total',
      'Heartbeats that were not accepted.',
      perTransport(activity.heartbeatsFailed),
    ),
    counter('isthmus_dea_instance_starts_total', 'Instances that were started.', entered('STARTING')),
    counter('isthmus_dea_instance_crashes_total', 'Instances that crashed, or found no room.', entered('CRASHED')),
    counter('isthmus_dea_stagings_total', 'Stagings that are over, by result.', [
      [{ result: 'ok' }, stagings.ok],
      [{ result: 'failed' }, stagings.failed],
    ]),
    {
      name: 'isthmus_dea_staging_duration_seconds',
      help: 'From the reservation to the end of the clean-up.',
      type: 'histogram',
      samples: [
        ...stagingDurationBounds.map(
          (bound, position): Sample => [{ le: String(bound) }, stagings.byBound[position]!, '_bucket'],
        ),
        [{ le: '+Inf' }, ended, '_bucket'],
        [{}, stagings.seconds, '_sum'],
        [{}, ended, '_count'],
      ],
    },
    counter('isthmus_dea_engine_calls_total', 'Calls of the container engine.', perCall('count')),
    counter('isthmus_dea_engine_call_errors_total', 'Calls of the container engine that failed.', perCall('failed')),
    counter(
      'isthmus_dea_engine_call_seconds_total',
      'Time that calls of the container engine took.',
      perCall('seconds'),
    ),
    counter(
      'isthmus_dea_log_lines_total',
      'Lines that were logged.',
      Object.entries(logCounts).map(([level, lines]) => [{ level }, lines]),
    ),
  ];
}

/** Under the names that every client library of Prometheus gives them. */
function processMetrics(): Metric[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return [
    counter('process_cpu_seconds_total', 'Processor time of the agent.', [[{}, (user + system) / 1e6]]),
    gauge('process_resident_memory_bytes', 'Memory of the agent.', [[{}, rss]]),
    gauge('process_start_time_seconds', 'When the agent began.', [[{}, Date.now() / 1000 - process.uptime()]]),
    gauge('process_open_fds', 'Files that the agent has open.', [[{}, openFiles()]]),
    gauge('nodejs_heap_size_used_bytes', 'Of the memory, what JavaScript objects take.', [[{}, heapUsed]]),
  ];
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

function gauge(name: string, help: string, samples: Sample[]): Metric {
  return { name, help, type: 'gauge', samples };
}

function counter(name: string, help: string, samples: Sample[]): Metric {
  return { name, help, type: 'counter', samples };
}

function formatMetric({ name, help, type, samples }: Metric): string {
  const lines = samples.map(([labels, value, suffix = '']) => `${name}${suffix}${formatLabels(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/[\\"\n]/g, '_')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
