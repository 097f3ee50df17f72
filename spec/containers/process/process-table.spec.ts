import { expect } from 'chai';
import { parseStat } from '../../../lib/containers/process/process-table.js';
import { parseTimes } from '../../../lib/containers/process/wrapper.js';

describe('the process table', () => {
  const numbers = '10 11 12 0 -1 4194560 100 0 0 0 5 6 7 8 20 0 3 0 5000 123456 42 18446744073709551615 1 1 0';

  it('decodes a process whose name has blanks and parentheses', () => {
    expect(parseStat(`9 (a) b (c)) S ${numbers}\n`)).to.deep.equal({
      pid: 9,
      parentPid: 10,
      sessionId: 12,
      startTime: 5000,
      rssBytes: 42 * 4096,
      cpuNs: 26 * 10_000_000,
      threads: 3,
    });
  });

  it('does not count a process of which only the exit status is left', () => {
    expect(parseStat(`9 (x) Z ${numbers}\n`)).to.equal(undefined);
  });

  it('adds up user and system time as the shell gives them', () => {
    expect(parseTimes('1m0.500000s 0m0.250000s')).to.equal(60_750_000_000);
    expect(parseTimes('')).to.equal(0);
  });
});
