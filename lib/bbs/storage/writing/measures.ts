import type { ActualLRP, DesiredLRP, Task } from '../../messages/models.js';
import type { ActualLrpRow, DesiredLrpRow, DomainRow, RowTable, TaskRow } from '../schema/tables.js';

/**
 * Counts and sums over a table. Whatever another board writes changes one of them: rows come or go, or a modification
 * tag, a state or a time moves on.
 */
export type Measures = readonly number[];

/** Sums of nanoseconds would be too large for integers. */
export const modulus = 1_000_003;
const bigModulus = BigInt(modulus);
export const states = ['UNCLAIMED', 'CLAIMED', 'RUNNING', 'CRASHED'];

export const noMeasures: Readonly<Record<RowTable, Measures>> = {
  domains: [0, 0],
  desired_lrps: [0, 0, 0],
  actual_lrps: [0, 0, 0, 0, 0],
  tasks: [0, 0, 0, 0],
};

/** What one row adds. */
export const measureOf = {
  domain: (expiresAt: bigint): Measures => [1, reduced(expiresAt)],
  desiredLrp: (row: DesiredLRP): Measures => [1, row.modificationTag?.index ?? 0, row.instances],
  actualLrp: ({ modificationTag, since, presence, state }: ActualLRP): Measures => [
    1,
    modificationTag.index,
    reduced(since),
    presence,
    numberOf(state),
  ],
  task: ({ state, updatedAt, rejectionCount }: Task): Measures => [1, state, reduced(updatedAt), rejectionCount],
};

/** The same for a row as it stands there, whether or not it can be read. */
export const measureOfRow = {
  domains: (row: DomainRow): Measures => [1, reduced(row.expire_time)],
  desired_lrps: (row: DesiredLrpRow): Measures => [1, row.modification_tag_index ?? 0, row.instances],
  actual_lrps: (row: ActualLrpRow): Measures => [
    1,
    row.modification_tag_index ?? 0,
    reduced(row.since),
    row.presence,
    numberOf(row.state),
  ],
  tasks: (row: TaskRow): Measures => [1, row.state ?? 0, reduced(row.updated_at), row.rejection_count],
};

function reduced(nanoseconds: bigint | null): number {
  return nanoseconds === null ? 0 : Number(nanoseconds % bigModulus);
}

function numberOf(state: string): number {
  return states.indexOf(state) + 1;
}
