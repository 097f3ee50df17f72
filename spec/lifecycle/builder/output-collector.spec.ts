import { expect } from 'chai';
import { OutputCollector } from '../../../lib/lifecycle/builder/output-collector.js';

describe('an output collector', () => {
  it('keeps what fits and forgets the rest', () => {
    const collector = new OutputCollector(5);
    for (const text of ['abc', 'defg', 'h']) collector.receive(Buffer.from(text));
    expect(collector.text).to.equal('abcde');
    expect(collector.isFull).to.equal(true);
  });

  it('is not full while everything fits', () => {
    const collector = new OutputCollector(5);
    collector.receive(Buffer.from('abc'));
    expect(collector.isFull).to.equal(false);
  });
});
