import type { RunningInstance } from '../../../lib/bbs/decisions/actual-lrps/lifecycle.js';
import type { Moment } from '../../../lib/bbs/decisions/moment.js';
import {
  ActualLRP,
  type ActualLRPInstanceKey,
  ActualLRPNetInfo,
  ActualLRPPresence,
  PortMapping,
} from '../../../lib/bbs/messages/models.js';

/** Rows of one index as specs need them: of process p, index 0, domain d. */

export const key = { processGuid: 'p', index: 0, domain: 'd' };
export const i: ActualLRPInstanceKey = { instanceGuid: 'i', cellId: 'c' };
export const j: ActualLRPInstanceKey = { instanceGuid: 'j', cellId: 'e' };

export const second = 1_000_000_000n;
/** When rows were last changed. */
export const since = 1000n * second;
/** When decisions are made, unless a spec says otherwise. */
export const now = 1010n * second;
export const moment: Moment = { now, newEpoch: () => 'new-epoch' };

export const netInfo = ActualLRPNetInfo.create({
  address: '10.0.0.9',
  ports: [PortMapping.create({ containerPort: 8080, hostPort: 61000 })],
});
export const tags = new Map([['source_id', 'p']]);
export const internalRoutes = [{ hostname: 'a.apps.internal' }];

export function instanceOf(instanceKey: ActualLRPInstanceKey, changes: Partial<RunningInstance> = {}): RunningInstance {
  return {
    key,
    instanceKey,
    netInfo,
    internalRoutes,
    metricTags: tags,
    routable: true,
    availabilityZone: 'z1',
    ...changes,
  };
}

const fields = { actualLrpKey: key, since, modificationTag: { epoch: 'epoch', index: 5 } };

export function unclaimed(changes: Partial<ActualLRP> = {}): ActualLRP {
  return ActualLRP.create({ ...fields, state: 'UNCLAIMED', routable: false, ...changes });
}

export function claimed(instanceKey: ActualLRPInstanceKey, changes: Partial<ActualLRP> = {}): ActualLRP {
  return unclaimed({ state: 'CLAIMED', actualLrpInstanceKey: instanceKey, ...changes });
}

export function running(instanceKey: ActualLRPInstanceKey, changes: Partial<ActualLRP> = {}): ActualLRP {
  return claimed(instanceKey, {
    state: 'RUNNING',
    actualLrpNetInfo: netInfo,
    actualLrpInternalRoutes: internalRoutes,
    metricTags: tags,
    routable: true,
    availabilityZone: 'z1',
    ...changes,
  });
}

export function crashed(crashCount: number, changes: Partial<ActualLRP> = {}): ActualLRP {
  return unclaimed({ state: 'CRASHED', crashCount, ...changes });
}

export function suspect(row: ActualLRP): ActualLRP {
  return { ...row, presence: ActualLRPPresence.SUSPECT };
}

export function evacuating(row: ActualLRP): ActualLRP {
  return { ...row, presence: ActualLRPPresence.EVACUATING };
}
