import type { Database } from '../../database/database.js';
import type { KeyRing } from './encryption/key-ring.js';
import { Undecodable } from './encryption/key-ring.js';
import { actualLrpOf } from './rows/actual-lrps.js';
import { desiredLrpOf } from './rows/desired-lrps.js';
import { taskOf } from './rows/tasks.js';
import { firstPage, type PageOf, pageAfter } from './schema/pages.js';
import type { ActualLrpRow, BoardTables, DesiredLrpRow, DomainRow, RowTable, TaskRow } from './schema/tables.js';
import type { RowVisitor } from './store.js';
import { type Measures, measureOfRow } from './writing/measures.js';
import { actualLrpId, type CreationTimes } from './writing/row-write.js';
import type { Tally } from './writing/tally.js';

export interface LoadOptions {
  database: Database<BoardTables>;
  keys: KeyRing;
  visitor: RowVisitor;
  /** Filled, as is `times`. */
  tally: Tally;
  times: CreationTimes;
  /** A row that cannot be read is there. */
  onUnreadable(table: RowTable, id: string, error: Undecodable): void;
}

/** Small enough to be decoded while the next one comes, with rows of any size. */
const pageSize = 500;

/** Reads all rows once, page by page. */
export async function loadRows(options: LoadOptions): Promise<void> {
  const { keys, visitor, tally, times } = options;
  tally.reset();
  times.clear();
  await eachRow(options, 'domains', (row: DomainRow) => {
    tally.found('domains', measureOfRow.domains(row), row.domain);
    visitor.domain(row.domain, row.expire_time ?? 0n);
  });
  await eachRow(options, 'desired_lrps', (row: DesiredLrpRow) => {
    readOne(options, 'desired_lrps', row.process_guid, measureOfRow.desired_lrps(row), () => {
      const { desired, createdAt } = desiredLrpOf(row, keys);
      times.set(desired.processGuid, createdAt);
      visitor.desiredLrp(desired);
    });
  });
  await eachRow(options, 'actual_lrps', (row: ActualLrpRow) => {
    readOne(options, 'actual_lrps', actualLrpId(row), measureOfRow.actual_lrps(row), () => {
      visitor.actualLrp(actualLrpOf(row, keys));
    });
  });
  await eachRow(options, 'tasks', (row: TaskRow) => {
    readOne(options, 'tasks', row.guid, measureOfRow.tasks(row), () => visitor.task(taskOf(row, keys)));
  });
}

/** The next page is on its way while one is being read. */
async function eachRow<Table extends RowTable>(
  { database }: LoadOptions,
  table: Table,
  visit: (row: PageOf<Table>) => void,
): Promise<void> {
  let coming: Promise<PageOf<Table>[]> | undefined = firstPage(database, table, pageSize);
  while (coming) {
    const page: PageOf<Table>[] = await coming;
    const last = page.at(-1);
    coming = page.length === pageSize && last ? pageAfter(database, table, last, pageSize) : undefined;
    // Should reading throw, nobody waits for it.
    coming?.catch(() => {});
    for (const row of page) visit(row);
  }
}

function readOne(
  { tally, onUnreadable }: LoadOptions,
  table: RowTable,
  id: string,
  measures: Measures,
  read: () => void,
): void {
  try {
    read();
    tally.found(table, measures);
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error;
    tally.found(table, measures, id);
    onUnreadable(table, id, error);
  }
}
