import type { Database } from '../../../database/database.js';
import type { Logger } from '../../../logging/logger.js';
import { DesiredLRPRunInfo } from '../../messages/models.js';
import { openMessage, sealJson } from '../encryption/envelope.js';
import { type KeyRing, Undecodable } from '../encryption/key-ring.js';
import { printMetricTagValues } from '../rows/json-columns.js';
import type { BoardTables } from './tables.js';

const pageSize = 200;

/**
 * Copies the metric tags of desired LRPs from the run info into their new column. Rows that cannot be read keep NULL
 * there, which is read as what the run info says.
 */
export async function moveMetricTags(database: Database<BoardTables>, keys: KeyRing, logger: Logger): Promise<void> {
  const { kysely } = database;
  let last = '';
  for (;;) {
    const page = await kysely
      .selectFrom('desired_lrps')
      .select(['process_guid', 'run_info'])
      .where('process_guid', '>', last)
      .orderBy('process_guid')
      .limit(pageSize)
      .execute();
    if (page.length === 0) return;
    const updates = page.flatMap(({ process_guid, run_info }) => {
      const metric_tags = columnOf(process_guid, run_info, keys, logger);
      if (metric_tags === undefined) return [];
      return [
        kysely.updateTable('desired_lrps').set({ metric_tags }).where('process_guid', '=', process_guid).compile(),
      ];
    });
    await database.transact(updates);
    last = page.at(-1)!.process_guid;
  }
}

function columnOf(guid: string, runInfo: string, keys: KeyRing, logger: Logger): string | undefined {
  try {
    return sealJson(keys, printMetricTagValues(openMessage(keys, DesiredLRPRunInfo, runInfo).metricTags));
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error;
    logger.error('a row cannot be read', { table: 'desired_lrps', key: guid, error: error.message });
    return undefined;
  }
}
