import { expect } from 'chai';
import { CoalescedWrite } from '../../lib/files/coalesced-write.js';

describe('CoalescedWrite', () => {
  it('shares one write among the changes that come while another is under way, and misses none', async () => {
    let state = 0;
    const written: number[] = [];
    const file = new CoalescedWrite(async () => {
      const seen = state;
      await new Promise((resolve) => setImmediate(resolve));
      written.push(seen);
    });
    const saves: Promise<void>[] = [];
    for (state = 1; state < 10; state += 1) {
      const atLeast = state;
      saves.push(
        file.save().then(() => {
          expect(written.at(-1)).to.be.at.least(atLeast);
        }),
      );
    }
    await Promise.all(saves);
    expect(written).to.have.lengthOf(2);
  });

  it('tells the failure to those whose change it concerns, and goes on', async () => {
    let fails = true;
    const file = new CoalescedWrite(async () => {
      if (fails) throw new Error('disk full');
    });
    const error = await file.save().catch((caught: Error) => caught);
    expect(error).to.have.property('message', 'disk full');
    fails = false;
    await file.save();
  });
});
