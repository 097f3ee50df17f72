import { expect } from 'chai';
import { LocketLocks } from '../../../lib/health-manager/locks/locket-locks.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../../support/locket.js';
import { rejectionOf } from '../../support/rejection.js';

describe('locks of a health manager in a Locket', () => {
  let identity: TestIdentity;
  let locket: RunningLocket;
  let first: LocketLocks;
  let second: LocketLocks;
  const key = 'hm9000.listener';

  before(() => {
    identity = makeIdentity();
  });

  after(() => identity.remove());

  beforeEach(async () => {
    locket = await startLocket({ identity });
    const open = () => new LocketLocks({ address: `127.0.0.1:${locket.port}`, identity, timeoutMs: 500 });
    [first, second] = [open(), open()];
    await Promise.all([first.start(), second.start()]);
  });

  afterEach(async () => {
    await Promise.all([first.stop(), second.stop()]);
    await locket.stop();
  });

  it('are had by one at a time, and by the next as soon as they are given back', async () => {
    expect(await first.take('listener', 'a', 15_000)).to.equal(true);
    expect(await second.take('listener', 'b', 15_000)).to.equal(false);
    expect(await first.renew('listener', 'a', 15_000)).to.equal(true);
    expect(await locket.store.fetch(key)).to.deep.equal({ key, owner: 'a', value: '', type: 'lock' });
    await second.free('listener', 'b');
    expect((await locket.store.fetch(key))?.owner).to.equal('a');
    await first.free('listener', 'a');
    expect(await second.take('listener', 'b', 15_000)).to.equal(true);
    expect(await first.renew('listener', 'a', 15_000)).to.equal(false);
  });

  it('are not renewed when they were free in between, though nobody else has them', async () => {
    await first.take('listener', 'a', 15_000);
    await locket.store.release(key, 'a');
    expect(await first.renew('listener', 'a', 15_000)).to.equal(false);
  });

  it('of other components are others', async () => {
    expect(await first.take('listener', 'a', 15_000)).to.equal(true);
    expect(await second.take('analyzer', 'b', 15_000)).to.equal(true);
  });

  it('are neither taken nor refused while the Locket is away', async () => {
    await locket.stop();
    expect((await rejectionOf(first.take('listener', 'a', 15_000))).name).to.equal('LocksUnavailable');
  });
});
