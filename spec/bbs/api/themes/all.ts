import { startBbs } from '../../../support/bbs.js';
import { Caller } from '../../../support/board/caller.js';
import type { DatabaseConfig } from '../../../support/board/databases.js';
import { itKeepsActualLrps } from './actual-lrps.js';
import { itConverges } from './convergence.js';
import { itKeepsDesiredLrps } from './desired-lrps.js';
import { itKeepsDomains } from './domains.js';
import { itEvacuates } from './evacuation.js';
import { itTellsEvents } from './events.js';
import { itKeepsTasks } from './tasks.js';

/**
 * The checks of docs/protocol/bbs.md §23 that may depend on the database, on one board.
 *
 * @param database an empty one; absent: SQLite
 */
export function itServesTheApi(database?: () => Promise<DatabaseConfig>): void {
  let caller: Caller;
  const current = () => caller;

  before(async () => {
    const config = await database?.();
    caller = new Caller(await startBbs(config && { database: config }));
    await caller.board.addCell('c1');
    await caller.board.addCell('c2');
  });

  afterEach(() => caller.clear());

  after(() => caller?.board.stop());

  itKeepsDomains(current);
  itKeepsDesiredLrps(current);
  itKeepsActualLrps(current);
  itEvacuates(current);
  itKeepsTasks(current);
  itConverges(current);
  itTellsEvents(current);
}
