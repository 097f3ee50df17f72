import { type BbsError, invalidRequest, resourceExists, resourceNotFound } from '../../errors.js';
import { InvalidJson } from '../../messages/json/text.js';
import {
  type ActualLRP,
  type ActualLRPInternalRoute,
  type DesiredLRP,
  type DesiredLRPUpdate,
  type ModificationTag,
  ProtoRoutes,
} from '../../messages/models.js';
import { isOccupied } from '../actual-lrps/rows.js';
import { firstTag, nextTag } from '../modification-tag.js';
import type { Moment } from '../moment.js';
import { isSameMetricTags, resolveMetricTags, storedMetricTags } from './metric-tags.js';
import { hasSameInternalRoutes, internalRoutesOf, storedRoutes } from './routes.js';

/** The calls about desired LRPs (docs/protocol/bbs.md §6). */
export interface DesiredOutcome {
  /** What the caller is told; then nothing changes. */
  readonly error?: BbsError | undefined;
  /** What is stored from now on; absent: nothing. */
  readonly after: DesiredLRP | undefined;
  /** Indices that need a row and a cell: created, then one auction request with those that were. */
  readonly indicesToCreate: readonly number[];
  /** From this index on instances are stopped. */
  readonly stopFrom: number | undefined;
  /** What reps of running instances are told. */
  readonly instanceUpdate: { readonly hasNewRoutes: boolean; readonly hasNewTags: boolean };
}

/** What one rep is told of one of its instances; what is absent stays as it is. */
export interface InstanceUpdate {
  readonly instance: ActualLRP;
  readonly internalRoutes?: readonly ActualLRPInternalRoute[];
  readonly metricTags?: ReadonlyMap<string, string>;
}

const noUpdate = { hasNewRoutes: false, hasNewTags: false };

export function desire(existing: DesiredLRP | undefined, desired: DesiredLRP, moment: Moment): DesiredOutcome {
  if (existing) return refused(existing, resourceExists);
  const routes = storableRoutes(desired.routes ?? ProtoRoutes.create());
  if (!routes) return refused(undefined, invalidRequest);
  const after: DesiredLRP = {
    ...desired,
    routes,
    metricTags: storedMetricTags(desired.metricTags),
    ports: [...new Set(desired.ports)],
    // Clients of before 2016 send it; it is not kept.
    deprecatedStartTimeoutS: 0,
    modificationTag: firstTag(moment.newEpoch()),
  };
  return { after, indicesToCreate: range(0, desired.instances), stopFrom: undefined, instanceUpdate: noUpdate };
}

/** The modification tag counts on even when nothing else changes. */
export function update(before: DesiredLRP | undefined, change: DesiredLRPUpdate): DesiredOutcome {
  if (!before) return refused(undefined, resourceNotFound);
  const routes = change.routes ? storableRoutes(change.routes) : before.routes;
  if (change.routes && !routes) return refused(before, invalidRequest);
  const after: DesiredLRP = {
    ...before,
    instances: change.instances ?? before.instances,
    routes,
    annotation: change.annotation ?? before.annotation,
    metricTags: change.metricTags.size > 0 ? storedMetricTags(change.metricTags) : before.metricTags,
    imageUsername: change.imageUsername ?? before.imageUsername,
    imagePassword: change.imagePassword ?? before.imagePassword,
    modificationTag: nextTag(tagOf(before)),
  };
  return {
    after,
    indicesToCreate: range(before.instances, after.instances),
    stopFrom: after.instances < before.instances ? after.instances : undefined,
    instanceUpdate: {
      hasNewRoutes: !hasSameInternalRoutes(before.routes, after.routes),
      hasNewTags: !isSameMetricTags(before.metricTags, after.metricTags),
    },
  };
}

export function remove(before: DesiredLRP | undefined): DesiredOutcome {
  if (!before) return refused(undefined, resourceNotFound);
  return { after: undefined, indicesToCreate: [], stopFrom: 0, instanceUpdate: noUpdate };
}

/**
 * What the rep of an instance is told after an update.
 *
 * @returns undefined where there is nothing to tell, or nobody to tell it
 */
export function instanceUpdateFor(
  instance: ActualLRP,
  after: DesiredLRP,
  { hasNewRoutes, hasNewTags }: DesiredOutcome['instanceUpdate'],
): InstanceUpdate | undefined {
  if (!isOccupied(instance) || (!hasNewRoutes && !hasNewTags)) return undefined;
  return {
    instance,
    ...(hasNewRoutes && { internalRoutes: internalRoutesOf(after.routes) }),
    ...(hasNewTags && { metricTags: metricTagsFor(instance, after) }),
  };
}

export function metricTagsFor(
  instance: ActualLRP,
  { metricTags }: Pick<DesiredLRP, 'metricTags'>,
): Map<string, string> {
  return resolveMetricTags(metricTags, {
    index: instance.actualLrpKey.index,
    instanceGuid: instance.actualLrpInstanceKey.instanceGuid,
  });
}

function refused(after: DesiredLRP | undefined, error: BbsError): DesiredOutcome {
  return { error, after, indicesToCreate: [], stopFrom: undefined, instanceUpdate: noUpdate };
}

function tagOf({ modificationTag }: DesiredLRP): ModificationTag {
  return modificationTag ?? firstTag('');
}

function storableRoutes(routes: ProtoRoutes): ProtoRoutes | undefined {
  try {
    return storedRoutes(routes);
  } catch (error) {
    if (error instanceof InvalidJson) return undefined;
    throw error;
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, offset) => from + offset);
}
