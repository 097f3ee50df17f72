import { expect } from 'chai';
import { MassStopGuard } from '../../../lib/health-manager/decisions/mass-stop-guard.js';

const apps = (count: number) => new Set(Array.from({ length: count }, (_, index) => `app-${index}`));

describe('the guard against mass stops', () => {
  it('holds stops when most apps vanish, until two more fetches have confirmed it', () => {
    const guard = new MassStopGuard();
    guard.noteFetch(apps(200));
    expect(guard.isHolding).to.equal(false);
    const holding = [20, 20, 20].map((count) => {
      guard.noteFetch(apps(count));
      return guard.isHolding;
    });
    expect(holding).to.eql([true, true, false]);
  });

  it('lets go as soon as the apps are back', () => {
    const guard = new MassStopGuard();
    guard.noteFetch(apps(200));
    guard.noteFetch(apps(0));
    guard.noteFetch(apps(190));
    expect(guard.isHolding).to.equal(false);
    guard.noteFetch(apps(0));
    expect(guard.isHolding).to.equal(true);
  });

  it('is not bothered by few apps, nor by less than half of them', () => {
    const guard = new MassStopGuard();
    guard.noteFetch(apps(50));
    guard.noteFetch(apps(0));
    expect(guard.isHolding).to.equal(false);
    const other = new MassStopGuard();
    other.noteFetch(apps(200));
    other.noteFetch(apps(100));
    expect(other.isHolding).to.equal(false);
  });
});
