import { expect } from 'chai';
import { isStartWanted, verifyStop } from '../../../lib/health-manager/decisions/verification.js';
import { appState, desired, instance, start, stop } from '../../support/health-records.js';

describe('the last look at an order before it goes out', () => {
  it('lets a start pass whose index is still empty', () => {
    expect(isStartWanted(start(1), appState({ desired: desired(2), instances: [instance(0)] }))).to.equal(true);
  });

  it('refuses a start of an app that is unknown or not wanted, beyond the wanted number, or filled meanwhile', () => {
    const refused = [
      undefined,
      appState({ instances: [instance(0)] }),
      appState({ desired: desired(1) }),
      appState({ desired: desired(2), instances: [instance(1, 'STARTING')] }),
    ];
    for (const app of refused) expect(isStartWanted(start(1), app)).to.equal(false);
  });

  it('is not kept from a start by crashed and evacuating instances', () => {
    const instances = [instance(1, 'CRASHED'), instance(1, 'EVACUATING')];
    expect(isStartWanted(start(1), appState({ desired: desired(2), instances }))).to.equal(true);
  });

  it('lets a start pass that is not to be verified', () => {
    expect(isStartWanted(start(7, { skipVerification: true }), undefined)).to.equal(true);
  });

  it('stops what is not wanted as no duplicate', () => {
    const extra = instance(1);
    const verdict = { index: 1, isDuplicate: false };
    expect(verifyStop(stop(extra.instance), appState({ instances: [extra] }))).to.eql(verdict);
    expect(verifyStop(stop(extra.instance), appState({ desired: desired(1), instances: [extra] }))).to.eql(verdict);
  });

  it('stops one of two on an index as a duplicate, and never the last', () => {
    const [first, second] = [instance(0), instance(0)];
    const both = appState({ desired: desired(1), instances: [first, second] });
    expect(verifyStop(stop(first.instance), both)).to.eql({ index: 0, isDuplicate: true });
    const one = appState({ desired: desired(1), instances: [second] });
    expect(verifyStop(stop(second.instance), one)).to.equal(undefined);
  });

  it('does not count on one that is being stopped itself', () => {
    const [first, second] = [instance(0), instance(0)];
    const both = appState({ desired: desired(1), instances: [first, second] });
    expect(verifyStop(stop(second.instance), both, (other) => other === first.instance)).to.equal(undefined);
  });

  it('stops an evacuating instance of a wanted index', () => {
    const leaving = instance(0, 'EVACUATING');
    const app = appState({ desired: desired(1), instances: [leaving] });
    expect(verifyStop(stop(leaving.instance), app)).to.eql({ index: 0, isDuplicate: true });
  });

  it('refuses a stop of what is not known any more, however many others share index 0', () => {
    const app = appState({ desired: desired(1), instances: [instance(0), instance(0)] });
    expect(verifyStop(stop('gone'), app)).to.equal(undefined);
    expect(verifyStop(stop('gone'), undefined)).to.equal(undefined);
  });
});
