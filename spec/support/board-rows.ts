import {
  ActualLRP,
  ActualLRPKey,
  DesiredLRP,
  ModificationTag,
  Task,
  TaskState,
} from '../../lib/bbs/messages/models.js';
import type { RowChange, RowVisitor } from '../../lib/bbs/storage/store.js';

/** What a store gives when it is read, by the rows' names. */
export class RecordedRows implements RowVisitor {
  readonly desired = new Map<string, DesiredLRP>();
  readonly actual = new Map<string, ActualLRP>();
  readonly tasks = new Map<string, Task>();
  readonly domains = new Map<string, bigint>();

  desiredLrp(row: DesiredLRP): void {
    this.desired.set(row.processGuid, row);
  }

  actualLrp(row: ActualLRP): void {
    const { processGuid, index } = row.actualLrpKey;
    this.actual.set(`${processGuid}/${index}/${row.presence}`, row);
  }

  task(row: Task): void {
    this.tasks.set(row.taskGuid, row);
  }

  domain(domain: string, expiresAt: bigint): void {
    this.domains.set(domain, expiresAt);
  }

  /** How many rows there are of each kind. */
  get counts(): { desired: number; actual: number; tasks: number; domains: number } {
    const { desired, actual, tasks, domains } = this;
    return { desired: desired.size, actual: actual.size, tasks: tasks.size, domains: domains.size };
  }
}

/** A desired LRP as it is read back: what is absent is empty there. */
export function desiredLrp(processGuid: string, fields: Partial<DesiredLRP> = {}): DesiredLRP {
  const modificationTag = ModificationTag.create({ epoch: 'e' });
  return DesiredLRP.create({
    processGuid,
    domain: 'd',
    rootFs: 'preloaded:x',
    instances: 1,
    modificationTag,
    ...fields,
  });
}

export function actualLrp(processGuid: string, index = 0, fields: Partial<ActualLRP> = {}): ActualLRP {
  return ActualLRP.create({
    actualLrpKey: ActualLRPKey.create({ processGuid, index, domain: 'd' }),
    state: 'UNCLAIMED',
    since: 1_700_000_000_000_000_001n,
    modificationTag: { epoch: 'e', index: 0 },
    routable: false,
    ...fields,
  });
}

export function task(taskGuid: string, fields: Partial<Task> = {}): Task {
  const times = { createdAt: 1_700_000_000_000_000_001n, updatedAt: 1_700_000_000_000_000_002n };
  return Task.create({
    taskGuid,
    domain: 'd',
    state: TaskState.Pending,
    taskDefinition: undefined,
    ...times,
    ...fields,
  });
}

export const inserts = {
  desired: (after: DesiredLRP): RowChange => ({ table: 'desired_lrps', before: undefined, after }),
  actual: (after: ActualLRP): RowChange => ({ table: 'actual_lrps', before: undefined, after }),
  task: (after: Task): RowChange => ({ table: 'tasks', before: undefined, after }),
};
