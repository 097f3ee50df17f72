import { type MetricTagValue, MetricTagValueDynamicValue } from '../../messages/models.js';

/** The tags of one instance: what is known of each instance only is filled in (docs/protocol/bbs.md §12.1). */
export function resolveMetricTags(
  tags: ReadonlyMap<string, MetricTagValue>,
  instance: { index: number; instanceGuid: string },
): Map<string, string> {
  return new Map([...tags].map(([key, value]) => [key, resolve(value, instance)]));
}

/** Whether the instance has the tags that it should have. */
export function hasMetricTags(
  has: ReadonlyMap<string, string>,
  tags: ReadonlyMap<string, MetricTagValue>,
  instance: { index: number; instanceGuid: string },
): boolean {
  if (has.size !== tags.size) return false;
  for (const [key, value] of tags) {
    if (has.get(key) !== resolve(value, instance)) return false;
  }
  return true;
}

/** Whether both name the same values, dynamic ones unresolved. */
export function isSameMetricTags(
  a: ReadonlyMap<string, MetricTagValue>,
  b: ReadonlyMap<string, MetricTagValue>,
): boolean {
  return a.size === b.size && [...a].every(([key, value]) => isSameValue(value, b.get(key)));
}

function isSameValue(a: MetricTagValue, b: MetricTagValue | undefined): boolean {
  return b !== undefined && a.static === b.static && a.dynamic === b.dynamic;
}

function resolve(value: MetricTagValue, { index, instanceGuid }: { index: number; instanceGuid: string }): string {
  switch (value.dynamic) {
    case MetricTagValueDynamicValue.INDEX:
      return String(index);
    case MetricTagValueDynamicValue.INSTANCE_GUID:
      return instanceGuid;
    default:
      return value.static;
  }
}

/** As tags are stored: a dynamic value that has no name is none (docs/protocol/bbs.md §15). */
export function storedMetricTags(tags: ReadonlyMap<string, MetricTagValue>): ReadonlyMap<string, MetricTagValue> {
  const known = new Set(Object.values(MetricTagValueDynamicValue));
  if ([...tags.values()].every(({ dynamic }) => known.has(dynamic))) return tags;
  const none = MetricTagValueDynamicValue.DynamicValueInvalid;
  return new Map([...tags].map(([name, tag]) => [name, known.has(tag.dynamic) ? tag : { ...tag, dynamic: none }]));
}
