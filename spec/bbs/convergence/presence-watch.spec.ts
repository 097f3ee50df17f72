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
import { eventually } from '../../support/eventually.js';

describe('the watch over cells', () => {
  let board: RunningBbs;

  before(async () => {
    board = await startBbs({ config: { presence_watch_interval: '50ms' } });
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
});
