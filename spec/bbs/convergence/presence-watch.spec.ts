import { expect } from 'chai';
import { wrap } from '../../../lib/bbs/messages/inner-action.js';
import {
  ActualLRPNetInfo,
  ActualLRPPresence,
  DesiredLRP,
  MetricTagValue,
  RunAction,
} from '../../../lib/bbs/messages/models.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { Caller } from '../../support/board/caller.js';
import { eventually } from '../../support/eventually.js';

describe('the watch over cells', () => {
  let board: RunningBbs;

  before(async () => {
    board = await startBbs({ config: { presence_watch_interval: '50ms', converge_repeat_interval: '30s' } });
  });

  after(() => board.stop());

  it('finds a replacement for the instances of a lost cell at once, and gives them back when it is there again', async () => {
    const { client } = board;
    await Promise.all([board.addCell('c'), board.addCell('e')]);
    await client.call('DesireDesiredLRP', {
      desiredLrp: DesiredLRP.create({
        processGuid: 'p',
        domain: 'd',
        rootFs: 'preloaded:x',
        instances: 1,
        action: wrap({ kind: 'run', action: RunAction.create({ path: 'ls', user: 'vcap' }) }),
        metricTags: new Map([['source_id', MetricTagValue.create({ static: 'p' })]]),
      }),
    });
    await client.call('StartActualLRP', {
      actualLrpKey: { processGuid: 'p', index: 0, domain: 'd' },
      actualLrpInstanceKey: { instanceGuid: 'i', cellId: 'c' },
      actualLrpNetInfo: ActualLRPNetInfo.create({ address: '10.0.0.9' }),
      routable: true,
    });
    const presences = async () => {
      const { actualLrps } = await client.call('ActualLRPs');
      return actualLrps.map(({ presence }) => presence);
    };
    await board.bbs.converge();
    await board.removeCell('c');
    await eventually(async () => (await presences()).includes(ActualLRPPresence.SUSPECT) || undefined, {
      what: 'a suspect instance',
    });
    await board.addCell('c');
    await eventually(async () => !(await presences()).includes(ActualLRPPresence.SUSPECT) || undefined, {
      what: 'an ordinary instance',
    });
    expect(await presences()).to.deep.equal([ActualLRPPresence.ORDINARY]);
  });

  it('does not wear out a task that no cell takes, however often cells come and go', async () => {
    const caller = new Caller(board);
    await caller.clear();
    await board.bbs.converge();
    await caller.desireTask('t');
    await caller.auctionedTasks();
    await caller.call('RejectTask', { taskGuid: 't', rejectionReason: 'no room' });
    for (let round = 0; round < 4; round += 1) {
      const runs = () => passes(board);
      const before = await runs();
      await board.addCell(`visitor-${round}`);
      await eventually(async () => (await runs()) > before || undefined, { what: 'a pass' });
    }
    expect(await caller.auctionedTasks()).to.deep.equal([]);
    board.advance(28);
    await board.bbs.converge();
    expect(await caller.auctionedTasks()).to.deep.equal(['t']);
  });
});

async function passes({ healthUrl }: RunningBbs): Promise<number> {
  const text = await (await fetch(`${healthUrl}/metrics`)).text();
  return Number(/^bbs_convergence_task_runs_total (\d+)$/m.exec(text)?.[1]);
}
