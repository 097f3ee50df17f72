import type { ActualLRP, DesiredLRP, Task } from '../messages/models.js';
import { OutsideFailure } from '../outside-failure.js';

/** One row that is to change: without `before` it is inserted, without `after` deleted. */
export type RowChange =
  | {
      readonly table: 'desired_lrps';
      readonly before: DesiredLRP | undefined;
      readonly after: DesiredLRP | undefined;
    }
  | { readonly table: 'actual_lrps'; readonly before: ActualLRP | undefined; readonly after: ActualLRP | undefined }
  | { readonly table: 'tasks'; readonly before: Task | undefined; readonly after: Task | undefined }
  | {
      readonly table: 'domains';
      readonly domain: string;
      /** Nanoseconds since 1970; undefined: the row goes. */
      readonly expiresAt: bigint | undefined;
    };

/** Gets every row of the database once, table by table. */
export interface RowVisitor {
  desiredLrp(row: DesiredLRP): void;
  actualLrp(row: ActualLRP): void;
  task(row: Task): void;
  /** @param expiresAt nanoseconds since 1970 */
  domain(domain: string, expiresAt: bigint): void;
}

/** What was asked to be written is not in the database, none of it. The image in memory is still true. */
export class NotWritten extends OutsideFailure {}

/** Nobody knows whether it was written: the connection broke during the commit. The image must be read anew. */
export class OutcomeUnknown extends OutsideFailure {}

/** The database takes a key for one that is there in other letters; none of the call is in the database. */
export class KeyTaken extends NotWritten {}

/** A table is gone: nothing is written any more, now or later, and the board ends. */
export class TableMissing extends OutsideFailure {}

/** Another board has taken the database: this one must not write any more, and ends. */
export class ReignLost extends OutsideFailure {}

/**
 * Where the rows of the board survive (docs/adr/0010-the-board-decides-by-index.md). One board at a time writes; what it
 * writes it has decided on its image in memory, so a write says what rows are from now on, and reads nothing.
 */
export interface Store {
  /** Connects. @throws when the database cannot be reached */
  start(): Promise<void>;
  /**
   * Makes the database this board's: migrations, then the encryption key, then the reign, from which on whoever wrote
   * before gets `ReignLost`. To be called with the lock held.
   *
   * @throws when the database is newer than this program, or its key is not among those of the configuration
   */
  take(): Promise<void>;
  /** Reads everything. Rows that cannot be read are reported and left alone. */
  load(visitor: RowVisitor): Promise<void>;
  /**
   * Writes all of it or nothing, durably when it resolves. Calls that come while others are being written go into one
   * transaction together, in the order in which they came.
   *
   * @throws NotWritten, OutcomeUnknown, TableMissing, ReignLost
   */
  write(changes: readonly RowChange[]): Promise<void>;
  /** Whether the tables are what this board has written, between two writes; false: somebody else changed them. */
  isUntouched(): Promise<boolean>;
  /** Writes what was asked for before, then lets go. Idempotent. */
  stop(): Promise<void>;
}
