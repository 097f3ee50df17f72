import type { ActualLRP, DesiredLRP, Task } from '../../messages/models.js';
import type { KeyRing } from '../encryption/key-ring.js';
import { actualLrpRow } from '../rows/actual-lrps.js';
import { desiredLrpRow } from '../rows/desired-lrps.js';
import { taskRow } from '../rows/tasks.js';
import type { ActualLrpRow, RowTable } from '../schema/tables.js';
import type { RowChange } from '../store.js';
import { type Measures, measureOf } from './measures.js';
import type { Values } from './statements.js';

/** One row on its way into the database. */
export interface RowWrite {
  readonly table: RowTable;
  /** Of the row within its table. */
  readonly id: string;
  readonly key: readonly unknown[];
  /** What it is from now on; absent: it goes. */
  readonly values: Values | undefined;
  /** What it added to the tally, where the change says so, and what it will. */
  readonly before: Measures | undefined;
  readonly after: Measures | undefined;
}

/** When desired LRPs were desired, ns, by process guid: it is in their rows, but not in the image. */
export type CreationTimes = Map<string, bigint>;

/** Encodes a change. */
export function rowWrite(change: RowChange, keys: KeyRing, times: CreationTimes, now: () => bigint): RowWrite {
  switch (change.table) {
    case 'desired_lrps':
      return desiredLrpWrite(change.before, change.after, keys, times, now);
    case 'actual_lrps':
      return actualLrpWrite(change.before, change.after, keys);
    case 'tasks':
      return taskWrite(change.before, change.after, keys);
    case 'domains':
      return domainWrite(change.domain, change.expiresAt);
  }
}

/** Names a row of `actual_lrps`, whose key has three parts. */
export function actualLrpId(row: Pick<ActualLrpRow, 'process_guid' | 'instance_index' | 'presence'>): string {
  return `${row.process_guid}/${row.instance_index}/${row.presence}`;
}

function desiredLrpWrite(
  before: DesiredLRP | undefined,
  after: DesiredLRP | undefined,
  keys: KeyRing,
  times: CreationTimes,
  now: () => bigint,
): RowWrite {
  const { processGuid } = eitherOf(before, after);
  const createdAt = (before && times.get(processGuid)) ?? now();
  if (after) times.set(processGuid, createdAt);
  else times.delete(processGuid);
  return {
    table: 'desired_lrps',
    id: processGuid,
    key: [processGuid],
    values: after && valuesOf(desiredLrpRow(after, createdAt, keys)),
    before: before && measureOf.desiredLrp(before),
    after: after && measureOf.desiredLrp(after),
  };
}

function actualLrpWrite(before: ActualLRP | undefined, after: ActualLRP | undefined, keys: KeyRing): RowWrite {
  const { actualLrpKey, presence } = eitherOf(before, after);
  const { processGuid, index } = actualLrpKey;
  return {
    table: 'actual_lrps',
    id: actualLrpId({ process_guid: processGuid, instance_index: index, presence }),
    key: [processGuid, index, presence],
    values: after && valuesOf(actualLrpRow(after, keys)),
    before: before && measureOf.actualLrp(before),
    after: after && measureOf.actualLrp(after),
  };
}

function taskWrite(before: Task | undefined, after: Task | undefined, keys: KeyRing): RowWrite {
  const { taskGuid } = eitherOf(before, after);
  return {
    table: 'tasks',
    id: taskGuid,
    key: [taskGuid],
    values: after && valuesOf(taskRow(after, keys)),
    before: before && measureOf.task(before),
    after: after && measureOf.task(after),
  };
}

function domainWrite(domain: string, expiresAt: bigint | undefined): RowWrite {
  return {
    table: 'domains',
    id: domain,
    key: [domain],
    values: expiresAt === undefined ? undefined : { domain, expire_time: expiresAt },
    before: undefined,
    after: expiresAt === undefined ? undefined : measureOf.domain(expiresAt),
  };
}

function eitherOf<T>(before: T | undefined, after: T | undefined): T {
  const row = after ?? before;
  if (row === undefined) throw new Error('a change has neither a row before nor one after');
  return row;
}

function valuesOf(row: object): Values {
  return row as Values;
}
