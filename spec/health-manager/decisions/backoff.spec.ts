import { expect } from 'chai';
import { backoffDelay } from '../../../lib/health-manager/decisions/backoff.js';

const settings = { crashesBeforeBackoff: 3, startingDelay: 30, maximumDelay: 960 };
const counts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10_000];

describe('the back-off of crashing instances', () => {
  it('17. restarts three times at once, then doubles its patience up to the maximum', () => {
    const delays = counts.map((count) => backoffDelay(count, settings));
    expect(delays).to.eql([0, 0, 0, 30, 60, 120, 240, 480, 960, 960, 960]);
  });

  it('17. ends at a maximum that no doubling hits', () => {
    const delays = counts.map((count) => backoffDelay(count, { ...settings, maximumDelay: 950 }));
    expect(delays).to.eql([0, 0, 0, 30, 60, 120, 240, 480, 950, 950, 950]);
  });
});
