import { expect } from 'chai';
import pg from 'pg';
import { Bbs } from '../../../../lib/bbs/bbs.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { completeBbsConfig, startBbs } from '../../../support/bbs.js';
import type { DatabaseConfig } from '../../../support/board/databases.js';
import { exchange } from '../../../support/board/raw-exchange.js';
import { eventually } from '../../../support/eventually.js';
import { takePorts } from '../../../support/host-share.js';

/**
 * docs/protocol/bbs.md §16
 *
 * @param makeDatabase of PostgreSQL, where a migration can be held up
 */
export function itWaitsForMigrations(makeDatabase: () => Promise<DatabaseConfig>): void {
  it('answers 503 to everything until its database is as it should be', async () => {
    const database = await makeDatabase();
    await (await startBbs({ database })).stop();
    const holder = new pg.Client({ connectionString: database.database_connection_string });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE configurations IN ACCESS EXCLUSIVE MODE');
    const { start: port } = takePorts(1);
    const config = completeBbsConfig({ ...database, listen_address: `127.0.0.1:${port}` });
    const board = new Bbs({ config, onFatal: () => {}, logger: silentLogger });
    await board.start();
    try {
      const status = async (url: string) => (await exchange(url, { method: 'POST' })).status;
      const api = `http://127.0.0.1:${port}/v1`;
      const health = `http://127.0.0.1:${board.healthPort}`;
      const first = await eventually(() => exchange(`${api}/ping`), { what: 'the listener' });
      expect([first.status, first.body.length]).to.deep.equal([503, 0]);
      for (const path of ['desired_lrps/list.r3', 'events/tasks.r1', 'nope']) {
        expect([path, await status(`${api}/${path}`)]).to.deep.equal([path, 503]);
      }
      expect([await status(`${health}/any`), await status(`${health}/ready`)]).to.deep.equal([200, 503]);
      await holder.query('COMMIT');
      await board.whenActive();
      expect([await status(`${api}/ping`), await status(`${health}/ready`)]).to.deep.equal([200, 200]);
    } finally {
      await holder.end();
      await board.stop();
    }
  });
}
