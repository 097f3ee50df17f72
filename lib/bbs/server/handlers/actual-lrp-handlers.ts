import type { Calls } from '../../board/calls.js';
import { listRows, noRows, placeOf, type Rows } from '../../decisions/actual-lrps/rows.js';
import { groupOf } from '../../decisions/events/group-events.js';
import { actualLrpFilter } from '../../decisions/filters.js';
import { resourceNotFound } from '../../errors.js';
import { type ActualLRPGroup, ActualLRPInstanceKey, ActualLRPKey, ActualLRPsRequest } from '../../messages/models.js';
import { runningInstance } from '../../translations/running-instance.js';
import { answered, type HandlersOf } from './handler.js';

type Names =
  | 'ActualLRPs'
  | 'ActualLRPsByProcessGuids'
  | 'ActualLRPGroups'
  | 'ActualLRPGroupsByProcessGuid'
  | 'ActualLRPGroupsByProcessGuidAndIndex'
  | 'ClaimActualLRP'
  | 'StartActualLRP'
  | 'StartActualLRP_r0'
  | 'CrashActualLRP'
  | 'FailActualLRP'
  | 'RemoveActualLRP'
  | 'RetireActualLRP';

/** docs/protocol/bbs.md §7.2 */
export function actualLrpHandlers({ board, actualLrps }: Calls): HandlersOf<Names> {
  return {
    ActualLRPs: (request) => board.image.actual.list(request),
    ActualLRPsByProcessGuids: ({ processGuids }) => board.image.actual.listOf(processGuids),

    ActualLRPGroups({ domain, cellId }) {
      const isAsked = actualLrpFilter(ActualLRPsRequest.create({ domain, cellId }));
      const indices = [...board.image.actual.byGuid.values()].flatMap((rows) => [...rows.values()]);
      return { actualLrpGroups: groupsOf(indices.map((rows) => only(rows, isAsked))) };
    },
    ActualLRPGroupsByProcessGuid: ({ processGuid }) => ({
      actualLrpGroups: groupsOf([...board.image.actual.of(processGuid).values()]),
    }),
    ActualLRPGroupsByProcessGuidAndIndex({ processGuid, index }) {
      const actualLrpGroup = groupOf(board.image.actual.at(processGuid, index));
      return actualLrpGroup ? { actualLrpGroup } : { error: resourceNotFound };
    },

    ClaimActualLRP: async ({ processGuid, index, actualLrpInstanceKey = ActualLRPInstanceKey.create() }, traceId) =>
      answered(await actualLrps.claim({ processGuid, index }, actualLrpInstanceKey, traceId)),
    StartActualLRP: async (request, traceId) => answered(await actualLrps.start(runningInstance(request, 1), traceId)),
    StartActualLRP_r0: async (request, traceId) =>
      answered(await actualLrps.start(runningInstance(request, 0), traceId)),
    CrashActualLRP: async (request, traceId) => answered(await actualLrps.crash(crashedInstance(request), traceId)),
    FailActualLRP: async ({ actualLrpKey = ActualLRPKey.create(), errorMessage }, traceId) =>
      answered(await actualLrps.fail(actualLrpKey, errorMessage, traceId)),
    RemoveActualLRP: async ({ processGuid, index, actualLrpInstanceKey }, traceId) =>
      answered(await actualLrps.remove({ processGuid, index }, actualLrpInstanceKey, traceId)),
    RetireActualLRP: async ({ actualLrpKey = ActualLRPKey.create() }, traceId) =>
      answered(await actualLrps.retire(actualLrpKey, traceId)),
  };
}

/** What a rep says of an instance that ended by itself. */
export function crashedInstance(request: {
  actualLrpKey?: ActualLRPKey | undefined;
  actualLrpInstanceKey?: ActualLRPInstanceKey | undefined;
  errorMessage: string;
}) {
  return {
    key: request.actualLrpKey ?? ActualLRPKey.create(),
    instanceKey: request.actualLrpInstanceKey ?? ActualLRPInstanceKey.create(),
    reason: request.errorMessage,
  };
}

function groupsOf(indices: readonly Rows[]): ActualLRPGroup[] {
  return indices.map(groupOf).filter((group) => group !== undefined);
}

function only(rows: Rows, isAsked: ReturnType<typeof actualLrpFilter>): Rows {
  const asked = listRows(rows).filter(isAsked);
  return asked.length === 0 ? noRows : Object.fromEntries(asked.map((row) => [placeOf(row), row]));
}
