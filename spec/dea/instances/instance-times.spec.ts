import { expect } from 'chai';
import { InstanceTimes } from '../../../lib/dea/instances/instance-times.js';

describe('the times of an instance', () => {
  let wallMs: number;
  let monotonicMs: number;
  let times: InstanceTimes;

  beforeEach(() => {
    wallMs = 1_458_249_840_000;
    monotonicMs = 5_000;
    times = new InstanceTimes({ clock: () => wallMs, monotonicClock: () => monotonicMs });
    times.enter('BORN');
  });

  it('are the time of day for peers', () => {
    times.enter('STARTING');
    times.markStarted();
    wallMs += 2_000;
    times.enter('RUNNING');
    expect(times.since('RUNNING')).to.equal(1_458_249_842_000);
    expect(times.startedAtMs).to.equal(1_458_249_840_000);
    expect(times.entered.map(([state]) => state)).to.deep.equal(['BORN', 'STARTING', 'RUNNING']);
  });

  for (const [what, jumpMs] of [
    ['forward', 86_400_000],
    ['back', -86_400_000],
  ] as const) {
    it(`keep their ages when the clock is set ${what} by a day`, () => {
      times.markStarted();
      times.enter('CRASHED');
      wallMs += jumpMs;
      monotonicMs += 3_000;
      expect(times.stateAgeMs).to.equal(3_000);
      expect(times.uptimeMs).to.equal(3_000);
    });
  }

  it('count an uptime on that an earlier agent began, and never from the future', () => {
    times.restoreStart(wallMs - 60_000);
    monotonicMs += 1_000;
    expect(times.uptimeMs).to.equal(61_000);
    times.restoreStart(wallMs + 60_000);
    monotonicMs += 1_000;
    expect(times.uptimeMs).to.equal(1_000);
  });

  it('tell no uptime before the start', () => {
    expect(times.uptimeMs).to.equal(0);
    expect(times.startedAtMs).to.equal(undefined);
  });
});
