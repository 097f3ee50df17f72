import { expect } from 'chai';
import { parseTimes } from '../../../lib/containers/process/wrapper.js';

describe('the wrapper of a process without isolation', () => {
  it('leaves user and system time as the shell gives them, which are added up', () => {
    expect(parseTimes('1m0.500000s 0m0.250000s')).to.equal(60_750_000_000);
    expect(parseTimes('')).to.equal(0);
  });
});
