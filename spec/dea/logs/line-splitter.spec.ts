import { expect } from 'chai';
import fc from 'fast-check';
import { LineSplitter, linesOf } from '../../../lib/dea/logs/line-splitter.js';

describe('the lines of an app log', () => {
  const texts = (...lines: Buffer[]) => lines.map(String);

  it('end with either end of line, and blank ones are left out', () => {
    expect(texts(...linesOf('one\ntwo\r\nthree\r\r\n \t \nfour'))).to.deep.equal(['one', 'two', 'three', 'four']);
  });

  it('may have 8704 bytes, and are cut and marked beyond', () => {
    expect(linesOf('x'.repeat(8704))[0]).to.have.length(8704);
    const [line, ...more] = linesOf(`${'x'.repeat(8705)}\nnext`);
    expect(String(line)).to.equal(`${'x'.repeat(8695)}TRUNCATED`);
    expect(texts(...more)).to.deep.equal(['next']);
  });

  it('are not cut in the middle of a character', () => {
    const [line] = linesOf(`xx${'€'.repeat(3000)}`);
    expect(String(line)).to.equal(`xx${'€'.repeat(2897)}TRUNCATED`);
  });

  it('wait for their end, and are the same however they come in', () => {
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array.map((byte) => byte % 16)));
    fc.assert(
      fc.property(fc.array(bytes), (pieces) => {
        const splitter = new LineSplitter();
        const lines = [...pieces.flatMap((piece) => splitter.push(piece)), ...splitter.flush()];
        const whole = new LineSplitter();
        expect(lines).to.deep.equal([...whole.push(Buffer.concat(pieces)), ...whole.flush()]);
      }),
    );
  });

  it('without an end take no more memory than one line', () => {
    const splitter = new LineSplitter();
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 2000; count += 1) splitter.push(Buffer.alloc(64 * 1024, 'y'));
    expect(process.memoryUsage().arrayBuffers - before).to.be.below(100 * 1024 * 1024);
    expect(splitter.flush()[0]).to.have.length(8704);
  });
});
