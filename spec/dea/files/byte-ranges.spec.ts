import { expect } from 'chai';
import { contentRange, parseRanges } from '../../../lib/dea/files/byte-ranges.js';

const size = 13;

describe('Byte ranges of a file of 13 bytes', () => {
  const single = (start: number, length: number) => ({ kind: 'ranges', ranges: [{ start, length }] });

  for (const [header, start, length] of [
    ['bytes=5-10', 5, 6],
    ['bytes=5-', 5, 8],
    ['bytes=-3', 10, 3],
    ['bytes=0-100', 0, 13],
    ['bytes=-100', 0, 13],
    ['bytes=12-12', 12, 1],
    ['bytes= 5 - 10 ', 5, 6],
    ['bytes=13-,0-1', 0, 2],
    ['bytes=,,0-1,', 0, 2],
  ] as const) {
    it(`${header} is ${length} bytes from ${start}`, () => {
      expect(parseRanges(header, size)).to.deep.equal(single(start, length));
    });
  }

  it('can be several', () => {
    for (const header of ['bytes=0-1,3-4', 'bytes=0-1, 3-4', 'bytes=0-1,20-30,3-4']) {
      expect(parseRanges(header, size)).to.deep.equal({
        kind: 'ranges',
        ranges: [
          { start: 0, length: 2 },
          { start: 3, length: 2 },
        ],
      });
    }
  });

  for (const header of [undefined, '', 'bytes=', 'bytes=0-9,0-9', 'bytes=0-,0-,0-']) {
    it(`${header ?? 'no header'} is the whole file`, () => {
      expect(parseRanges(header, size)).to.deep.equal({ kind: 'whole' });
    });
  }

  for (const header of ['bytes=13-', 'bytes=13-20', 'bytes=100-,200-']) {
    it(`${header} is beyond it`, () => {
      expect(parseRanges(header, size)).to.deep.equal({ kind: 'unsatisfiable' });
    });
  }

  for (const header of ['bytes=abc', 'bytes=4-2', 'items=0-1', 'bytes=-', 'bytes=--3', 'bytes=0-1,x', 'bytes 0-1']) {
    it(`${header} is malformed`, () => {
      expect(parseRanges(header, size)).to.deep.equal({ kind: 'malformed' });
    });
  }

  it('are told with the size of the file', () => {
    expect(contentRange({ start: 5, length: 6 }, size)).to.equal('bytes 5-10/13');
  });
});
