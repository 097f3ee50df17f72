import { expect } from 'chai';
import { analyze } from '../../../lib/health-manager/decisions/analysis.js';
import type { AppState } from '../../../lib/health-manager/records.js';
import { appState, desired, instance, type StateParts, start, stop } from '../../support/health-records.js';

const settings = { gracePeriod: 30, crashesBeforeBackoff: 3, startingDelay: 30, maximumDelay: 960 };
const now = 5000;

function analyzed(parts: StateParts | AppState) {
  const state = 'app' in parts ? parts : appState(parts);
  let sequence = 0;
  const findings = analyze(state, {
    settings,
    now,
    newMessageId: () => {
      sequence += 1;
      return `new-${sequence}`;
    },
  });
  return {
    ...findings,
    startsAt: findings.starts.map(({ index }) => index),
    stopsOf: findings.stops.map((found) => found.instance),
  };
}

describe('the analysis of an app', () => {
  it('1. leaves an app alone that has what it wants', () => {
    const { starts, stops } = analyzed({ desired: desired(2), instances: [instance(0), instance(1, 'STARTING')] });
    expect([starts, stops]).to.eql([[], []]);
  });

  it('5. finds a start for each missing index, due after the grace period', () => {
    const { starts } = analyzed({ desired: desired(2), instances: [instance(0)] });
    expect(starts).to.eql([
      {
        app: 'app-guid',
        version: 'app-version',
        messageId: 'new-1',
        sendOn: now + 30,
        sentOn: 0,
        keepAlive: 0,
        index: 1,
        priority: 0.5,
        skipVerification: false,
        reason: 'MISSING',
      },
    ]);
  });

  it('finds no second start for an index that has one waiting or sent', () => {
    const waiting = [start(0), start(1, { sentOn: now - 5 })];
    expect(analyzed({ desired: desired(2), pendingStarts: waiting }).starts).to.eql([]);
  });

  it('gives up starts that wait for an index that is not wanted any more, but none that were sent or are for certain', () => {
    const waiting = [0, 1, 2].map((index) => start(index, { sendOn: now + 900 }));
    const others = [start(3, { sentOn: now - 5 }), start(4, { skipVerification: true })];
    const outdated = (parts: StateParts) =>
      analyzed({ pendingStarts: [...waiting, ...others], ...parts }).outdated.map(({ index }) => index);
    expect(outdated({ desired: desired(2) })).to.eql([2]);
    expect(outdated({ desired: desired(2), instances: [instance(0), instance(1)] })).to.eql([2]);
    expect(outdated({})).to.eql([0, 1, 2]);
  });

  it('does not take an unknown state for a filled index, nor ever stop it', () => {
    const { startsAt, stops } = analyzed({
      desired: desired(1),
      instances: [instance(0, 'PONDERING'), instance(3, 'X')],
    });
    expect(startsAt).to.eql([0]);
    expect(stops).to.eql([]);
  });

  it('7. neither starts nor stops while the app is being staged', () => {
    const running = analyzed({ desired: desired(1, 'PENDING'), instances: [instance(0)] });
    const empty = analyzed({ desired: desired(1, 'PENDING') });
    expect([running.starts, running.stops, empty.starts]).to.eql([[], [], []]);
  });

  it('8. stops at once what is not wanted', () => {
    const unwanted = instance(0);
    const { stops } = analyzed({ instances: [unwanted] });
    expect(stops).to.have.length(1);
    expect(stops[0]).to.include({ instance: unwanted.instance, reason: 'EXTRA', sendOn: now, keepAlive: 30 });
  });

  it('9. stops an instance beyond the wanted number', () => {
    const extra = instance(1);
    expect(analyzed({ desired: desired(1), instances: [instance(0), extra] }).stopsOf).to.eql([extra.instance]);
  });

  it('stops all instances of an app that wants none', () => {
    const extra = instance(0);
    expect(analyzed({ desired: desired(0), instances: [extra] }).stopsOf).to.eql([extra.instance]);
  });

  it('10. stops nothing in the pass that finds a start, and the surplus in the next', () => {
    const extra = instance(2);
    const instances = [instance(1), extra];
    const first = analyzed({ desired: desired(2), instances });
    expect([first.startsAt, first.stopsOf]).to.eql([[0], []]);
    const second = analyzed({ desired: desired(2), instances, pendingStarts: first.starts });
    expect([second.startsAt, second.stopsOf]).to.eql([[], [extra.instance]]);
  });

  it('12. lets duplicates live for a while, the youngest for the shortest', () => {
    const [old, young] = [
      instance(0, 'RUNNING', { stateTimestamp: 10 }),
      instance(0, 'RUNNING', { stateTimestamp: 99 }),
    ];
    const { stops } = analyzed({ desired: desired(1), instances: [old, young] });
    expect(stops.map((found) => [found.instance, found.sendOn, found.reason])).to.eql([
      [young.instance, now + 120, 'DUPLICATE'],
      [old.instance, now + 150, 'DUPLICATE'],
    ]);
  });

  it('finds no second stop for an instance that has one waiting', () => {
    const extra = instance(1);
    const { stops } = analyzed({
      desired: desired(1),
      instances: [instance(0), extra],
      pendingStops: [stop(extra.instance)],
    });
    expect(stops).to.eql([]);
  });

  it('13. tries out one index of an app that crashes everywhere, and stops nothing', () => {
    const instances = [0, 1, 2].map((index) => instance(index, 'CRASHED'));
    const { startsAt, stops, crashCounts } = analyzed({ desired: desired(3), instances });
    expect(startsAt).to.eql([0]);
    expect(stops).to.eql([]);
    expect(crashCounts).to.eql([{ index: 0, crashCount: 1, createdAt: now }]);
  });

  it('14. starts all crashed indices of an app that runs somewhere', () => {
    const { startsAt, stops } = analyzed({
      desired: desired(3),
      instances: [instance(0, 'CRASHED'), instance(1), instance(2, 'CRASHED')],
    });
    expect(startsAt).to.eql([0, 2]);
    expect(stops).to.eql([]);
  });

  it('15. waits longer with every crash, and counts when it decides to start', () => {
    const crashCounts = [{ index: 0, crashCount: 4, createdAt: 17 }];
    const found = analyzed({ desired: desired(1), instances: [instance(0, 'CRASHED')], crashCounts });
    expect(found.starts[0]).to.include({ sendOn: now + 60, keepAlive: 30, reason: 'CRASHED' });
    expect(found.crashCounts).to.eql([{ index: 0, crashCount: 5, createdAt: 17 }]);
    const again = analyzed({
      desired: desired(1),
      instances: [instance(0, 'CRASHED')],
      crashCounts,
      pendingStarts: found.starts,
    });
    expect([again.starts, again.crashCounts]).to.eql([[], []]);
  });

  it('counts an index as filled whose new instance runs beside the crashed one', () => {
    const { starts } = analyzed({ desired: desired(1), instances: [instance(0, 'CRASHED'), instance(0, 'STARTING')] });
    expect(starts).to.eql([]);
  });

  describe('of which instances evacuate', () => {
    it('21. starts a substitute at once, before everything else', () => {
      const { starts, stops } = analyzed({ desired: desired(1), instances: [instance(0, 'EVACUATING')] });
      expect(starts).to.have.length(1);
      expect(starts[0]).to.include({ index: 0, priority: 2, sendOn: now, keepAlive: 30, reason: 'EVACUATING' });
      expect(stops).to.eql([]);
    });

    it('22. stops the evacuating one when its substitute runs', () => {
      const leaving = instance(0, 'EVACUATING');
      const { starts, stops } = analyzed({ desired: desired(1), instances: [leaving, instance(0)] });
      expect(starts).to.eql([]);
      expect(stops.map((found) => [found.instance, found.reason])).to.eql([[leaving.instance, 'EVACUATION_COMPLETE']]);
    });

    it('22. waits while the substitute starts', () => {
      const instances = [instance(0, 'EVACUATING'), instance(0, 'STARTING')];
      const { starts, stops } = analyzed({ desired: desired(1), instances });
      expect([starts, stops]).to.eql([[], []]);
    });

    it('23. does not wait for the substitute of an unstable app', () => {
      const leaving = instance(0, 'EVACUATING');
      const { startsAt, stopsOf } = analyzed({
        desired: desired(1),
        instances: [leaving],
        crashCounts: [{ index: 0, crashCount: 1, createdAt: 17 }],
      });
      expect([startsAt, stopsOf]).to.eql([[0], [leaving.instance]]);
    });

    it('23. only stops what evacuates beyond the wanted number', () => {
      const leaving = instance(1, 'EVACUATING');
      const { starts, stops } = analyzed({ desired: desired(1), instances: [instance(0), leaving] });
      expect(starts).to.eql([]);
      expect(stops.map((found) => [found.instance, found.reason])).to.eql([[leaving.instance, 'EXTRA']]);
    });

    it('stops and substitutes that of an app that is being staged again', () => {
      const leaving = instance(0, 'EVACUATING');
      const { startsAt, stopsOf } = analyzed({ desired: desired(1, 'PENDING'), instances: [leaving] });
      expect([startsAt, stopsOf]).to.eql([[0], [leaving.instance]]);
    });
  });
});
