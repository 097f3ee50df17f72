import { expect } from 'chai';
import type { BbsClient } from '../../lib/bbs/client/bbs-client.js';
import { wrap } from '../../lib/bbs/messages/inner-action.js';
import {
  type ActualLRP,
  ActualLRPInstanceKey,
  ActualLRPKey,
  ActualLRPNetInfo,
  DesiredLRP,
  DesiredLRPUpdate,
  MetricTagValue,
  ProtoRoutes,
  RunAction,
  type Task,
  TaskDefinition,
  TaskState,
} from '../../lib/bbs/messages/models.js';

const cellId = 'cell-1';
const action = wrap({ kind: 'run', action: RunAction.create({ path: 'ls', user: 'vcap' }) });

/** A desired LRP that passes validation. */
export function sampleDesiredLrp(processGuid: string, fields: Partial<DesiredLRP> = {}): DesiredLRP {
  return DesiredLRP.create({
    processGuid,
    domain: 'load',
    rootFs: 'preloaded:cflinuxfs4',
    instances: 1,
    memoryMb: 128,
    diskMb: 256,
    action,
    routes: ProtoRoutes.create({ routes: new Map([['cf-router', Buffer.from('[{"hostnames":["a"],"port":8080}]')]]) }),
    metricTags: new Map([['source_id', MetricTagValue.create({ static: processGuid })]]),
    ...fields,
  });
}

/** A task definition that passes validation. */
export function sampleTaskDefinition(): TaskDefinition {
  return TaskDefinition.create({ rootFs: 'preloaded:cflinuxfs4', action, memoryMb: 1, diskMb: 1 });
}

/** An actual LRP, as far as clients of the load can know it. */
interface Row {
  /** The call that has made it; not on the board. */
  made: number;
  state: string;
  tag: number;
  instanceGuid: string;
  crashCount: number;
}

/** What is on the board under one guid. */
interface Entry {
  desired: { made: number; annotation: string; instances: number; tag: number } | undefined;
  rows: Record<number, Row>;
  task: { state: TaskState; result: string } | undefined;
}

/** One call, and what it makes of an entry. */
interface Step {
  name: string;
  call(client: BbsClient): Promise<unknown>;
  after: Entry;
  /** Rows that go one by one, after the rest: without an acknowledgement some may still be there. */
  goingRows?: number[];
}

const empty: Entry = { desired: undefined, rows: {}, task: undefined };
const isOccupied = ({ state }: Row) => state === 'CLAIMED' || state === 'RUNNING';

/** One client, with one guid of an LRP and one of a task after the other; nobody else changes those. */
class Worker {
  /** By guid, as acknowledged. */
  readonly entries = new Map<string, Entry>();
  /** Calls that were not acknowledged, by guid: their entries are as before, or as after. */
  readonly doubts = new Map<string, Step>();
  #count = 0;
  #current = { lrp: '', task: '' };

  constructor(
    private readonly name: string,
    private readonly domain: string,
  ) {}

  /** @returns the error of a call that was not acknowledged */
  async step(client: BbsClient): Promise<unknown> {
    this.#count += 1;
    const kind = this.#count % 3 === 0 ? 'task' : 'lrp';
    const guid = this.#guidFor(kind);
    const step = kind === 'task' ? this.#taskStep(guid) : this.#lrpStep(guid);
    try {
      await step.call(client);
    } catch (error) {
      this.doubts.set(guid, step);
      return Object.assign(error as Error, { step: `${step.name} of ${guid}` });
    }
    this.entries.set(guid, step.after);
    return undefined;
  }

  /** Of what is not in doubt; a part of what was made stays for good. */
  #guidFor(kind: 'lrp' | 'task'): string {
    const guid = this.#current[kind];
    const isOver = this.entries.get(guid) === undefined || this.#count % 17 === 0 || this.doubts.has(guid);
    if (!isOver && !(this.#isGone(guid) && this.#count % 2 === 0)) return guid;
    const next = `${this.name}-${kind}-${this.#count}`;
    this.entries.set(next, empty);
    this.#current[kind] = next;
    return next;
  }

  #isGone(guid: string): boolean {
    const { desired, rows, task } = this.entries.get(guid)!;
    return !desired && !task && Object.keys(rows).length === 0;
  }

