import type { MessageType } from './messages/message-type.js';
import * as models from './messages/models.js';
import type { Findings } from './validation/findings.js';
import * as validation from './validation/requests.js';

/** One request, one response (docs/protocol/bbs.md §2). */
export interface CallRoute<Request extends object, Response extends object> {
  readonly kind: 'call';
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Undefined: the body does not matter, whatever it is. */
  readonly request: MessageType<Request> | undefined;
  readonly response: MessageType<Response>;
  /** What is wrong with a request that could be decoded. */
  readonly findings: (request: Request) => Findings;
  /**
   * Brings a request of an old client to today's terms, before it is looked at.
   *
   * @param body which the request was decoded from
   * @throws MalformedMessage
   */
  readonly modernise?: (request: Request, body: Buffer) => Request;
}

/** One subscription, events without end (docs/protocol/bbs.md §11). */
export interface StreamRoute {
  readonly kind: 'stream';
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly events: 'group' | 'instance' | 'task';
  /** Events of the streams without a revision are translated (translations/versions.ts). */
  readonly revision: 0 | 1;
  /** Body of the subscription; undefined: it does not matter. */
  readonly request: MessageType<models.EventsByCellId> | undefined;
}

type Empty = Record<string, never>;

/** A call by POST, as nearly all are. */
export function call<Request extends object, Response extends object>(
  path: string,
  request: MessageType<Request>,
  response: MessageType<Response>,
  findings: (request: Request) => Findings,
): CallRoute<Request, Response> {
  return { kind: 'call', method: 'POST', path, request, response, findings };
}

/** A call whose body does not matter. */
export function bare<Response extends object>(
  path: string,
  response: MessageType<Response>,
): CallRoute<Empty, Response> {
  return { kind: 'call', method: 'POST', path, request: undefined, response, findings: validation.noFindings };
}

function stream(
  method: StreamRoute['method'],
  path: string,
  events: StreamRoute['events'],
  revision: StreamRoute['revision'],
): StreamRoute {
  const request = events === 'task' ? undefined : models.EventsByCellId;
  return { kind: 'stream', method, path, events, revision, request };
}

const { noFindings } = validation;

