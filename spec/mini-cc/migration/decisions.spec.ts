import { expect } from 'chai';
import { isKeptOnCells, nextStep } from '../../../lib/mini-cc/migration/decisions.js';
import type { HandOver } from '../../../lib/mini-cc/store/hand-over-store.js';
import { anApp } from '../../support/apps.js';

const handOver = (target: HandOver['target']): HandOver => ({
  app_guid: 'app',
  target,
  version: 'v1',
  begun_at: '2015-06-30T13:52:36.000Z',
});
const app = (change = {}) =>
  anApp({ version: 'v2', state: 'STARTED', package_state: 'STAGED', instances: 2, diego: true, ...change });
const all = new Set([0, 1]);

describe('a hand-over', () => {
  it('is complete when the target runs every index, whatever else it runs', () => {
    expect(nextStep(handOver('diego'), app(), all)).to.equal('complete');
    expect(nextStep(handOver('dea'), app({ diego: false }), new Set([0, 1, 7]))).to.equal('complete');
    expect(nextStep(handOver('diego'), app({ instances: 0 }), new Set())).to.equal('complete');
  });

  it('waits while an index is missing, nothing is known, or the app is being staged', () => {
    expect(nextStep(handOver('diego'), app(), new Set([1]))).to.equal('wait');
    expect(nextStep(handOver('diego'), app({ instances: 0 }), undefined)).to.equal('wait');
    expect(nextStep(handOver('diego'), app({ package_state: 'PENDING' }), all)).to.equal('wait');
  });

  it('is dropped when the app is gone, stopped, or back', () => {
    expect(nextStep(handOver('diego'), undefined, undefined)).to.equal('drop');
    expect(nextStep(handOver('diego'), app({ state: 'STOPPED' }), all)).to.equal('drop');
    expect(nextStep(handOver('diego'), app({ diego: false }), all)).to.equal('drop');
  });

  it('keeps the instances on cells in the version that they have, on the way to Diego only', () => {
    expect(isKeptOnCells(app(), handOver('diego'), 'v1')).to.equal(true);
    expect(isKeptOnCells(app(), handOver('diego'), 'v2')).to.equal(true);
    expect(isKeptOnCells(app(), handOver('diego'), 'v0')).to.equal(false);
    expect(isKeptOnCells(app(), undefined, 'v2')).to.equal(false);
    expect(isKeptOnCells(app({ state: 'STOPPED' }), handOver('diego'), 'v1')).to.equal(false);
    expect(isKeptOnCells(app({ diego: false }), handOver('dea'), 'v1')).to.equal(false);
  });
});
