import { expect } from 'chai';
import { OutsideFailure } from '../../../lib/bbs/outside-failure.js';
import { PresenceCells } from '../../../lib/bbs/peers/presence-cells.js';
import { EmbeddedLockStore } from '../../../lib/locks/embedded/embedded-store.js';
import { recordingLogger } from '../../support/recording-logger.js';
import { rejectionOf } from '../../support/rejection.js';

/** The example of docs/protocol/bbs.md §10. */
const presence =
  '{"cell_id":"cell_z1-0","rep_address":"http://10.0.0.9:1800","zone":"z1","capacity":{"memory_mb":16384,"disk_mb":65536,"containers":250},"rootfs_provider_list":[{"name":"preloaded","properties":["cflinuxfs4"]},{"name":"preloaded+layer","properties":["cflinuxfs4"]},{"name":"extra"},{"name":"docker"}],"rep_url":"https://cell-z1-0.cell.service.cf.internal:1801","annotations":{}}';

describe('PresenceCells', () => {
  let store: EmbeddedLockStore;

  beforeEach(async () => {
    store = new EmbeddedLockStore();
    await store.start();
  });

  afterEach(() => store.stop());

  const hold = (key: string, value: string, type: 'presence' | 'lock' = 'presence') =>
    store.acquire({ key, owner: key, value, type }, 60_000);

  it('reads cells from what they say of themselves', async () => {
    const cells = new PresenceCells(store, recordingLogger().logger);
    await hold('cell_z1-0', presence);
    const [cell] = await cells.list();
    expect(cell).to.deep.include({ cellId: 'cell_z1-0', repAddress: 'http://10.0.0.9:1800', zone: 'z1' });
    expect(cell!.capacity).to.deep.equal({ memoryMb: 16_384, diskMb: 65_536, containers: 250 });
    expect(cell!.rootfsProviders.map(({ name, properties }) => [name, properties])).to.deep.equal([
      ['preloaded', ['cflinuxfs4']],
      ['preloaded+layer', ['cflinuxfs4']],
      ['extra', []],
      ['docker', []],
    ]);
    expect(await cells.find('cell_z1-0')).to.deep.equal(cell);
    expect(await cells.find('nobody')).to.equal(undefined);
  });

  it('passes over who is no cell, and says so', async () => {
    const { logger, lines } = recordingLogger();
    const cells = new PresenceCells(store, logger);
    await hold('cell_z1-0', presence);
    await hold('odd', 'not JSON');
    await hold('bbs', presence, 'lock');
    expect((await cells.list()).map(({ cellId }) => cellId)).to.deep.equal(['cell_z1-0']);
    expect(lines.map(({ message, data }) => [message, data.key])).to.deep.equal([['bbs.presence.unreadable', 'odd']]);
  });

  it('tells why it does not know', async () => {
    const failing = () => Promise.reject(new Error('14 UNAVAILABLE'));
    const cells = new PresenceCells({ list: failing, fetch: failing }, recordingLogger().logger);
    for (const call of [cells.list(), cells.find('c')]) {
      expect(await rejectionOf(call))
        .to.be.instanceOf(OutsideFailure)
        .with.property('message', '14 UNAVAILABLE');
    }
  });
});
