import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Bbs } from '../../../lib/bbs/bbs.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { completeBbsConfig } from '../../support/bbs.js';
import { field, inHex } from '../../support/board/bytes.js';
import { exchange } from '../../support/board/raw-exchange.js';
import { eventually } from '../../support/eventually.js';
import { takePorts } from '../../support/host-share.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../../support/locket.js';

/** docs/protocol/bbs.md §16 */
describe('a board with a Locket', () => {
  const boards: Bbs[] = [];
  let directory: string;
  let identity: TestIdentity;
  let locket: RunningLocket;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'boards-'));
    identity = makeIdentity();
    locket = await startLocket({ identity });
  });

  afterEach(async () => {
    await Promise.all(boards.splice(0).map((board) => board.stop()));
  });

  after(async () => {
    await locket.stop();
    identity.remove();
    await rm(directory, { recursive: true, force: true });
  });

  function create(config: Record<string, unknown>, onFatal: (reason: string) => void = () => {}): Bbs {
    const { caFile, certFile, keyFile } = identity.files;
    const common = {
      ...{ database_driver: 'sqlite3', database_connection_string: join(directory, 'board.db') },
      ...{ locket_address: `127.0.0.1:${locket.port}`, locket_ca_cert_file: caFile },
      ...{ locket_client_cert_file: certFile, locket_client_key_file: keyFile },
      ...{ lock_retry_interval: '50ms', lock_ttl: '2s' },
    };
    const board = new Bbs({ config: completeBbsConfig({ ...common, ...config }), onFatal, logger: silentLogger });
    boards.push(board);
    return board;
  }

  const statusOf = async (port: number, path: string) =>
    (await exchange(`http://127.0.0.1:${port}${path}`, { method: 'GET' })).status;

  it('begins passive, and is active only when the one before has ended', async () => {
    const first = create({ uuid: 'first' });
    await first.start();
    await first.whenActive();
    const upsert = { body: Buffer.concat([field(1, 'd'), field(2, 0)]) };
    await exchange(`http://127.0.0.1:${first.port}/v1/domains/upsert`, upsert);

    const { start: port } = takePorts(1);
    const second = create({ uuid: 'second', listen_address: `127.0.0.1:${port}` });
    await second.start();
    const error = await exchange(`http://127.0.0.1:${port}/v1/ping`).catch((thrown: NodeJS.ErrnoException) => thrown);
    expect(error).to.have.property('code', 'ECONNREFUSED');
    const passive = await Promise.all(['/', '/any/path', '/ready'].map((path) => statusOf(second.healthPort, path)));
    expect(passive).to.deep.equal([200, 200, 503]);
    expect(await statusOf(first.healthPort, '/ready')).to.equal(200);

    await first.stop();
    await second.whenActive();
    const { body } = await exchange(`http://127.0.0.1:${port}/v1/domains/list`);
    expect(inHex(body)).to.equal('12 01 64');
    expect(await statusOf(second.healthPort, '/ready')).to.equal(200);
  });

  it('ends when somebody else has its lock', async () => {
    let reason: string | undefined;
    const board = create({ uuid: 'third' }, (told) => {
      reason = told;
    });
    await board.start();
    await board.whenActive();
    await locket.store.release('bbs', 'third');
    const resource = { key: 'bbs', owner: 'fourth', value: '', type: 'lock' } as const;
    await eventually(async () => {
      await locket.store.acquire(resource, 60_000).catch(() => {});
      return reason;
    });
    expect(reason).to.match(/^the lock is lost: /);
    await board.stop();
    await locket.store.release('bbs', 'fourth');
  });

  it('waits for its Locket for a while, also when its configuration says 0', async () => {
    const board = create({ uuid: 'fifth', db_connection_timeout: 0 });
    await board.start();
    await board.whenActive();
    expect((await exchange(`http://127.0.0.1:${board.port}/v1/cells/list.r1`)).body.length).to.equal(0);
  });
});
