import { expect } from 'chai';
import { actualLrpFilter, desiredLrpFilter, taskFilter } from '../../../lib/bbs/decisions/filters.js';
import { ActualLRPsRequest, DesiredLRP, Task } from '../../../lib/bbs/messages/models.js';
import { i, running } from './instances.js';

describe('filters of lists', () => {
  it('let everything through when nothing is asked for', () => {
    expect(actualLrpFilter(ActualLRPsRequest.create())(running(i))).to.equal(true);
    expect(desiredLrpFilter({})(DesiredLRP.create())).to.equal(true);
    expect(taskFilter({})(Task.create())).to.equal(true);
  });

  it('of actual LRPs want all that is given, index 0 too', () => {
    const passes = (request: Partial<ActualLRPsRequest>) =>
      actualLrpFilter(ActualLRPsRequest.create(request))(running(i));
    expect(passes({ domain: 'd', cellId: 'c', processGuid: 'p', index: 0 })).to.equal(true);
    for (const other of [{ domain: 'x' }, { cellId: 'x' }, { processGuid: 'x' }, { index: 1 }]) {
      expect(passes({ index: 0, ...other })).to.equal(false);
    }
  });

  it('of desired LRPs want one of the guids', () => {
    const passes = desiredLrpFilter({ domain: 'd', processGuids: ['p', 'q'] });
    expect(passes(DesiredLRP.create({ processGuid: 'q', domain: 'd' }))).to.equal(true);
    expect(passes(DesiredLRP.create({ processGuid: 'r', domain: 'd' }))).to.equal(false);
    expect(passes(DesiredLRP.create({ processGuid: 'q', domain: 'e' }))).to.equal(false);
  });

  it('take the whole guid of an app for that app only, and anything else for a beginning', () => {
    const app = '0c5bd3ae-5d0a-4d2f-9d0b-6c1d2e3f4a5b';
    const passes = (appGuid: string, processGuid: string) =>
      desiredLrpFilter({ appGuids: [appGuid] })(DesiredLRP.create({ processGuid }));
    expect(passes(app, `${app}-version`)).to.equal(true);
    expect(passes(app, app)).to.equal(true);
    expect(passes(app, `${app}0-version`)).to.equal(false);
    expect(passes('0c5b', `${app}-version`)).to.equal(true);
  });

  it('of tasks want domain and cell', () => {
    const task = Task.create({ domain: 'd', cellId: 'c' });
    expect(taskFilter({ domain: 'd', cellId: 'c' })(task)).to.equal(true);
    expect(taskFilter({ domain: 'd', cellId: 'e' })(task)).to.equal(false);
  });
});
