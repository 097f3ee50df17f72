import { expect } from 'chai';
import { startBbs } from '../../support/bbs.js';
import { Caller } from '../../support/board/caller.js';

/** docs/protocol/bbs.md §7.3; spec/bbs/api/themes has the first ones on all databases. */
describe('an instance that crashes again and again', () => {
  let caller: Caller;

  before(async () => {
    caller = new Caller(await startBbs());
    await caller.board.addCell('c1');
    await caller.desire('p');
  });

  after(() => caller.board.stop());

  async function crashAfter(seconds: number): Promise<void> {
    caller.board.advance(seconds);
    await caller.board.bbs.converge();
    await caller.start('p', 0, 'i/c1');
    await caller.crash('p', 0, 'i/c1');
  }

  it('waits 16 minutes from the eighth time on, and after 200 times for ever', async () => {
    for (let count = 1; count <= 150; count += 1) await crashAfter(961);
    caller.board.advance(955);
    await caller.board.bbs.converge();
    const waiting = await caller.row('p');
    expect([waiting.state, waiting.crashCount]).to.deep.equal(['CRASHED', 150]);
    for (let count = 151; count <= 200; count += 1) await crashAfter(count === 151 ? 6 : 961);
    caller.board.advance(365 * 86_400);
    await caller.board.bbs.converge();
    const given = await caller.row('p');
    expect([given.state, given.crashCount]).to.deep.equal(['CRASHED', 200]);
    await caller.update('p', { instances: 0 });
    await caller.update('p', { instances: 1 });
    expect(await caller.brief('p')).to.deep.equal(['UNCLAIMED']);
  });
});
