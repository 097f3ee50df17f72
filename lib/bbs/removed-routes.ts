import * as models from './messages/models.js';
import { bare, call } from './routes.js';
import { desireRequestWithOldMounts, taskRequestWithOldMounts } from './translations/old-volume-mounts.js';
import { desireRequestFromVersion0, taskRequestFromVersion0, type Version } from './translations/versions.js';
import * as validation from './validation/requests.js';

/**
 * Routes that upstream removed in 2018, for peers that are older still (docs/protocol/bbs.md §2.1). They answer as
 * those of `routes` do, in terms of the version (translations/versions.ts).
 */
export const removedRoutes = {
  DesiredLRPs_r0: listDesired('/v1/desired_lrps/list', 0),
  DesiredLRPs_r1: listDesired('/v1/desired_lrps/list.r1', 1),
  DesiredLRPByProcessGuid_r0: getDesired('/v1/desired_lrps/get_by_process_guid', 0),
  DesiredLRPByProcessGuid_r1: getDesired('/v1/desired_lrps/get_by_process_guid.r1', 1),
  DesireDesiredLRP_r0: { ...desireLrp('/v1/desired_lrp/desire'), modernise: desireRequestFromVersion0 },
  DesireDesiredLRP_r1: { ...desireLrp('/v1/desired_lrp/desire.r1'), modernise: desireRequestWithOldMounts },
  Tasks_r0: listTasks('/v1/tasks/list', 0),
  Tasks_r1: listTasks('/v1/tasks/list.r1', 1),
  TaskByGuid_r0: { ...getTask('/v1/tasks/get_by_task_guid', 0), method: 'GET' },
  TaskByGuid_r1: getTask('/v1/tasks/get_by_task_guid.r1', 1),
  DesireTask_r0: { ...desireTask('/v1/tasks/desire'), modernise: taskRequestFromVersion0 },
  DesireTask_r1: { ...desireTask('/v1/tasks/desire.r1'), modernise: taskRequestWithOldMounts },
  Cells_r0: { ...bare('/v1/cells/list.r1', models.CellsResponse), method: 'GET' },
} as const;

export type RemovedRouteName = keyof typeof removedRoutes;

function listDesired(path: string, version: Version) {
  const route = call(path, models.DesiredLRPsRequest, models.DesiredLRPsResponse, validation.noFindings);
  return { ...route, version };
}

function getDesired(path: string, version: Version) {
  const { DesiredLRPByProcessGuidRequest, DesiredLRPResponse } = models;
  return { ...call(path, DesiredLRPByProcessGuidRequest, DesiredLRPResponse, validation.processGuidFindings), version };
}

function desireLrp(path: string) {
  const { DesireLRPRequest, DesiredLRPLifecycleResponse } = models;
  return call(path, DesireLRPRequest, DesiredLRPLifecycleResponse, validation.desireLrpFindings);
}

function listTasks(path: string, version: Version) {
  return { ...call(path, models.TasksRequest, models.TasksResponse, validation.noFindings), version };
}

function getTask(path: string, version: Version) {
  return { ...call(path, models.TaskByGuidRequest, models.TaskResponse, validation.taskGuidFindings), version };
}

function desireTask(path: string) {
  return call(path, models.DesireTaskRequest, models.TaskLifecycleResponse, validation.desireTaskFindings);
}
