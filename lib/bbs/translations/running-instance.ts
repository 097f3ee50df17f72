import type { RunningInstance } from '../decisions/actual-lrps/lifecycle.js';
import {
  ActualLRPInstanceKey,
  ActualLRPKey,
  ActualLRPNetInfo,
  type EvacuateRunningActualLRPRequest,
  type StartActualLRPRequest,
} from '../messages/models.js';

/**
 * The instance that a rep says runs (docs/protocol/bbs.md §2.1).
 *
 * @param request that was found valid
 * @param revision of its route; the first one knew neither internal routes nor tags, and what is sent of them is not
 *   meant
 */
export function runningInstance(
  request: StartActualLRPRequest | EvacuateRunningActualLRPRequest,
  revision: 0 | 1,
): RunningInstance {
  return {
    key: request.actualLrpKey ?? ActualLRPKey.create(),
    instanceKey: request.actualLrpInstanceKey ?? ActualLRPInstanceKey.create(),
    netInfo: request.actualLrpNetInfo ?? ActualLRPNetInfo.create(),
    internalRoutes: revision === 0 ? [] : request.actualLrpInternalRoutes,
    metricTags: revision === 0 ? new Map() : request.metricTags,
    routable: request.routable ?? true,
    availabilityZone: request.availabilityZone,
  };
}
