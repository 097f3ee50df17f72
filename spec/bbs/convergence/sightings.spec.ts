import { expect } from 'chai';
import { Sightings } from '../../../lib/bbs/convergence/sightings.js';

/** docs/protocol/bbs.md §24 */
describe('what a board has seen of cells', () => {
  let now: number;
  let sightings: Sightings;
  const note = (...cells: string[]) => sightings.note(new Set(cells));

  beforeEach(() => {
    now = 5000;
    sightings = new Sightings({ startMs: 15_000, emptyMs: 20_000, clock: () => now });
  });

  it('is others when one has come or gone, and the first time nothing to compare', () => {
    expect([note('a'), note('a'), note('a', 'b'), note('b', 'a'), note('b'), note('c')]).to.deep.equal([
      ...[false, false, true, false, true, true],
    ]);
  });

  it('loses none while there has been none, for a while after the start', () => {
    note();
    now += 14_999;
    expect(sightings.mayLose()).to.equal(false);
    now += 1;
    expect(sightings.mayLose()).to.equal(true);
  });

  it('loses one that others outlive at once', () => {
    note('a', 'b');
    note('a');
    expect(sightings.mayLose()).to.equal(true);
  });

  it('loses none for a while when all are gone at once, also when some have come back', () => {
    note('a', 'b');
    note();
    expect(sightings.mayLose()).to.equal(false);
    now += 10_000;
    note('b');
    expect(sightings.mayLose()).to.equal(false);
    now += 9999;
    note();
    expect(sightings.mayLose()).to.equal(false);
    now += 20_000;
    note();
    expect(sightings.mayLose()).to.equal(true);
  });
});
