import { expect } from 'chai';
import { Census, unknownCensus } from '../../../lib/health-manager/decisions/census.js';
import { appState, desired, instance, type StateParts } from '../../support/health-records.js';

function count(...apps: StateParts[]) {
  const census = new Census();
  for (const parts of apps) census.add(appState(parts));
  return census.figures;
}

describe('the census of an analysis', () => {
  it('37. counts what is missing', () => {
    expect(count({ desired: desired(2), instances: [instance(0)] })).to.eql({
      NumberOfDesiredApps: 1,
      NumberOfDesiredInstances: 2,
      NumberOfDesiredAppsPendingStaging: 0,
      NumberOfAppsWithAllInstancesReporting: 0,
      NumberOfAppsWithMissingInstances: 1,
      NumberOfMissingIndices: 1,
      NumberOfUndesiredRunningApps: 0,
      NumberOfRunningInstances: 1,
      NumberOfCrashedInstances: 0,
      NumberOfCrashedIndices: 0,
    });
  });

  it('takes a crashed index for one that reports', () => {
    const figures = count({ desired: desired(1), instances: [instance(0, 'CRASHED'), instance(0, 'CRASHED')] });
    expect(figures).to.include({
      NumberOfAppsWithAllInstancesReporting: 1,
      NumberOfCrashedInstances: 2,
      NumberOfCrashedIndices: 1,
    });
  });

  it('does not count an index as crashed that runs again', () => {
    const figures = count({ desired: desired(1), instances: [instance(0, 'CRASHED'), instance(0)] });
    expect(figures.NumberOfCrashedIndices).to.equal(0);
  });

  it('37. counts an app that is being staged apart from the others', () => {
    expect(count({ desired: desired(3, 'PENDING') })).to.include({
      NumberOfDesiredAppsPendingStaging: 1,
      NumberOfDesiredApps: 0,
      NumberOfDesiredInstances: 0,
      NumberOfAppsWithMissingInstances: 0,
    });
  });

  it('counts apps that run although nobody wants them', () => {
    const figures = count({ instances: [instance(0)] }, { instances: [instance(0, 'CRASHED')] });
    expect(figures.NumberOfUndesiredRunningApps).to.equal(1);
  });

  it('is all -1 when nothing can be said', () => {
    expect(new Set(Object.values(unknownCensus()))).to.eql(new Set([-1]));
  });
});
