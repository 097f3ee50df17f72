import { encode } from '../../lib/bbs/messages/codec.js';
import { wrap } from '../../lib/bbs/messages/inner-action.js';
import * as models from '../../lib/bbs/messages/models.js';

/** What clients ask for, by what the figures are called; `index` says about which row. */
export type Operation = keyof typeof operations;

export interface Request {
  path: string;
  body: Buffer;
}

export const domain = 'benchmark-bbs';
const empty = Buffer.alloc(0);

export function guidOf(index: number): string {
  return `BENCHMARK-BBS-GUID-${String(index).padStart(6, '0')}`;
}

export function cellOf(index: number, cells: number): string {
  return `cell-${index % cells}`;
}

/** As upstream's benchmark desires them, with the tag that boards want now (docs/protocol/bbs.md §19.1). */
export function desiredLrpOf(index: number): models.DesiredLRP {
  const processGuid = guidOf(index);
  return models.DesiredLRP.create({
    processGuid,
    domain,
    rootFs: 'some:rootfs',
    instances: 1,
    environmentVariables: [{ name: 'FOO', value: 'bar' }],
    action: wrap({ kind: 'run', action: models.RunAction.create({ path: 'ls', args: [], user: 'name' }) }),
    startTimeoutMs: 15_000n,
    diskMb: 512,
    memoryMb: 1024,
    cpuWeight: 42,
    ports: [7890],
    logSource: 'some-log-source',
    logGuid: 'some-log-guid',
    metricsGuid: processGuid,
    metricTags: new Map([['source_id', models.MetricTagValue.create({ static: processGuid })]]),
    annotation: 'some-annotation',
    routes: models.ProtoRoutes.create({ routes: new Map([['my-router', Buffer.from('[{"hostnames":["a.test"]}]')]]) }),
  });
}

export function runningLrpOf(index: number, cells: number, guid = guidOf(index), at = 0): models.StartActualLRPRequest {
  return models.StartActualLRPRequest.create({
    actualLrpKey: { processGuid: guid, index: at, domain },
    actualLrpInstanceKey: { instanceGuid: `${guid}-i`, cellId: cellOf(index, cells) },
    actualLrpNetInfo: models.ActualLRPNetInfo.create({
      address: '10.0.0.9',
      instanceAddress: '10.255.0.9',
      ports: [models.PortMapping.create({ containerPort: 7890, hostPort: 61_000 })],
    }),
    metricTags: new Map([['source_id', guid]]),
    routable: true,
    availabilityZone: 'z1',
  });
}

const cells = 100;

export const operations = {
  desired_lrps: () => ({ path: '/v1/desired_lrps/list.r3', body: empty }),
  scheduling_infos: () => ({ path: '/v1/desired_lrp_scheduling_infos/list', body: empty }),
  actual_lrps: () => ({ path: '/v1/actual_lrps/list', body: empty }),
  actual_lrps_of_cell: (index: number) => ({
    path: '/v1/actual_lrps/list',
    body: encode(models.ActualLRPsRequest, models.ActualLRPsRequest.create({ cellId: `cell-${index % 1000}` })),
  }),
  desired_lrp_by_guid: (index: number) => ({
    path: '/v1/desired_lrps/get_by_process_guid.r3',
    body: encode(models.DesiredLRPByProcessGuidRequest, { processGuid: guidOf(index) }),
  }),
  actual_lrps_by_guid: (index: number) => ({
    path: '/v1/actual_lrps/list',
    body: encode(models.ActualLRPsRequest, models.ActualLRPsRequest.create({ processGuid: guidOf(index) })),
  }),
  desire_lrp: (index: number) => ({
    path: '/v1/desired_lrp/desire.r2',
    body: encode(models.DesireLRPRequest, { desiredLrp: desiredLrpOf(index) }),
  }),
  claim_actual_lrp: (index: number) => ({
    path: '/v1/actual_lrps/claim',
    body: encode(models.ClaimActualLRPRequest, {
      processGuid: guidOf(index),
      index: 0,
      actualLrpInstanceKey: runningLrpOf(index, cells).actualLrpInstanceKey,
    }),
  }),
  start_actual_lrp: (index: number) => ({
    path: '/v1/actual_lrps/start.r1',
    body: encode(models.StartActualLRPRequest, runningLrpOf(index, cells)),
  }),
  update_desired_lrp: (index: number) => ({
    path: '/v1/desired_lrp/update',
    body: encode(models.UpdateDesiredLRPRequest, {
      processGuid: guidOf(index),
      update: models.DesiredLRPUpdate.create({ annotation: `annotation ${index}` }),
    }),
  }),
  desire_task: (index: number) => ({
    path: '/v1/tasks/desire.r2',
    body: encode(models.DesireTaskRequest, {
      taskGuid: guidOf(index),
      domain,
      taskDefinition: models.TaskDefinition.create({
        rootFs: 'some:rootfs',
        action: wrap({ kind: 'run', action: models.RunAction.create({ path: 'ls', user: 'name' }) }),
        memoryMb: 128,
        diskMb: 128,
        annotation: 'some-annotation',
      }),
    }),
  }),
  start_task: (index: number) => ({
    path: '/v1/tasks/start',
    body: encode(models.StartTaskRequest, { taskGuid: guidOf(index), cellId: cellOf(index, cells) }),
  }),
  complete_task: (index: number) => ({
    path: '/v1/tasks/complete',
    body: encode(
      models.CompleteTaskRequest,
      models.CompleteTaskRequest.create({ taskGuid: guidOf(index), cellId: cellOf(index, cells), result: 'ok' }),
    ),
  }),
  resolve_task: (index: number) => ({
    path: '/v1/tasks/resolving',
    body: encode(models.TaskGuidRequest, { taskGuid: guidOf(index) }),
  }),
  delete_task: (index: number) => ({
    path: '/v1/tasks/delete',
    body: encode(models.TaskGuidRequest, { taskGuid: guidOf(index) }),
  }),
} satisfies Record<string, (index: number) => Request>;
