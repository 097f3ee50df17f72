import { ApplicationError } from '../../../lib/bbs/client/errors.js';
import { wrap } from '../../../lib/bbs/messages/inner-action.js';
import {
  type ActualLRP,
  ActualLRPKey,
  ActualLRPNetInfo,
  ActualLRPPresence,
  type ActualLRPsResponse,
  CrashActualLRPRequest,
  DesiredLRP,
  DesiredLRPUpdate,
  ErrorType,
  type EvacuationResponse,
  MetricTagValue,
  PortMapping,
  RunAction,
  StartActualLRPRequest,
  type Task,
  TaskDefinition,
  TaskState,
} from '../../../lib/bbs/messages/models.js';
import type { PeerRequest, RunningBbs } from '../bbs.js';
import { eventually } from '../eventually.js';

/** An instance and its cell, as `i/c1`. */
export type Instance = `${string}/${string}`;

export const netInfo = ActualLRPNetInfo.create({
  address: '10.0.0.5',
  ports: [PortMapping.create({ containerPort: 8080, hostPort: 61_000 })],
});

export const domain = 'd';
/** Of what is called only so that it is seen to be over. */
const fencePrefix = 'fence-';

export const runLs = () => wrap({ kind: 'run', action: RunAction.create({ path: 'ls', user: 'vcap' }) });

/** A desired LRP that is valid. */
export function desired(processGuid: string, fields: Partial<DesiredLRP> = {}): DesiredLRP {
  return DesiredLRP.create({
    processGuid,
    domain,
    rootFs: 'preloaded:cflinuxfs4',
    instances: 1,
    memoryMb: 128,
    diskMb: 256,
    action: runLs(),
    metricTags: new Map([['source_id', MetricTagValue.create({ static: processGuid })]]),
    ...fields,
  });
}

export function definition(fields: Partial<TaskDefinition> = {}): TaskDefinition {
  return TaskDefinition.create({ rootFs: 'preloaded:cflinuxfs4', memoryMb: 1, diskMb: 2, action: runLs(), ...fields });
}

export function instanceKey(instance: Instance): { instanceGuid: string; cellId: string } {
  const [instanceGuid = '', cellId = ''] = instance.split('/');
  return { instanceGuid, cellId };
}

/** The error that a call is refused with, as type and text; fails when it is not. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ApplicationError)) throw new Error('the call was not refused', { cause: error });
  const [type] = Object.entries(ErrorType).find(([, value]) => value === error.type) ?? [String(error.type)];
  return `${type}: ${error.message}`;
}

/** What a rep is told of a container whose evacuation is refused. */
export async function refusedKeep(call: Promise<EvacuationResponse>): Promise<boolean | undefined> {
  return call.then(
    () => undefined,
    (error: ApplicationError) => (error.response as EvacuationResponse).keepContainer,
  );
}

/** The row in short: presence unless it is ordinary, state, instance. */
export function brief({ presence, state, actualLrpInstanceKey }: ActualLRP): string {
  const { instanceGuid, cellId } = actualLrpInstanceKey;
  const names = { [ActualLRPPresence.EVACUATING]: 'evacuating ', [ActualLRPPresence.SUSPECT]: 'suspect ' };
  return `${names[presence as keyof typeof names] ?? ''}${state}${instanceGuid === '' ? '' : ` ${instanceGuid}/${cellId}`}`;
}

/** What reps, a Cloud Controller and specs say to a board. */
export class Caller {
  readonly call: RunningBbs['client']['call'] = (...args) => this.board.client.call(...args);
  #fences = 0;

  constructor(readonly board: RunningBbs) {}

  desire(processGuid: string, fields: Partial<DesiredLRP> = {}, requestId = '') {
    return this.call('DesireDesiredLRP', { desiredLrp: desired(processGuid, fields) }, { requestId });
  }

  update(processGuid: string, update: Partial<DesiredLRPUpdate>) {
    return this.call('UpdateDesireLRP', { processGuid, update: DesiredLRPUpdate.create(update) });
  }

  removeDesired(processGuid: string) {
    return this.call('RemoveDesiredLRP', { processGuid });
  }

  async desired(processGuid: string): Promise<DesiredLRP> {
    return (await this.call('DesiredLRPByProcessGuid', { processGuid })).desiredLrp!;
  }

  /** In the order of indices, then of presences. */
  async rows(processGuid: string): Promise<ActualLRP[]> {
    const { actualLrps }: ActualLRPsResponse = await this.call('ActualLRPs', { processGuid });
    const order = ({ actualLrpKey, presence }: ActualLRP) => actualLrpKey.index * 3 + presence;
    return [...actualLrps].sort((a, b) => order(a) - order(b));
  }

  async row(processGuid: string, index = 0): Promise<ActualLRP> {
    const rows = await this.rows(processGuid);
    return rows.find((row) => row.actualLrpKey.index === index && row.presence === ActualLRPPresence.ORDINARY)!;
  }

  async brief(processGuid: string): Promise<string[]> {
    return (await this.rows(processGuid)).map(brief);
  }

  claim(processGuid: string, index: number, instance: Instance) {
    return this.call('ClaimActualLRP', { processGuid, index, actualLrpInstanceKey: instanceKey(instance) });
  }

  start(processGuid: string, index: number, instance: Instance, fields: Partial<StartActualLRPRequest> = {}) {
    return this.call('StartActualLRP', this.running(processGuid, index, instance, fields));
  }

