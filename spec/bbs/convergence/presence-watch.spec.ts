import { expect } from 'chai';
import { wrap } from '../../../lib/bbs/messages/inner-action.js';
import {
  ActualLRPNetInfo,
  ActualLRPPresence,
  DesiredLRP,
  MetricTagValue,
  RunAction,
  TaskState,
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

describe('cells that are all gone at once', () => {
  let board: RunningBbs;
  let caller: Caller;

  before(async () => {
    // Presences have as much time as locks: for so long, and one more attempt, nobody is lost.
    const times = { lock_ttl: '2s', lock_retry_interval: '500ms' };
    board = await startBbs({ config: times });
    caller = new Caller(board);
  });

  after(() => board?.stop());

  it('are not taken for lost, nor those that are late when others have come back, but for a while only', async () => {
    await Promise.all([board.addCell('c'), board.addCell('e')]);
    await caller.desire('p');
    await caller.start('p', 0, 'i/c');
    await caller.desireTask('t');
    await caller.call('StartTask', { taskGuid: 't', cellId: 'e' });
    await board.bbs.converge();
    const state = async () => [...(await caller.brief('p')), (await caller.task('t')).state];
    const nothingLost = ['RUNNING i/c', TaskState.Running];
    // As when a Locket has lost its table.
    await Promise.all([board.removeCell('c'), board.removeCell('e')]);
    await board.bbs.converge();
    expect(await state()).to.deep.equal(nothingLost);
    await board.addCell('e');
    await board.bbs.converge();
    expect(await state()).to.deep.equal(nothingLost);
    await eventually(
      async () => {
        await board.bbs.converge();
        return (await state()).includes('suspect RUNNING i/c') || undefined;
      },
      { what: 'a suspect instance', timeoutMs: 10_000 },
    );
    expect(await state()).to.deep.equal(['UNCLAIMED', 'suspect RUNNING i/c', TaskState.Running]);
  });
});

describe('the watch over cells of a board that has just started', () => {
  it('begins with the first pass: until then cells are still coming', async () => {
    const board = await startBbs({ config: { presence_watch_interval: '20ms' } });
    try {
      const caller = new Caller(board);
      await caller.desireTask('t');
      await caller.call('StartTask', { taskGuid: 't', cellId: 'late' });
      for (const cell of ['first', 'second', 'third']) {
        await board.addCell(cell);
        const begun = performance.now();
        // Time for some looks.
        await eventually(() => performance.now() - begun > 100 || undefined);
      }
      expect(await passes(board)).to.be.NaN;
      await board.addCell('late');
      await board.bbs.converge();
      expect((await caller.task('t')).state).to.equal(TaskState.Running);
    } finally {
      await board.stop();
    }
  });
});

async function passes({ healthUrl }: RunningBbs): Promise<number> {
  const text = await (await fetch(`${healthUrl}/metrics`)).text();
  return Number(/^bbs_convergence_task_runs_total (\d+)$/m.exec(text)?.[1]);
}