/** Every route by the name that metrics have for it, in the protocol's order. */
export const routes = {
  Ping: bare('/v1/ping', models.PingResponse),
  Domains: bare('/v1/domains/list', models.DomainsResponse),
  UpsertDomain: call(
    '/v1/domains/upsert',
    models.UpsertDomainRequest,
    models.UpsertDomainResponse,
    validation.upsertDomainFindings,
  ),

  ActualLRPs: call('/v1/actual_lrps/list', models.ActualLRPsRequest, models.ActualLRPsResponse, noFindings),
  ActualLRPsByProcessGuids: call(
    '/v1/actual_lrps/list_by_process_guids',
    models.ActualLRPsByProcessGuidsRequest,
    models.ActualLRPsByProcessGuidsResponse,
    validation.processGuidsFindings,
  ),
  ActualLRPGroups: call(
    '/v1/actual_lrp_groups/list',
    models.ActualLRPGroupsRequest,
    models.ActualLRPGroupsResponse,
    noFindings,
  ),
  ActualLRPGroupsByProcessGuid: call(
    '/v1/actual_lrp_groups/list_by_process_guid',
    models.ActualLRPGroupsByProcessGuidRequest,
    models.ActualLRPGroupsResponse,
    validation.processGuidFindings,
  ),
  ActualLRPGroupsByProcessGuidAndIndex: call(
    '/v1/actual_lrp_groups/get_by_process_guid_and_index',
    models.ActualLRPGroupByProcessGuidAndIndexRequest,
    models.ActualLRPGroupResponse,
    validation.indexFindings,
  ),

  ClaimActualLRP: call(
    '/v1/actual_lrps/claim',
    models.ClaimActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.claimFindings,
  ),
  StartActualLRP: call(
    '/v1/actual_lrps/start.r1',
    models.StartActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.startFindings,
  ),
  StartActualLRP_r0: call(
    '/v1/actual_lrps/start',
    models.StartActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.startFindings,
  ),
  CrashActualLRP: call(
    '/v1/actual_lrps/crash',
    models.CrashActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.instanceFindings,
  ),
  FailActualLRP: call(
    '/v1/actual_lrps/fail',
    models.FailActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.failFindings,
  ),
  RemoveActualLRP: call(
    '/v1/actual_lrps/remove',
    models.RemoveActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.indexFindings,
  ),
  RetireActualLRP: call(
    '/v1/actual_lrps/retire',
    models.RetireActualLRPRequest,
    models.ActualLRPLifecycleResponse,
    validation.retireFindings,
  ),

  RemoveEvacuatingActualLRP: call(
    '/v1/actual_lrps/remove_evacuating',
    models.RemoveEvacuatingActualLRPRequest,
    models.RemoveEvacuatingActualLRPResponse,
    validation.instanceFindings,
  ),
  EvacuateClaimedActualLRP: call(
    '/v1/actual_lrps/evacuate_claimed',
    models.EvacuateClaimedActualLRPRequest,
    models.EvacuationResponse,
    validation.instanceFindings,
  ),
  EvacuateCrashedActualLRP: call(
    '/v1/actual_lrps/evacuate_crashed',
    models.EvacuateCrashedActualLRPRequest,
    models.EvacuationResponse,
    validation.evacuateCrashedFindings,
  ),
  EvacuateStoppedActualLRP: call(
    '/v1/actual_lrps/evacuate_stopped',
    models.EvacuateStoppedActualLRPRequest,
    models.EvacuationResponse,
    validation.instanceFindings,
  ),
  EvacuateRunningActualLRP: call(
    '/v1/actual_lrps/evacuate_running.r1',
    models.EvacuateRunningActualLRPRequest,
    models.EvacuationResponse,
    validation.startFindings,
  ),
  EvacuateRunningActualLRP_r0: call(
    '/v1/actual_lrps/evacuate_running',
    models.EvacuateRunningActualLRPRequest,
    models.EvacuationResponse,
    validation.startFindings,
  ),

  DesiredLRPs: call('/v1/desired_lrps/list.r3', models.DesiredLRPsRequest, models.DesiredLRPsResponse, noFindings),
  DesiredLRPs_r2: call('/v1/desired_lrps/list.r2', models.DesiredLRPsRequest, models.DesiredLRPsResponse, noFindings),
  DesiredLRPByProcessGuid: call(
    '/v1/desired_lrps/get_by_process_guid.r3',
    models.DesiredLRPByProcessGuidRequest,
    models.DesiredLRPResponse,
    validation.processGuidFindings,
  ),
  DesiredLRPByProcessGuid_r2: call(
    '/v1/desired_lrps/get_by_process_guid.r2',
    models.DesiredLRPByProcessGuidRequest,
    models.DesiredLRPResponse,
    validation.processGuidFindings,
  ),
  DesiredLRPSchedulingInfos: call(
    '/v1/desired_lrp_scheduling_infos/list',
    models.DesiredLRPsRequest,
    models.DesiredLRPSchedulingInfosResponse,
    noFindings,
  ),
  DesiredLRPSchedulingInfoByProcessGuid: call(
    '/v1/desired_lrp_scheduling_infos/get_by_process_guid',
    models.DesiredLRPByProcessGuidRequest,
    models.DesiredLRPSchedulingInfoByProcessGuidResponse,
    validation.processGuidFindings,
  ),
  DesiredLRPRoutingInfos: call(
    '/v1/desired_lrp_routing_infos/list',
    models.DesiredLRPsRequest,
    models.DesiredLRPsResponse,
    noFindings,
  ),
  DesireDesiredLRP: call(
    '/v1/desired_lrp/desire.r2',
    models.DesireLRPRequest,
    models.DesiredLRPLifecycleResponse,
    validation.desireLrpFindings,
  ),
  UpdateDesireLRP: call(
    '/v1/desired_lrp/update',
    models.UpdateDesiredLRPRequest,
    models.DesiredLRPLifecycleResponse,
    validation.updateDesiredLrpFindings,
  ),
  RemoveDesiredLRP: call(
    '/v1/desired_lrp/remove',
    models.RemoveDesiredLRPRequest,
    models.DesiredLRPLifecycleResponse,
    validation.processGuidFindings,
  ),

  Tasks: call('/v1/tasks/list.r3', models.TasksRequest, models.TasksResponse, noFindings),
  Tasks_r2: call('/v1/tasks/list.r2', models.TasksRequest, models.TasksResponse, noFindings),
  TaskByGuid: call(
    '/v1/tasks/get_by_task_guid.r3',
    models.TaskByGuidRequest,
    models.TaskResponse,
    validation.taskGuidFindings,
  ),
  TaskByGuid_r2: call(
    '/v1/tasks/get_by_task_guid.r2',
    models.TaskByGuidRequest,
    models.TaskResponse,
    validation.taskGuidFindings,
  ),
  DesireTask: call(
    '/v1/tasks/desire.r2',
    models.DesireTaskRequest,
    models.TaskLifecycleResponse,
    validation.desireTaskFindings,
  ),
  StartTask: call('/v1/tasks/start', models.StartTaskRequest, models.StartTaskResponse, validation.taskOnCellFindings),
  CancelTask: call(
    '/v1/tasks/cancel',
    models.TaskGuidRequest,
    models.TaskLifecycleResponse,
    validation.taskGuidFindings,
  ),
  FailTask: call('/v1/tasks/fail', models.FailTaskRequest, models.TaskLifecycleResponse, validation.failTaskFindings),
  RejectTask: call(
    '/v1/tasks/reject',
    models.RejectTaskRequest,
    models.TaskLifecycleResponse,
    validation.rejectTaskFindings,
  ),
  CompleteTask: call(
    '/v1/tasks/complete',
    models.CompleteTaskRequest,
    models.TaskLifecycleResponse,
    validation.taskOnCellFindings,
  ),
  ResolvingTask: call(
    '/v1/tasks/resolving',
    models.TaskGuidRequest,
    models.TaskLifecycleResponse,
    validation.taskGuidFindings,
  ),
  DeleteTask: call(
    '/v1/tasks/delete',
    models.TaskGuidRequest,
    models.TaskLifecycleResponse,
    validation.taskGuidFindings,
  ),

  EventStream: stream('GET', '/v1/events.r1', 'group', 1),
  EventStream_r0: stream('GET', '/v1/events', 'group', 0),
  LRPInstanceEventStream: stream('POST', '/v1/events/lrp_instances.r1', 'instance', 1),
  LrpInstanceEventStream_r0: stream('POST', '/v1/events/lrp_instances', 'instance', 0),
  TaskEventStream: stream('POST', '/v1/events/tasks.r1', 'task', 1),
  TaskEventStream_r0: stream('POST', '/v1/events/tasks', 'task', 0),

  Cells: bare('/v1/cells/list.r1', models.CellsResponse),
} as const;

export type RouteName = keyof typeof routes;

/** Any of the routes. */
export type Route = (typeof routes)[RouteName];

/** Names of routes that answer one request. */
export type CallName = { [Name in RouteName]: (typeof routes)[Name] extends StreamRoute ? never : Name }[RouteName];

/** Message of a call's request; of those whose body does not matter, an empty one. */
export type RequestOf<Name extends CallName> = Parameters<(typeof routes)[Name]['findings']>[0];

/** Message of a call's response. */
export type ResponseOf<Name extends CallName> = ReturnType<(typeof routes)[Name]['response']['create']>;

const byPath = new Map<string, RouteName>(
  (Object.keys(routes) as RouteName[]).map((name) => [routes[name].path, name]),
);

/** @param path exact; a trailing slash makes it another one */
export function findRoute(path: string): RouteName | undefined {
  return byPath.get(path);
}
