import { expect } from 'chai';
import { Tenure } from '../../../lib/locks/runners/tenure.js';

describe('Tenure', () => {
  it('lasts four fifths of the ttl, from before it was asked for', () => {
    const tenure = new Tenure(15_000);
    expect(tenure.isValidAt(0)).to.equal(false);
    tenure.extend(1000);
    expect(tenure.isValidAt(12_999)).to.equal(true);
    expect(tenure.isValidAt(13_000)).to.equal(false);
    expect([tenure.remainingAt(3000), tenure.remainingAt(20_000)]).to.deep.equal([10_000, 0]);
    expect(tenure.renewalMs).to.equal(3000);
  });

  it('is not shortened by an answer that was overtaken', () => {
    const tenure = new Tenure(15_000);
    tenure.extend(5000);
    tenure.extend(2000);
    expect(tenure.isValidAt(16_999)).to.equal(true);
  });

  it('is not revived by what was asked before its end', () => {
    const tenure = new Tenure(15_000);
    tenure.extend(1000);
    tenure.end(4000);
    tenure.extend(3000);
    expect(tenure.isValidAt(4000)).to.equal(false);
    tenure.extend(4001);
    expect(tenure.isValidAt(4002)).to.equal(true);
  });
});
