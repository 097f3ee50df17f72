import { type ActualLRP, ActualLRPNetInfo } from '../../messages/models.js';
import { openMessage, openText, sealJson, sealMessage } from '../encryption/envelope.js';
import type { KeyRing } from '../encryption/key-ring.js';
import type { ActualLrpRow } from '../schema/tables.js';
import { parseInternalRoutes, parseMetricTags, printInternalRoutes, printMetricTags } from './json-columns.js';

/** An actual LRP as a row (docs/protocol/bbs.md §15). */
export function actualLrpRow(lrp: ActualLRP, keys: KeyRing): ActualLrpRow {
  return {
    process_guid: lrp.actualLrpKey.processGuid,
    instance_index: lrp.actualLrpKey.index,
    presence: lrp.presence,
    domain: lrp.actualLrpKey.domain,
    state: lrp.state,
    instance_guid: lrp.actualLrpInstanceKey.instanceGuid,
    cell_id: lrp.actualLrpInstanceKey.cellId,
    placement_error: lrp.placementError,
    since: lrp.since,
    net_info: sealMessage(keys, ActualLRPNetInfo, lrp.actualLrpNetInfo),
    modification_tag_epoch: lrp.modificationTag.epoch,
    modification_tag_index: lrp.modificationTag.index,
    crash_count: lrp.crashCount,
    crash_reason: lrp.crashReason,
    internal_routes: sealJson(keys, printInternalRoutes(lrp.actualLrpInternalRoutes)),
    metric_tags: sealJson(keys, printMetricTags(lrp.metricTags)),
    routable: lrp.routable ?? false,
    availability_zone: lrp.availabilityZone,
  };
}

/** @throws Undecodable */
export function actualLrpOf(row: ActualLrpRow, keys: KeyRing): ActualLRP {
  return {
    actualLrpKey: { processGuid: row.process_guid, index: row.instance_index, domain: row.domain },
    actualLrpInstanceKey: { instanceGuid: row.instance_guid, cellId: row.cell_id },
    actualLrpNetInfo: openMessage(keys, ActualLRPNetInfo, row.net_info),
    crashCount: row.crash_count,
    crashReason: row.crash_reason,
    state: row.state,
    placementError: row.placement_error,
    since: row.since ?? 0n,
    modificationTag: { epoch: row.modification_tag_epoch, index: row.modification_tag_index ?? 0 },
    presence: row.presence as ActualLRP['presence'],
    // Rows from before the columns have NULL there.
    actualLrpInternalRoutes: row.internal_routes ? parseInternalRoutes(openText(keys, row.internal_routes)) : [],
    metricTags: row.metric_tags ? parseMetricTags(openText(keys, row.metric_tags)) : new Map(),
    routable: Boolean(row.routable),
    availabilityZone: row.availability_zone,
  };
}