  #lrpStep(guid: string): Step {
    const entry = this.entries.get(guid)!;
    if (!entry.desired) {
      const [left] = Object.keys(entry.rows).map(Number);
      return left === undefined || this.#count % 2 === 0 ? this.#desire(guid, entry) : this.#remove(guid, entry, left);
    }
    const indices = Object.keys(entry.rows).map(Number);
    const index = indices[this.#count % Math.max(1, indices.length)];
    const choice = Math.random();
    if (index === undefined || choice < 0.2) return this.#update(guid, entry);
    if (choice < 0.25) return this.#removeDesired(guid, entry);
    const row = entry.rows[index]!;
    if (row.state === 'CRASHED') return this.#update(guid, entry);
    if (row.state === 'UNCLAIMED' && choice < 0.6) return this.#claim(guid, entry, index);
    return isOccupied(row) && choice > 0.7 ? this.#crash(guid, entry, index) : this.#start(guid, entry, index);
  }

  #desire(processGuid: string, entry: Entry): Step {
    const instances = 1 + (this.#count % 3);
    const annotation = `desired ${this.#count}`;
    return {
      name: 'desire',
      call: (client) =>
        client.call('DesireDesiredLRP', {
          desiredLrp: sampleDesiredLrp(processGuid, { domain: this.domain, instances, annotation }),
        }),
      after: {
        ...entry,
        desired: { made: this.#count, annotation, instances, tag: 0 },
        rows: filled(entry.rows, instances, this.#count),
      },
    };
  }

  #update(processGuid: string, entry: Entry): Step {
    const annotation = `updated ${this.#count}`;
    const instances = this.#count % 2 === 0 ? entry.desired!.instances : 1 + (this.#count % 4);
    const update = DesiredLRPUpdate.create({ annotation, instances });
    const rows = filled(entry.rows, instances, this.#count);
    const isFewer = instances < entry.desired!.instances;
    // What an earlier call has left there is for convergence.
    const goingRows = isFewer ? idle(rows).filter((index) => index >= instances) : [];
    return {
      name: 'update',
      call: (client) => client.call('UpdateDesireLRP', { processGuid, update }),
      after: {
        ...entry,
        desired: { ...entry.desired!, annotation, instances, tag: entry.desired!.tag + 1 },
        rows: without(rows, goingRows),
      },
      goingRows,
    };
  }

  #removeDesired(processGuid: string, entry: Entry): Step {
    const goingRows = idle(entry.rows);
    return {
      name: 'remove',
      call: (client) => client.call('RemoveDesiredLRP', { processGuid }),
      after: { ...entry, desired: undefined, rows: without(entry.rows, goingRows) },
      goingRows,
    };
  }

  #claim(processGuid: string, entry: Entry, index: number): Step {
    const instanceGuid = `i-${this.#count}`;
    const actualLrpInstanceKey = ActualLRPInstanceKey.create({ instanceGuid, cellId });
    return {
      name: 'claim',
      call: (client) => client.call('ClaimActualLRP', { processGuid, index, actualLrpInstanceKey }),
      after: changed(entry, index, { state: 'CLAIMED', instanceGuid }),
    };
  }

