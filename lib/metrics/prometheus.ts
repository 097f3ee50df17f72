import type { MetricTags } from './metric-sink.js';
import { type Metrics, tagsText } from './metrics.js';

export const prometheusType = 'text/plain; version=0.0.4';

/** One figure at a moment, by upstream's name. */
export interface PrometheusFigure {
  name: string;
  kind: 'gauge' | 'counter';
  value: number;
  tags?: MetricTags | undefined;
}

/** The figures in Prometheus's text form. */
export function prometheusText(prefix: string, { gauges, counters }: Metrics): string {
  return [
    textOf([...gauges], 'gauge', (name) => fullName(prefix, name, 'gauge')),
    textOf([...counters], 'counter', (name) => fullName(prefix, name, 'counter')),
  ].join('');
}

/** The same for figures that are not kept in `Metrics`; those of one kind stand together. */
export function figuresText(prefix: string, figures: readonly PrometheusFigure[]): string {
  return (['gauge', 'counter'] as const)
    .map((kind) => {
      const ofKind = figures.filter((figure) => figure.kind === kind);
      const entries = ofKind.map(({ name, tags, value }): [string, number] => [`${name}${tagsText(tags)}`, value]);
      return textOf(entries, kind, (name) => fullName(prefix, name, kind));
    })
    .join('');
}

/** Figures of one name stand together, under one line that says what they are. */
function textOf(figures: [string, number][], kind: string, nameOf: (name: string) => string): string {
  const byName = new Map<string, string>();
  for (const [key, value] of figures) {
    const brace = key.indexOf('{');
    const name = nameOf(brace === -1 ? key : key.slice(0, brace));
    const tags = brace === -1 ? '' : key.slice(brace).replaceAll(/([{,][^=]*)-/g, '$1_');
    byName.set(name, `${byName.get(name) ?? `# TYPE ${name} ${kind}\n`}${name}${tags} ${value}\n`);
  }
  return [...byName.values()].join('');
}

/** `RequestCount` of `bbs` is `bbs_request_count_total`, and `DBQueriesTotal` is `bbs_db_queries_total`. */
function fullName(prefix: string, name: string, kind: PrometheusFigure['kind']): string {
  return kind === 'gauge' ? `${prefix}_${snakeCase(name)}` : `${prefix}_${snakeCase(name.replace(/Total$/, ''))}_total`;
}

function snakeCase(name: string): string {
  return (
    name
      .replaceAll(/[^A-Za-z0-9_]/g, '_')
      .replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
      // `DBWaitCount` and `LRPRuns`, but not within the `LRPs` of `LRPsRunning`.
      .replaceAll(/(?<=[A-Z])(?=[A-Z](?!s(?:_|$))[a-z])/g, '_')
      .toLowerCase()
  );
}
