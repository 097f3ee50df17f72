import type {
  ActualLRP,
  ActualLRPsRequest,
  DesiredLRP,
  DesiredLRPsRequest,
  Task,
  TasksRequest,
} from '../messages/models.js';

/** What lists are asked for (docs/protocol/bbs.md §6, §7.2, §9): all that is given must hold, what is empty does not matter. */

export function actualLrpFilter(request: ActualLRPsRequest): (row: ActualLRP) => boolean {
  const { domain, cellId, processGuid, index } = request;
  return ({ actualLrpKey, actualLrpInstanceKey }) =>
    isAsked(domain, actualLrpKey.domain) &&
    isAsked(cellId, actualLrpInstanceKey.cellId) &&
    isAsked(processGuid, actualLrpKey.processGuid) &&
    (index === undefined || index === actualLrpKey.index);
}

export function taskFilter({ domain, cellId }: Partial<TasksRequest>): (task: Task) => boolean {
  return (task) => isAsked(domain, task.domain) && isAsked(cellId, task.cellId);
}

/** Of lists in full; scheduling infos leave out `appGuids`, routing infos the domain too. */
export function desiredLrpFilter(
  request: Partial<DesiredLRPsRequest>,
): (desired: Pick<DesiredLRP, 'processGuid' | 'domain'>) => boolean {
  const { domain, processGuids = [], appGuids = [] } = request;
  const guids = new Set(processGuids);
  return (desired) =>
    isAsked(domain, desired.domain) &&
    (guids.size === 0 || guids.has(desired.processGuid)) &&
    (appGuids.length === 0 || appGuids.some((appGuid) => isOfApp(desired.processGuid, appGuid)));
}

function isAsked(asked: string | undefined, value: string): boolean {
  return asked === undefined || asked === '' || asked === value;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** A whole guid is that of one app; what is none is a beginning, as upstream takes everything. */
function isOfApp(processGuid: string, appGuid: string): boolean {
  if (!processGuid.startsWith(appGuid)) return false;
  const next = processGuid[appGuid.length];
  return !uuid.test(appGuid) || next === undefined || next === '-';
}
