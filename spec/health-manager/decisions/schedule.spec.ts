import { expect } from 'chai';
import { inSendingOrder, isDue, isExpired, isOutOfTime } from '../../../lib/health-manager/decisions/schedule.js';
import { start } from '../../support/health-records.js';

const order = (starts: ReturnType<typeof start>[]) => inSendingOrder(starts).map(({ app, index }) => `${app} ${index}`);

describe('the schedule of orders', () => {
  it('is due from its time on, until it was sent', () => {
    expect(isDue(start(0, { sendOn: 1000 }), 999)).to.equal(false);
    expect(isDue(start(0, { sendOn: 1000 }), 1000)).to.equal(true);
    expect(isDue(start(0, { sendOn: 1000, sentOn: 1001 }), 1002)).to.equal(false);
  });

  it('28. keeps others of its key away for its keep-alive', () => {
    const sent = start(0, { sentOn: 1000, keepAlive: 30 });
    expect(isExpired(sent, 1029)).to.equal(false);
    expect(isExpired(sent, 1030)).to.equal(true);
    expect(isExpired(start(0), 9999)).to.equal(false);
  });

  it('is out of time when its clock was another one', () => {
    const waits = (sendOn: number) => isOutOfTime(start(0, { sendOn }), 1000, 1920);
    expect([waits(2920), waits(2921)]).to.eql([false, true]);
    const sent = (sentOn: number) => isOutOfTime(start(0, { sendOn: 900, sentOn, keepAlive: 30 }), 1000, 1920);
    expect([sent(1030), sent(1031)]).to.eql([false, true]);
  });

  it('27. sends what has waited longest first, even at a lower priority', () => {
    const late = start(1, { sendOn: 1001, priority: 2 });
    const early = start(0, { sendOn: 1000, priority: 0.1 });
    expect(order([late, early])).to.eql(['app-guid 0', 'app-guid 1']);
  });

  it('26. sends the most important of one second first', () => {
    const [half, whole] = [start(0, { app: 'half', priority: 0.5 }), start(0, { app: 'whole', priority: 1 })];
    expect(order([half, whole])).to.eql(['whole 0', 'half 0']);
  });

  it('lets apps of one importance take turns', () => {
    const greedy = [0, 1, 2].map((index) => start(index, { app: 'greedy' }));
    expect(order([...greedy, start(0, { app: 'modest' })])).to.eql(['greedy 0', 'modest 0', 'greedy 1', 'greedy 2']);
  });
});
