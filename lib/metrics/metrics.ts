import type { MetricSink, MetricTags } from './metric-sink.js';

/** The present figures of one program, by upstream's names; those with tags as `name{tag="value"}`. */
export class Metrics implements MetricSink {
  readonly gauges = new Map<string, number>();
  readonly counters = new Map<string, number>();

  set(name: string, value: number, tags?: MetricTags): void {
    this.gauges.set(keyOf(name, tags), value);
  }

  add(name: string, delta: number, tags?: MetricTags): void {
    if (delta === 0) return;
    const key = keyOf(name, tags);
    this.counters.set(key, (this.counters.get(key) ?? 0) + delta);
  }

  /** The gauge is of nothing any more. */
  forget(name: string, tags?: MetricTags): void {
    this.gauges.delete(keyOf(name, tags));
  }
}

function keyOf(name: string, tags: MetricTags | undefined): string {
  return `${name}${tagsText(tags)}`;
}

/** `{tag="value"}`; nothing where there are none. */
export function tagsText(tags: MetricTags | undefined): string {
  if (!tags) return '';
  const pairs = Object.entries(tags).map(([tag, value]) => `${tag}="${value.replaceAll(/["\\\n]/g, '_')}"`);
  return `{${pairs.join(',')}}`;
}
