import { expect } from 'chai';
import { isActualFresh, requireFresh } from '../../../lib/health-manager/decisions/freshness.js';

describe('freshness', () => {
  it('2. comes only when heartbeats have been saved for the whole time', () => {
    const mark = { timestamp: 1000 };
    expect([0, 10, 20, 29, 30, 40].map((age) => isActualFresh(mark, 30, 1000 + age))).to.eql([
      false,
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(isActualFresh(undefined, 30, 1000)).to.equal(false);
  });

  it("says what is not fresh in upstream's words", () => {
    const attempt = (isActual: boolean, isDesired: boolean) => () =>
      requireFresh({ isActualFresh: isActual, isDesiredFresh: isDesired });
    expect(attempt(false, true)).to.throw(/^Actual state is not fresh$/);
    expect(attempt(true, false)).to.throw(/^Desired state is not fresh$/);
    expect(attempt(false, false)).to.throw(/^Actual and desired state are not fresh$/);
    expect(attempt(true, true)).not.to.throw();
  });
});