  #start(processGuid: string, entry: Entry, index: number): Step {
    const row = entry.rows[index]!;
    const instanceGuid = isOccupied(row) ? row.instanceGuid : `i-${this.#count}`;
    // Each start says something new.
    const actualLrpNetInfo = ActualLRPNetInfo.create({ address: `10.0.0.${this.#count}` });
    return {
      name: 'start',
      call: (client) =>
        client.call('StartActualLRP', {
          actualLrpKey: ActualLRPKey.create({ processGuid, index, domain: this.domain }),
          actualLrpInstanceKey: ActualLRPInstanceKey.create({ instanceGuid, cellId }),
          actualLrpNetInfo,
        }),
      after: changed(entry, index, { state: 'RUNNING', instanceGuid }),
    };
  }

  #crash(processGuid: string, entry: Entry, index: number): Step {
    const { instanceGuid, crashCount } = entry.rows[index]!;
    const state = crashCount + 1 < 3 ? 'UNCLAIMED' : 'CRASHED';
    return {
      name: 'crash',
      call: (client) =>
        client.call('CrashActualLRP', {
          actualLrpKey: ActualLRPKey.create({ processGuid, index, domain: this.domain }),
          actualLrpInstanceKey: ActualLRPInstanceKey.create({ instanceGuid, cellId }),
          errorMessage: 'it fell',
        }),
      after: changed(entry, index, { state, instanceGuid: '', crashCount: crashCount + 1 }),
    };
  }

  #remove(processGuid: string, entry: Entry, index: number): Step {
    return {
      name: 'remove instance',
      call: (client) => client.call('RemoveActualLRP', { processGuid, index }),
      after: { ...entry, rows: without(entry.rows, [index]) },
    };
  }

  #taskStep(taskGuid: string): Step {
    const entry = this.entries.get(taskGuid)!;
    const result = `result of ${this.#count}`;
    const to = (task: Entry['task']): Entry => ({ ...entry, task });
    switch (entry.task?.state) {
      case undefined:
        return {
          name: 'desire task',
          call: (client) =>
            client.call('DesireTask', { taskGuid, domain: this.domain, taskDefinition: sampleTaskDefinition() }),
          after: to({ state: TaskState.Pending, result: '' }),
        };
      case TaskState.Pending:
        return {
          name: 'start task',
          call: (client) => client.call('StartTask', { taskGuid, cellId }),
          after: to({ state: TaskState.Running, result: '' }),
        };
      case TaskState.Running:
        return {
          name: 'complete task',
          call: (client) => client.call('CompleteTask', { taskGuid, cellId, result }),
          after: to({ state: TaskState.Completed, result }),
        };
      case TaskState.Completed:
        return {
          name: 'resolve task',
          call: (client) => client.call('ResolvingTask', { taskGuid }),
          after: to({ ...entry.task, state: TaskState.Resolving }),
        };
      default:
        return {
          name: 'delete task',
          call: (client) => client.call('DeleteTask', { taskGuid }),
          after: to(undefined),
        };
    }
  }
}

/**
 * Several clients that desire, update, remove, claim, start and crash, and that know from the answers what must be on
 * the board. Nobody else may change what is theirs, and no convergence may run.
 */
export class BoardLoad {
  readonly #workers: Worker[];
  /** By the row's place and the call that has made it. */
  readonly #epochs = new Map<string, string>();
  acknowledged = 0;
  unacknowledged = 0;

  /** @param name of its domain, which must be its own */
  constructor(
    clients: number,
    private readonly name = 'load',
  ) {
    this.#workers = Array.from({ length: clients }, (_, index) => new Worker(`${name}-${index}`, name));
  }

  /** Each client works until it is told to stop; one whose call is not acknowledged, too, unless it `goesOn`. */
  async run(
    client: BbsClient,
    { isOver, onFailure = () => 'stop' }: { isOver(): boolean; onFailure?(error: unknown): 'stop' | 'go on' },
  ): Promise<void> {
    await Promise.all(
      this.#workers.map(async (worker) => {
        while (!isOver()) {
          const error = await worker.step(client);
          if (error === undefined) this.acknowledged += 1;
          else {
            this.unacknowledged += 1;
            if (onFailure(error) === 'stop') return;
          }
        }
      }),
    );
  }

  /** Each client works until so many calls were acknowledged, together. @throws what a call failed with */
  async runFor(client: BbsClient, calls: number): Promise<void> {
    const end = this.acknowledged + calls;
    await this.run(client, {
      isOver: () => this.acknowledged >= end,
      onFailure: (error) => {
        throw error;
      },
    });
  }

  /**
   * Compares what the board has with what was acknowledged. What was in doubt is settled by it.
   *
   * @throws naming the guid that differs
   */
  async settle(client: BbsClient): Promise<void> {
    const found = await foundEntries(client, this.name);
    for (const { entries, doubts } of this.#workers) {
      for (const [guid, entry] of entries) {
        const settled = settle(guid, found.entries.get(guid) ?? empty, entry, doubts.get(guid));
        this.#compareEpochs(guid, settled, found.epochs);
        entries.set(guid, settled);
        found.entries.delete(guid);
      }
      doubts.clear();
    }
    expect([...found.entries.keys()], 'what nobody has made').to.deep.equal([]);
  }

  /** What was not made anew has the epoch that it had. */
  #compareEpochs(guid: string, { desired, rows }: Entry, found: ReadonlyMap<string, string>): void {
    const places = [
      [guid, desired] as const,
      ...Object.entries(rows).map(([at, row]) => [`${guid}/${at}`, row] as const),
    ];
    for (const [place, there] of places) {
      if (!there) continue;
      const epoch = found.get(place);
      expect(epoch, `epoch of ${place}`).to.match(/./);
      const name = `${place} of ${there.made}`;
      expect(epoch, `epoch of ${name}`).to.equal(this.#epochs.get(name) ?? epoch);
      this.#epochs.set(name, epoch!);
    }
  }
}

