import { expect } from 'chai';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { Caller } from '../../support/board/caller.js';
import { Watch } from '../../support/board/watch.js';
import { eventually } from '../../support/eventually.js';
import { makeGate } from '../../support/gate.js';
import { startHttpServer } from '../../support/http-server.js';

/** docs/protocol/bbs.md §12.1, step 7 */
describe('instances that nobody desires', () => {
  let board: RunningBbs;
  let caller: Caller;

  before(async () => {
    board = await startBbs({ config: { convergence_workers: 1 } });
    caller = new Caller(board);
    await board.addCell('c1');
    await caller.call('UpsertDomain', { domain: 'd', ttl: 0 });
  });

  afterEach(() => caller.clear());

  after(() => board?.stop());

  it('go before others are made in the same pass', async () => {
    await caller.desire('wanted');
    await caller.call('RemoveActualLRP', { processGuid: 'wanted', index: 0 });
    await caller.start('orphan', 0, 'i/gone');
    const watch = await Watch.open(caller, 'LRPInstanceEventStream');
    await board.bbs.converge();
    expect(await watch.toldBriefly()).to.deep.equal(['removed RUNNING i/gone', 'created UNCLAIMED']);
    watch.stop();
  });

  it('stay when somebody has come to desire them while the pass was at others', async () => {
    const opened = makeGate();
    const rep = await startHttpServer(async (_request, response) => {
      await opened.passed;
      response.writeHead(202).end();
    });
    const presence = { cell_id: 'slow', rep_url: rep.url, rep_address: rep.url, zone: 'z' };
    const resource = { key: 'slow', owner: 'slow', value: JSON.stringify(presence), type: 'presence' } as const;
    await board.bbs.locks.acquire(resource, 60_000);
    const guids = ['orphan-1', 'orphan-2'];
    for (const guid of guids) await caller.start(guid, 0, 'i/slow');
    const converged = board.bbs.converge();
    await eventually(() => rep.requests.length > 0 || undefined, { what: 'a request to stop' });
    // The pass waits for the rep of one of them; the other one is still before it.
    const asked = rep.requests[0]!.includes('orphan-1') ? 'orphan-1' : 'orphan-2';
    const other = guids.find((guid) => guid !== asked)!;
    await caller.desire(other);
    opened.open();
    await converged;
    expect(rep.requests).to.deep.equal([`POST /v1/lrps/${asked}/instances/i/stop`]);
    expect(await caller.brief(other)).to.deep.equal(['RUNNING i/slow']);
    await board.bbs.locks.release('slow', 'slow');
    await rep.stop();
  });
});
