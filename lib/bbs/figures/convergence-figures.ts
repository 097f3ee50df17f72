import type { MetricSink } from '../../metrics/metric-sink.js';
import type { Metrics } from '../../metrics/metrics.js';
import type { LrpPassResult } from '../convergence/lrp-pass.js';
import type { TaskCensus } from '../convergence/task-pass.js';

const nanosecondsPerMs = 1e6;

/** What the last passes found, told again and again (docs/protocol/bbs.md §18). */
export class ConvergenceFigures {
  readonly #gauges = new Map<string, number>();
  #freshDomains: ReadonlySet<string> = new Set();

  constructor(
    private readonly sink: MetricSink,
    private readonly kept: Metrics,
  ) {}

  lrps({ census, freshDomains }: LrpPassResult, durationMs: number): void {
    this.sink.add('ConvergenceLRPRuns', 1);
    for (const domain of this.#freshDomains) {
      if (freshDomains.has(domain)) continue;
      this.#gauges.delete(domainName(domain));
      this.kept.forget(domainName(domain));
    }
    this.#freshDomains = freshDomains;
    this.#keep({
      ...census,
      ConvergenceLRPDuration: durationMs * nanosecondsPerMs,
      ...Object.fromEntries([...freshDomains].map((domain) => [domainName(domain), 1])),
    });
  }

  tasks({ ConvergenceTasksKicked, ConvergenceTasksPruned, ...states }: TaskCensus, durationMs: number): void {
    this.sink.add('ConvergenceTaskRuns', 1);
    this.sink.add('ConvergenceTasksKicked', ConvergenceTasksKicked);
    this.sink.add('ConvergenceTasksPruned', ConvergenceTasksPruned);
    this.#keep({ ...states, ConvergenceTaskDuration: durationMs * nanosecondsPerMs });
  }

  report(): void {
    for (const [name, value] of this.#gauges) this.sink.set(name, value);
  }

  #keep(gauges: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(gauges)) this.#gauges.set(name, value);
  }
}

function domainName(domain: string): string {
  return `Domain.${domain}`;
}