/** @returns what is there. @throws when that is neither what was acknowledged nor what a call in doubt makes of it */
function settle(guid: string, there: Entry, entry: Entry, doubt: Step | undefined): Entry {
  const asBefore = withOrigin(there, entry);
  if (!doubt || isEqual(asBefore, entry)) {
    expect(asBefore, guid).to.deep.equal(entry);
    return asBefore;
  }
  const going = (doubt.goingRows ?? []).filter((index) => isEqual(asBefore.rows[index], entry.rows[index]));
  const asAfter = withOrigin(there, doubt.after);
  const what = `${guid} after "${doubt.name}", which was not acknowledged; it was ${JSON.stringify(entry)}`;
  expect({ ...asAfter, rows: without(asAfter.rows, going) }, what).to.deep.equal(doubt.after);
  for (const index of going) asAfter.rows[index] = entry.rows[index]!;
  return asAfter;
}

/** The board does not say which call has made what. */
function withOrigin({ desired, rows, task }: Entry, expected: Entry): Entry {
  return {
    desired: desired && { ...desired, made: expected.desired?.made ?? 0 },
    rows: Object.fromEntries(
      Object.entries(rows).map(([index, row]) => [index, { ...row, made: expected.rows[Number(index)]?.made ?? 0 }]),
    ),
    task,
  };
}

async function foundEntries(client: BbsClient, domain: string) {
  const [{ desiredLrps }, { actualLrps }, { tasks }] = await Promise.all([
    client.call('DesiredLRPs', { domain }),
    client.call('ActualLRPs', { domain }),
    client.call('Tasks', { domain }),
  ]);
  const entries = new Map<string, Entry>();
  const epochs = new Map<string, string>();
  const entryOf = (guid: string): Entry => {
    const entry = entries.get(guid) ?? { ...empty, rows: {} };
    entries.set(guid, entry);
    return entry;
  };
  for (const { processGuid, annotation, instances, modificationTag } of desiredLrps) {
    const { epoch, index: tag } = modificationTag!;
    entryOf(processGuid).desired = { made: 0, annotation, instances, tag };
    epochs.set(processGuid, epoch);
  }
  for (const actual of actualLrps) {
    const { processGuid, index } = actual.actualLrpKey;
    entryOf(processGuid).rows[index] = rowOf(actual);
    epochs.set(`${processGuid}/${index}`, actual.modificationTag.epoch);
  }
  for (const task of tasks) entryOf(task.taskGuid).task = taskOf(task);
  return { entries, epochs };
}

function rowOf({ state, modificationTag, actualLrpInstanceKey, crashCount }: ActualLRP): Row {
  return { made: 0, state, tag: modificationTag.index, instanceGuid: actualLrpInstanceKey.instanceGuid, crashCount };
}

function taskOf({ state, result }: Task): Entry['task'] {
  return { state, result };
}

function filled(rows: Entry['rows'], instances: number, made: number): Entry['rows'] {
  const fresh = { made, state: 'UNCLAIMED', tag: 0, instanceGuid: '', crashCount: 0 };
  const missing = Array.from({ length: instances }, (_, index) => index).filter((index) => !rows[index]);
  return { ...rows, ...Object.fromEntries(missing.map((index) => [index, fresh])) };
}

function idle(rows: Entry['rows']): number[] {
  return Object.keys(rows)
    .map(Number)
    .filter((index) => !isOccupied(rows[index]!));
}

function without(rows: Entry['rows'], gone: readonly number[]): Entry['rows'] {
  return Object.fromEntries(Object.entries(rows).filter(([index]) => !gone.includes(Number(index))));
}

function changed(entry: Entry, index: number, fields: Partial<Row>): Entry {
  const row = entry.rows[index]!;
  return { ...entry, rows: { ...entry.rows, [index]: { ...row, tag: row.tag + 1, ...fields } } };
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, part]) => [key, sorted(part)]),
  );
}
