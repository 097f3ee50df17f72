import { expect } from 'chai';
import { Turnstile } from '../../lib/process/turnstile.js';

describe('a turnstile', () => {
  it('lets only so many through at once, in order', async () => {
    const turnstile = new Turnstile(2);
    let inside = 0;
    let most = 0;
    const order: number[] = [];
    const works = Array.from({ length: 6 }, (_, index) =>
      turnstile.pass(async () => {
        inside += 1;
        most = Math.max(most, inside);
        order.push(index);
        await Promise.resolve();
        inside -= 1;
        if (index === 1) throw new Error('a failure frees the place, too');
      }),
    );
    await Promise.allSettled(works);
    expect(most).to.equal(2);
    expect(order).to.deep.equal([0, 1, 2, 3, 4, 5]);
  });
});
