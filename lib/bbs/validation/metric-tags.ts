import { type MetricTagValue, MetricTagValueDynamicValue } from '../messages/models.js';
import { type Findings, invalidField, within } from './findings.js';

const dynamicValues: readonly number[] = [MetricTagValueDynamicValue.INDEX, MetricTagValueDynamicValue.INSTANCE_GUID];

/**
 * docs/protocol/bbs.md §4.2, §4.5
 *
 * @param metricsGuid where it is not empty, `source_id` must be the same
 */
export function metricTagFindings(tags: ReadonlyMap<string, MetricTagValue>, metricsGuid: string): Findings {
  const findings = [...tags.values()].flatMap(valueFindings);
  const isForeign = tags.size > 0 && metricsGuid !== '' && tags.get('source_id')?.static !== metricsGuid;
  return within('metric_tags', [
    ...findings,
    ...(isForeign ? [invalidField('source_id should match metrics_guid')] : []),
  ]);
}

/** Either a text or something that is known for each instance. */
function valueFindings(value: MetricTagValue): Findings {
  const isStatic = value.static !== '';
  const isDynamic = dynamicValues.includes(value.dynamic);
  return isStatic === isDynamic ? [invalidField('static'), invalidField('dynamic')] : [];
}