  evacuateRunning(processGuid: string, index: number, instance: Instance, fields: Partial<StartActualLRPRequest> = {}) {
    return this.call('EvacuateRunningActualLRP', this.running(processGuid, index, instance, fields));
  }

  running(processGuid: string, index: number, instance: Instance, fields: Partial<StartActualLRPRequest> = {}) {
    const actualLrpNetInfo = netInfo;
    return StartActualLRPRequest.create({
      ...this.instance(processGuid, index, instance),
      ...{ actualLrpNetInfo, metricTags: new Map([['source_id', processGuid]]), routable: true, ...fields },
    });
  }

  crash(processGuid: string, index: number, instance: Instance, errorMessage = 'boom') {
    const request = { ...this.instance(processGuid, index, instance), errorMessage };
    return this.call('CrashActualLRP', CrashActualLRPRequest.create(request));
  }

  /** Key and instance key, as many requests have them. */
  instance(processGuid: string, index: number, instance: Instance) {
    return { actualLrpKey: this.key(processGuid, index), actualLrpInstanceKey: instanceKey(instance) };
  }

  key(processGuid: string, index = 0): ActualLRPKey {
    return ActualLRPKey.create({ processGuid, index, domain });
  }

  desireTask(taskGuid: string, fields: Partial<TaskDefinition> = {}, requestId = '') {
    return this.call('DesireTask', { taskGuid, domain, taskDefinition: definition(fields) }, { requestId });
  }

  async task(taskGuid: string): Promise<Task> {
    return (await this.call('TaskByGuid', { taskGuid })).task!;
  }

  async hasTask(taskGuid: string): Promise<boolean> {
    return (await this.call('Tasks')).tasks.some((task) => task.taskGuid === taskGuid);
  }

  /** Waits until the auctioneer was asked all that has been due by now. @returns the requests since the last time */
  async auctions(): Promise<PeerRequest[]> {
    const guid = this.#nextFence();
    await this.desire(guid);
    const requests = await this.#untilAsked('/v1/lrps', ({ process_guid }) => process_guid === guid);
    await this.removeDesired(guid);
    return requests;
  }

  /** The same, as guid and index of each instance, sorted. */
  async auctioned(): Promise<string[]> {
    const elements = (await this.auctions()).flatMap(
      ({ body }) => body as { process_guid: string; indices: number[] }[],
    );
    return elements.flatMap(({ process_guid, indices }) => indices.map((index) => `${process_guid}/${index}`)).sort();
  }

  /** Guids of tasks, the same way. */
  async auctionedTasks(): Promise<string[]> {
    const guid = this.#nextFence();
    await this.desireTask(guid);
    const requests = await this.#untilAsked('/v1/tasks', ({ TaskGuid }) => TaskGuid === guid);
    await this.#removeTask(await this.task(guid));
    return requests.flatMap(({ body }) => (body as { TaskGuid: string }[]).map(({ TaskGuid }) => TaskGuid)).sort();
  }

  /** Everything goes but domains, and what was asked is forgotten. */
  async clear(): Promise<void> {
    const [{ desiredLrps }, { tasks }] = await Promise.all([this.call('DesiredLRPs'), this.call('Tasks')]);
    await Promise.all([
      ...desiredLrps.map(({ processGuid }) => this.removeDesired(processGuid)),
      ...tasks.map((task) => this.#removeTask(task)),
    ]);
    const { actualLrps } = await this.call('ActualLRPs');
    await Promise.all(actualLrps.map((row) => this.#removeRow(row)));
    this.board.auctioneer.requests.length = 0;
    this.board.rep.requests.length = 0;
  }

  #nextFence(): string {
    this.#fences += 1;
    return `${fencePrefix}${this.#fences}`;
  }

  async #untilAsked(path: string, isFence: (element: Record<string, unknown>) => boolean): Promise<PeerRequest[]> {
    const { requests } = this.board.auctioneer;
    const elements = ({ body }: PeerRequest) => body as Record<string, unknown>[];
    await eventually(() => requests.some((request) => elements(request).some(isFence)) || undefined, {
      what: 'a fence',
    });
    const asked = requests.splice(0).filter((request) => request.path === path);
    const isReal = (element: Record<string, unknown>) => !isFence(element);
    return asked
      .map((request) => ({ ...request, body: elements(request).filter(isReal) }))
      .filter((request) => request.body.length > 0);
  }

  async #removeTask({ taskGuid, state }: Task): Promise<void> {
    if (state === TaskState.Pending || state === TaskState.Running) await this.call('CancelTask', { taskGuid });
    if (state !== TaskState.Resolving) await this.call('ResolvingTask', { taskGuid });
    await this.call('DeleteTask', { taskGuid });
  }

  async #removeRow({ actualLrpKey, actualLrpInstanceKey, presence }: ActualLRP): Promise<void> {
    const { processGuid, index } = actualLrpKey;
    const instance = { actualLrpKey, actualLrpInstanceKey };
    switch (presence) {
      case ActualLRPPresence.EVACUATING:
        await this.call('RemoveEvacuatingActualLRP', instance);
        break;
      case ActualLRPPresence.SUSPECT:
        await this.call('CrashActualLRP', instance);
        break;
      default:
        await this.call('RemoveActualLRP', { processGuid, index });
    }
  }
}

export function isFence(guid: string | undefined): boolean {
  return guid?.startsWith(fencePrefix) === true;
}
