import {
  DesiredLRP,
  type DesiredLRPSchedulingInfo,
  MetricTagValue,
  ModificationTag,
  ProtoRoutes,
} from '../../messages/models.js';

/** The forms in which a desired LRP is read (docs/protocol/bbs.md §2.1, §6). */

/** In full; of the metrics guid and the tag `source_id` one is filled from the other. */
export function fullForm(desired: DesiredLRP): DesiredLRP {
  return { ...withMetricsGuid(desired), routes: desired.routes ?? ProtoRoutes.create() };
}

/** What is needed to place it; the large rest stays where it is. */
export function schedulingInfo(desired: DesiredLRP): DesiredLRPSchedulingInfo {
  return {
    desiredLrpKey: { processGuid: desired.processGuid, domain: desired.domain, logGuid: desired.logGuid },
    annotation: desired.annotation,
    instances: desired.instances,
    desiredLrpResource: {
      memoryMb: desired.memoryMb,
      diskMb: desired.diskMb,
      rootFs: desired.rootFs,
      maxPids: desired.maxPids,
    },
    routes: desired.routes ?? ProtoRoutes.create(),
    modificationTag: desired.modificationTag ?? ModificationTag.create(),
    // A driver that is used twice stands there twice.
    volumePlacement: { driverNames: desired.volumeMounts.map(({ driver }) => driver) },
    placementTags: desired.placementTags,
  };
}

/** What routers need. */
export function routingInfo(desired: DesiredLRP): DesiredLRP {
  return DesiredLRP.create({
    processGuid: desired.processGuid,
    domain: desired.domain,
    logGuid: desired.logGuid,
    instances: desired.instances,
    routes: desired.routes ?? ProtoRoutes.create(),
    modificationTag: desired.modificationTag,
    metricTags: desired.metricTags,
  });
}

/** Of the metrics guid and the tag `source_id`, where only one is set the other becomes the same. */
export function withMetricsGuid<T extends Pick<DesiredLRP, 'metricsGuid' | 'metricTags'>>(described: T): T {
  const sourceId = described.metricTags.get('source_id');
  if (sourceId && described.metricsGuid === '') return { ...described, metricsGuid: sourceId.static };
  if (sourceId || described.metricsGuid === '') return described;
  const filled = MetricTagValue.create({ static: described.metricsGuid });
  return { ...described, metricTags: new Map([...described.metricTags, ['source_id', filled]]) };
}
