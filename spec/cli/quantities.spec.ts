import { expect } from 'chai';
import {
  collectVariable,
  formatBytes,
  formatDuration,
  formatMegabytes,
  parseCount,
  parseMegabytes,
} from '../../lib/cli/quantities.js';
import { formatTable } from '../../lib/process/table.js';

describe('quantities on the command line', () => {
  it('are megabytes with or without a unit', () => {
    expect(['256M', '256', '256mb', '1G', '1.5g'].map(parseMegabytes)).to.deep.equal([256, 256, 256, 1024, 1536]);
    for (const text of ['', '0', '-1', '1T', 'M', '1.0001M', '1 2'])
      expect(() => parseMegabytes(text), text).to.throw();
  });

  it('are whole numbers where something is counted', () => {
    expect(parseCount('0')).to.equal(0);
    for (const text of ['-1', '1.5', 'x', '']) expect(() => parseCount(text), text).to.throw();
  });

  it('are variables split at the first equals sign, kept with those before', () => {
    expect(collectVariable('B=x=y', { A: '1' })).to.deep.equal({ A: '1', B: 'x=y' });
    expect(collectVariable('EMPTY=', {})).to.deep.equal({ EMPTY: '' });
    for (const text of ['=x', 'A', '1A=x', 'A B=x']) expect(() => collectVariable(text, {}), text).to.throw();
  });

  it('are shown short', () => {
    expect([0, 1023, 1024, 1536, 52_428_800, 1_500_000_000].map(formatBytes)).to.deep.equal([
      '0B',
      '1023B',
      '1K',
      '1.5K',
      '50M',
      '1.4G',
    ]);
    expect([256, 1024].map(formatMegabytes)).to.deep.equal(['256M', '1G']);
    expect([0, 7, 60, 3661, 90_061].map(formatDuration)).to.deep.equal(['0s', '7s', '1m', '1h 1m', '1d 1h']);
  });

  it('stand in columns', () => {
    expect(
      formatTable(
        ['name', 'state'],
        [
          ['a', 'x'],
          ['long-name', ''],
        ],
      ),
    ).to.deep.equal(['name        state', 'a           x', 'long-name']);
  });
});
