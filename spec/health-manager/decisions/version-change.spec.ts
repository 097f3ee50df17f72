import { expect } from 'chai';
import { VersionChangeHolds } from '../../../lib/health-manager/decisions/version-change.js';
import type { AppState } from '../../../lib/health-manager/records.js';
import { app, appState, desired, instance, stop } from '../../support/health-records.js';

describe('an old version of an app', () => {
  const oldStop = (index: number) => ({ index, stop: stop(`old-${index}`, { version: 'old' }) });
  const wanted = (state: AppState) => new Map([[app.app, state]]);
  const released = (holds: VersionChangeHolds, state: AppState | undefined, now: number, indices = [0, 1]) =>
    holds.release(indices.map(oldStop), state ? wanted(state) : new Map(), now).map(({ instance: guid }) => guid);

  it('lives until the new one runs in its place', () => {
    const holds = new VersionChangeHolds(60);
    const starting = appState({ desired: desired(2), instances: [instance(0, 'STARTING')] });
    expect(released(holds, starting, 1000)).to.eql([]);
    const running = appState({ desired: desired(2), instances: [instance(0), instance(1, 'CRASHED')] });
    expect(released(holds, running, 1010)).to.eql(['old-0']);
  });

  it('lives for its time at most, and is not given another', () => {
    const holds = new VersionChangeHolds(60);
    const none = appState({ desired: desired(2) });
    expect([1000, 1059, 1060, 1100].map((now) => released(holds, none, now).length)).to.eql([0, 0, 2, 2]);
  });

  it('does not wait beyond the wanted number of the new one', () => {
    const holds = new VersionChangeHolds(60);
    expect(released(holds, appState({ desired: desired(1) }), 1000)).to.eql(['old-1']);
  });

  it('does not wait where nothing of the app is wanted', () => {
    expect(released(new VersionChangeHolds(60), undefined, 1000)).to.eql(['old-0', 'old-1']);
  });
});
