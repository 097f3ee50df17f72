import type { RowVisitor } from '../storage/store.js';
import { ActualRows } from './actual-rows.js';
import { DesiredRows } from './desired-rows.js';
import { TaskRows } from './task-rows.js';

/** The board's rows in memory, what is in the database and nothing else. Everything is read from here. */
export class Image implements RowVisitor {
  readonly actual = new ActualRows();
  readonly desired = new DesiredRows();
  readonly tasks = new TaskRows();
  /** When each domain expires, nanoseconds since 1970. */
  readonly domains = new Map<string, bigint>();

  desiredLrp: RowVisitor['desiredLrp'] = (row) => this.desired.set(row);
  actualLrp: RowVisitor['actualLrp'] = (row) => this.actual.add(row);
  task: RowVisitor['task'] = (row) => this.tasks.set(row);
  domain: RowVisitor['domain'] = (domain, expiresAt) => void this.domains.set(domain, expiresAt);
}
