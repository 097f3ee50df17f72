import type { Calls } from '../../board/calls.js';
import { invalidRequest, resourceNotFound } from '../../errors.js';
import { DesiredLRP } from '../../messages/models.js';
import { desiredLrpForVersion, type Version } from '../../translations/versions.js';
import { answered, type HandlerOf, type HandlersOf } from './handler.js';

type Names =
  | 'DesiredLRPs'
  | 'DesiredLRPs_r2'
  | 'DesiredLRPByProcessGuid'
  | 'DesiredLRPByProcessGuid_r2'
  | 'DesiredLRPSchedulingInfos'
  | 'DesiredLRPSchedulingInfoByProcessGuid'
  | 'DesiredLRPRoutingInfos'
  | 'DesireDesiredLRP'
  | 'UpdateDesireLRP'
  | 'RemoveDesiredLRP';

/** docs/protocol/bbs.md §6 */
export function desiredLrpHandlers(calls: Calls): HandlersOf<Names> {
  const { board, desiredLrps } = calls;
  return {
    DesiredLRPs: (request) => board.image.desired.list('full', request),
    DesiredLRPs_r2: listDesired(calls, 2),
    DesiredLRPByProcessGuid: ({ processGuid }) =>
      board.image.desired.element(processGuid, 'full') ?? { error: resourceNotFound },
    DesiredLRPByProcessGuid_r2: getDesired(calls, 2),
    DesiredLRPSchedulingInfos: (request) => board.image.desired.list('scheduling', request),
    DesiredLRPSchedulingInfoByProcessGuid: ({ processGuid }) =>
      board.image.desired.element(processGuid, 'scheduling') ?? { error: resourceNotFound },
    DesiredLRPRoutingInfos: (request) => board.image.desired.list('routing', request),

    DesireDesiredLRP: async ({ desiredLrp = DesiredLRP.create() }, traceId) =>
      answered(await desiredLrps.desire(desiredLrp, traceId)),
    UpdateDesireLRP: async ({ processGuid, update }, traceId) =>
      answered(update ? await desiredLrps.update(processGuid, update, traceId) : invalidRequest),
    RemoveDesiredLRP: async ({ processGuid }, traceId) => answered(await desiredLrps.remove(processGuid, traceId)),
  };
}

/** For peers of before 2018 (docs/protocol/bbs.md §2.1). */
export function removedDesiredLrpHandlers(calls: Calls) {
  const { DesireDesiredLRP } = desiredLrpHandlers(calls);
  return {
    DesiredLRPs_r0: listDesired(calls, 0),
    DesiredLRPs_r1: listDesired(calls, 1),
    DesiredLRPByProcessGuid_r0: getDesired(calls, 0),
    DesiredLRPByProcessGuid_r1: getDesired(calls, 1),
    DesireDesiredLRP_r0: DesireDesiredLRP,
    DesireDesiredLRP_r1: DesireDesiredLRP,
  };
}

function listDesired({ board }: Calls, version: Version): HandlerOf<'DesiredLRPs'> {
  return (request) => ({
    desiredLrps: [...board.image.desired.listDecoded(request)].map((desired) => desiredLrpForVersion(desired, version)),
  });
}

function getDesired({ board }: Calls, version: Version): HandlerOf<'DesiredLRPByProcessGuid'> {
  return ({ processGuid }) => {
    const desired = board.image.desired.get(processGuid);
    return desired ? { desiredLrp: desiredLrpForVersion(desired, version) } : { error: resourceNotFound };
  };
}
