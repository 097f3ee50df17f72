import { expect } from 'chai';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { Caller, refusal } from '../../support/board/caller.js';
import { eventually } from '../../support/eventually.js';
import { type RecordedLine, recordingLogger } from '../../support/recording-logger.js';

const requestId = '0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9';
const traceId = '0a1b2c3d4e5f60718293a4b5c6d7e8f9';

/** docs/protocol/bbs.md §1, Trace header */
describe('the log lines of a request', () => {
  let board: RunningBbs;
  let caller: Caller;
  let lines: RecordedLine[];

  before(async () => {
    const recorded = recordingLogger();
    lines = recorded.lines;
    board = await startBbs({ logger: recorded.logger });
    caller = new Caller(board);
    await board.addCell('c1');
  });

  beforeEach(() => {
    lines.length = 0;
  });

  after(() => board?.stop());

  const line = (message: string) =>
    eventually(() => lines.find((candidate) => candidate.message === message), { what: `a line ${message}` });

  it('name it as its client does, without dashes, in a line for each at the level debug', async () => {
    await caller.desire('p', {}, requestId);
    const { level, data } = await line('bbs.request.done');
    expect(level).to.equal('debug');
    expect(data).to.include({ route: 'DesireDesiredLRP', trace_id: traceId });
    expect(data.duration_ms).to.be.greaterThan(0);
    lines.length = 0;
    await caller.desired('p');
    expect((await line('bbs.request.done')).data).not.to.have.property('trace_id');
  });

  it('say why it was refused', async () => {
    await refusal(caller.call('RemoveDesiredLRP', { processGuid: '' }, { requestId }));
    const { level, data } = await line('bbs.request.refused');
    expect([level, data]).to.deep.equal([
      'info',
      { route: 'RemoveDesiredLRP', error: 'Invalid field: process_guid', trace_id: traceId },
    ]);
  });

  it('say only at the level debug what belongs to a client’s normal day', async () => {
    await refusal(caller.call('RemoveDesiredLRP', { processGuid: 'unknown' }, { requestId }));
    await refusal(caller.desire('p', {}, requestId));
    const refused = lines.filter(({ message }) => message === 'bbs.request.refused');
    expect(refused.map(({ level, data }) => [level, data.route])).to.deep.equal([
      ['debug', 'RemoveDesiredLRP'],
      ['debug', 'DesireDesiredLRP'],
    ]);
  });

  it('tell of an auctioneer that does not take what it led to', async () => {
    board.auctioneer.status = 500;
    await caller.desire('auctioned', {}, requestId);
    expect((await line('bbs.auction.refused')).data).to.include({ path: '/v1/lrps', status: 500, trace_id: traceId });
    board.auctioneer.status = 202;
  });

  it('tell of a rep that does not take what it led to', async () => {
    await caller.desire('running', {});
    await caller.start('running', 0, 'i/c1');
    await caller.desireTask('t');
    await caller.call('StartTask', { taskGuid: 't', cellId: 'c1' });
    board.rep.status = 500;
    await caller.call('RemoveDesiredLRP', { processGuid: 'running' }, { requestId });
    await caller.call('CancelTask', { taskGuid: 't' }, { requestId });
    const stopped = await line('bbs.instance.not-stopped');
    expect(stopped.data).to.include({ process_guid: 'running', cell_id: 'c1', trace_id: traceId });
    const cancelled = await line('bbs.task.not-cancelled');
    expect(cancelled.data).to.include({ task_guid: 't', cell_id: 'c1', trace_id: traceId });
    board.rep.status = 202;
  });
});
