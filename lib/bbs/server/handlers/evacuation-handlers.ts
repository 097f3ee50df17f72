import type { Calls } from '../../board/calls.js';
import { failedEvacuation } from '../../decisions/actual-lrps/evacuation.js';
import type { BbsError } from '../../errors.js';
import { ActualLRPInstanceKey, ActualLRPKey } from '../../messages/models.js';
import type { CallName } from '../../routes.js';
import { runningInstance } from '../../translations/running-instance.js';
import { crashedInstance } from './actual-lrp-handlers.js';
import { answered, type HandlersOf } from './handler.js';

type Names =
  | 'RemoveEvacuatingActualLRP'
  | 'EvacuateClaimedActualLRP'
  | 'EvacuateCrashedActualLRP'
  | 'EvacuateStoppedActualLRP'
  | 'EvacuateRunningActualLRP'
  | 'EvacuateRunningActualLRP_r0';

/** docs/protocol/bbs.md §8 */
export function evacuationHandlers({ actualLrps }: Calls): HandlersOf<Names> {
  return {
    RemoveEvacuatingActualLRP: async (request, traceId) => {
      const { key, instanceKey } = instanceOf(request);
      return answered(await actualLrps.removeEvacuating(key, instanceKey, traceId));
    },
    EvacuateClaimedActualLRP: (request, traceId) => {
      const { key, instanceKey } = instanceOf(request);
      return actualLrps.evacuateClaimed(key, instanceKey, traceId);
    },
    EvacuateCrashedActualLRP: (request, traceId) => actualLrps.evacuateCrashed(crashedInstance(request), traceId),
    EvacuateStoppedActualLRP: (request, traceId) => {
      const { key, instanceKey } = instanceOf(request);
      return actualLrps.evacuateStopped(key, instanceKey, traceId);
    },
    EvacuateRunningActualLRP: (request, traceId) => actualLrps.evacuateRunning(runningInstance(request, 1), traceId),
    EvacuateRunningActualLRP_r0: (request, traceId) => actualLrps.evacuateRunning(runningInstance(request, 0), traceId),
  };
}

const kinds: { readonly [Name in CallName]?: Parameters<typeof failedEvacuation>[0] } = {
  EvacuateClaimedActualLRP: 'claimed',
  EvacuateCrashedActualLRP: 'crashed',
  EvacuateStoppedActualLRP: 'stopped',
  EvacuateRunningActualLRP: 'running',
  EvacuateRunningActualLRP_r0: 'running',
};

/** The answer to a request that could not be carried out; an evacuating rep is also told what becomes of the container. */
export function failedAnswer(name: string, error: BbsError): { error: BbsError; keepContainer?: boolean } {
  const kind = kinds[name as CallName];
  return kind ? failedEvacuation(kind, error) : { error };
}

function instanceOf(request: {
  actualLrpKey?: ActualLRPKey | undefined;
  actualLrpInstanceKey?: ActualLRPInstanceKey | undefined;
}): { key: ActualLRPKey; instanceKey: ActualLRPInstanceKey } {
  return {
    key: request.actualLrpKey ?? ActualLRPKey.create(),
    instanceKey: request.actualLrpInstanceKey ?? ActualLRPInstanceKey.create(),
  };
}
