import { expect } from 'chai';
import { checkPreconditions, isRangeWanted } from '../../../lib/dea/files/preconditions.js';

const modified = 1458249850;
const date = (seconds: number) => new Date(seconds * 1000).toUTCString();

describe('Conditions of a request for a file', () => {
  const cases = [
    ['GET', {}, 'serve'],
    ['GET', { 'if-modified-since': date(modified) }, 'not-modified'],
    ['HEAD', { 'if-modified-since': date(modified + 9) }, 'not-modified'],
    ['GET', { 'if-modified-since': date(modified - 1) }, 'serve'],
    ['POST', { 'if-modified-since': date(modified) }, 'serve'],
    ['GET', { 'if-modified-since': 'yesterday' }, 'serve'],
    ['GET', { 'if-modified-since': '7' }, 'serve'],
    ['GET', { 'if-unmodified-since': date(modified - 1) }, 'failed'],
    ['POST', { 'if-unmodified-since': date(modified - 1) }, 'failed'],
    ['GET', { 'if-unmodified-since': date(modified) }, 'serve'],
    ['GET', { 'if-unmodified-since': 'nonsense' }, 'serve'],
    ['GET', { 'if-match': '"x"' }, 'failed'],
    ['GET', { 'if-match': '*' }, 'serve'],
    ['GET', { 'if-match': '"x", *' }, 'serve'],
    ['GET', { 'if-match': '*', 'if-unmodified-since': date(modified - 1) }, 'serve'],
    ['GET', { 'if-none-match': '*' }, 'not-modified'],
    ['HEAD', { 'if-none-match': '*' }, 'not-modified'],
    ['POST', { 'if-none-match': '*' }, 'failed'],
    ['GET', { 'if-none-match': '"x"' }, 'serve'],
    ['GET', { 'if-none-match': '"x"', 'if-modified-since': date(modified) }, 'serve'],
  ] as const;

  for (const [method, headers, result] of cases) {
    it(`${method} with ${JSON.stringify(headers)}: ${result}`, () => {
      expect(checkPreconditions(method, headers, modified)).to.equal(result);
    });
  }

  it('let a range count only for the version that If-Range names', () => {
    expect(isRangeWanted('GET', {}, modified)).to.equal(true);
    expect(isRangeWanted('GET', { 'if-range': date(modified) }, modified)).to.equal(true);
    for (const other of [date(modified + 1), date(modified - 1), '"x"', 'nonsense']) {
      expect(isRangeWanted('GET', { 'if-range': other }, modified), other).to.equal(false);
    }
  });
});
