import { expect } from 'chai';
import { StartBudget } from '../../../lib/health-manager/decisions/start-budget.js';

describe('the budget of starts', () => {
  const takeAll = (budget: StartBudget, nowMs: number) => {
    let taken = 0;
    while (taken < 1000 && budget.take(nowMs)) taken += 1;
    return taken;
  };

  it('has its burst at first, and then so many a second', () => {
    const budget = new StartBudget({ perSecond: 2, burst: 10 });
    expect([0, 0, 400, 500, 3500].map((nowMs) => takeAll(budget, nowMs))).to.eql([10, 0, 0, 1, 6]);
  });

  it('saves up to its burst, and no more', () => {
    const budget = new StartBudget({ perSecond: 2, burst: 10 });
    takeAll(budget, 0);
    expect(takeAll(budget, 3_600_000)).to.equal(10);
  });

  it('gets back what was not used', () => {
    const budget = new StartBudget({ perSecond: 1, burst: 1 });
    takeAll(budget, 0);
    budget.giveBack();
    expect([budget.hasRoom(0), takeAll(budget, 0), budget.hasRoom(0)]).to.eql([true, 1, false]);
  });

  it('gives slowly what is less than one a second', () => {
    const budget = new StartBudget({ perSecond: 0.1, burst: 60 });
    takeAll(budget, 0);
    expect([9_000, 10_000, 19_000, 20_000].map((nowMs) => takeAll(budget, nowMs))).to.eql([0, 1, 0, 1]);
  });

  it('knows no limit where none is set', () => {
    expect(takeAll(new StartBudget({ perSecond: 0, burst: 1 }), 0)).to.equal(1000);
  });
});
