import { expect } from 'chai';
import { formatUptime } from '../../lib/process/uptime.js';

describe('an uptime', () => {
  const cases: [milliseconds: number, text: string][] = [
    [0, '0d:0h:0m:0s'],
    [59_999, '0d:0h:0m:59s'],
    [3_723_000, '0d:1h:2m:3s'],
    [90_061_000, '1d:1h:1m:1s'],
  ];
  for (const [milliseconds, text] of cases) {
    it(`is ${text} after ${milliseconds} ms`, () => expect(formatUptime(milliseconds)).to.equal(text));
  }
});
