import type {
  ActualLRPGroupByProcessGuidAndIndexRequest,
  ActualLRPInstanceKey,
  ActualLRPKey,
  ActualLRPNetInfo,
  ActualLRPsByProcessGuidsRequest,
  ClaimActualLRPRequest,
  CompleteTaskRequest,
  CrashActualLRPRequest,
  DesiredLRPByProcessGuidRequest,
  DesireLRPRequest,
  DesireTaskRequest,
  EvacuateCrashedActualLRPRequest,
  FailActualLRPRequest,
  FailTaskRequest,
  RejectTaskRequest,
  RemoveActualLRPRequest,
  RetireActualLRPRequest,
  StartActualLRPRequest,
  StartTaskRequest,
  TaskGuidRequest,
  UpdateDesiredLRPRequest,
  UpsertDomainRequest,
} from '../messages/models.js';
import { desiredLrpFindings, desiredLrpUpdateFindings } from './desired-lrp.js';
import { type Findings, when } from './findings.js';
import { isGuid } from './limits.js';
import { taskDefinitionFindings } from './task-definition.js';

/** What is wrong with each request, in the order of docs/protocol/bbs.md §4.1. */

export function upsertDomainFindings({ domain }: UpsertDomainRequest): Findings {
  return when(domain === '', 'domain');
}

/** Everything may be asked for. */
export function noFindings(): Findings {
  return [];
}

export function processGuidsFindings({ processGuids }: ActualLRPsByProcessGuidsRequest): Findings {
  return processGuids.length === 0 ? ['process_guids must not be empty'] : [];
}

export function processGuidFindings({ processGuid }: DesiredLRPByProcessGuidRequest): Findings {
  return when(processGuid === '', 'process_guid');
}

/** Of one index of a process; a removal need not name the instance. */
export function indexFindings(request: ActualLRPGroupByProcessGuidAndIndexRequest | RemoveActualLRPRequest): Findings {
  return [...processGuidFindings(request), ...when(request.index < 0, 'index')];
}

/** The index is not looked at. */
export function claimFindings(request: ClaimActualLRPRequest): Findings {
  return [...processGuidFindings(request), ...instanceKeyFindings(request.actualLrpInstanceKey)];
}

export function startFindings(
  request: Pick<StartActualLRPRequest, 'actualLrpKey' | 'actualLrpInstanceKey' | 'actualLrpNetInfo'>,
): Findings {
  return [...instanceFindings(request), ...netInfoFindings(request.actualLrpNetInfo)];
}

/** Of a request about one instance; a crash may be without a reason. */
export function instanceFindings(
  request: Pick<CrashActualLRPRequest, 'actualLrpKey' | 'actualLrpInstanceKey'>,
): Findings {
  return [...keyFindings(request.actualLrpKey), ...instanceKeyFindings(request.actualLrpInstanceKey)];
}

export function failFindings(request: FailActualLRPRequest): Findings {
  return [...keyFindings(request.actualLrpKey), ...when(request.errorMessage === '', 'error_message')];
}

export function retireFindings(request: RetireActualLRPRequest): Findings {
  return keyFindings(request.actualLrpKey);
}

export function evacuateCrashedFindings(request: EvacuateCrashedActualLRPRequest): Findings {
  return [...instanceFindings(request), ...when(request.errorMessage === '', 'error_message')];
}

export function desireLrpFindings({ desiredLrp }: DesireLRPRequest): Findings {
  return desiredLrp ? desiredLrpFindings(desiredLrp) : when(true, 'desired_lrp');
}

/** An update that is absent is refused here, where upstream breaks (docs/protocol/bbs.md §24). */
export function updateDesiredLrpFindings(request: UpdateDesiredLRPRequest): Findings {
  const { update } = request;
  return [...processGuidFindings(request), ...(update ? desiredLrpUpdateFindings(update) : when(true, 'update'))];
}

export function desireTaskFindings({ taskGuid, domain, taskDefinition }: DesireTaskRequest): Findings {
  return [
    ...when(!isGuid(taskGuid), 'task_guid'),
    ...when(domain === '', 'domain'),
    ...(taskDefinition ? taskDefinitionFindings(taskDefinition) : when(true, 'task_definition')),
  ];
}

export function taskOnCellFindings({ taskGuid, cellId }: StartTaskRequest | CompleteTaskRequest): Findings {
  return [...when(!isGuid(taskGuid), 'task_guid'), ...when(cellId === '', 'cell_id')];
}

export function failTaskFindings({ taskGuid, failureReason }: FailTaskRequest): Findings {
  return [...when(!isGuid(taskGuid), 'task_guid'), ...when(failureReason === '', 'failure_reason')];
}

/** The finding has the name of another field, as upstream's has. */
export function rejectTaskFindings({ taskGuid, rejectionReason }: RejectTaskRequest): Findings {
  return [...when(!isGuid(taskGuid), 'task_guid'), ...when(rejectionReason === '', 'failure_reason')];
}

export function taskGuidFindings({ taskGuid }: TaskGuidRequest): Findings {
  return when(taskGuid === '', 'task_guid');
}

function keyFindings(key: ActualLRPKey | undefined): Findings {
  if (!key) return when(true, 'actual_lrp_key');
  return [
    ...when(key.processGuid === '', 'process_guid'),
    ...when(key.index < 0, 'index'),
    ...when(key.domain === '', 'domain'),
  ];
}

function instanceKeyFindings(key: ActualLRPInstanceKey | undefined): Findings {
  if (!key) return when(true, 'actual_lrp_instance_key');
  return [...when(key.cellId === '', 'cell_id'), ...when(key.instanceGuid === '', 'instance_guid')];
}

function netInfoFindings(netInfo: ActualLRPNetInfo | undefined): Findings {
  return netInfo ? when(netInfo.address === '', 'address') : when(true, 'actual_lrp_net_info');
}
