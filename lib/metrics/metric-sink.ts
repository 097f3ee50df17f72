/** What a figure is of, such as one cell of many. */
export type MetricTags = Readonly<Record<string, string>>;

/** Takes figures by upstream's names. */
export interface MetricSink {
  /** The present value of a gauge. */
  set(name: string, value: number, tags?: MetricTags): void;
  /** Something happened `delta` more times; 0 is no news. */
  add(name: string, delta: number, tags?: MetricTags): void;
}
