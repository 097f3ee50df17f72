import { expect } from 'chai';
import type { App, AppChange } from '../../../lib/mini-cc/apps/app.js';
import { planChange } from '../../../lib/mini-cc/apps/app-plan.js';
import { anApp } from '../../support/apps.js';

const running = anApp({
  state: 'STARTED',
  package_state: 'STAGED',
  package_hash: 'p',
  droplet_hash: 'd',
  instances: 3,
});
const { guid: droplet, version } = running;
const plan = (before: App, change: AppChange) => planChange(before, change, 'new');

describe('the plan of a change', () => {
  it('starts every index of a staged app, with a new version', () => {
    const { after, actions } = plan({ ...running, state: 'STOPPED' }, { state: 'STARTED' });
    expect(after.version).to.equal('new');
    expect(actions).to.deep.equal([{ kind: 'start', indices: [0, 1, 2] }]);
  });

  it('stages an app with a package that is not staged, also after a failure', () => {
    for (const package_state of ['PENDING', 'FAILED'] as const) {
      const { actions } = plan({ ...running, state: 'STOPPED', package_state }, { state: 'STARTED' });
      expect(actions).to.deep.equal([{ kind: 'stage' }]);
    }
  });

  it('does not stage an app that is to have no instances', () => {
    const stopped = anApp({ package_hash: 'p', instances: 0 });
    expect(plan(stopped, { state: 'STARTED' }).actions).to.deep.equal([]);
    const started = { ...stopped, state: 'STARTED' } as const;
    expect(plan(started, { instances: 2 }).actions).to.deep.equal([{ kind: 'stage' }]);
  });

  it('stops all versions of a stopped app', () => {
    const { after, actions } = plan(running, { state: 'STOPPED' });
    expect(after.version).to.equal(version);
    expect(actions).to.deep.equal([{ kind: 'stop', message: { droplet } }]);
  });

  it('gives up a staging together with its app', () => {
    const staging = { ...running, package_state: 'PENDING', staging_task_id: 't' } as const;
    const { after, actions } = plan(staging, { state: 'STOPPED' });
    expect(after.staging_task_id).to.equal(null);
    expect(actions.map(({ kind }) => kind)).to.deep.equal(['stop', 'cancel-staging']);
  });

  it('starts only the new indices when scaling up', () => {
    expect(plan(running, { instances: 5 }).actions).to.deep.equal([{ kind: 'start', indices: [3, 4] }]);
  });

  it('stops only the superfluous indices of the version when scaling down', () => {
    const five = { ...running, instances: 5 };
    expect(plan(five, { instances: 2 }).actions).to.deep.equal([
      { kind: 'stop', message: { droplet, version, indices: [2, 3, 4] } },
    ]);
  });

  it('tells nobody of an unchanged number of instances', () => {
    expect(plan(running, { instances: 3 }).actions).to.deep.equal([]);
  });

  it('changes only the version when memory changes while started', () => {
    const { after, actions } = plan(running, { memory: 512 });
    expect(after).to.include({ memory: 512, version: 'new' });
    expect(actions).to.deep.equal([]);
  });

  it('keeps the version when memory changes while stopped', () => {
    expect(plan({ ...running, state: 'STOPPED' }, { memory: 512 }).after.version).to.equal(version);
  });

  it('gives a new version with new routes, and tells the agents of a running app', () => {
    const { after, actions } = plan(running, { routes: ['shop.example.com', 'b.example.com'] });
    expect(after.version).to.equal('new');
    expect(actions).to.deep.equal([{ kind: 'update-routes' }]);
  });

  it('tells agents of new routes before it stops indices by the new version', () => {
    const { actions } = plan(running, { routes: [], instances: 1 });
    expect(actions).to.deep.equal([
      { kind: 'update-routes' },
      { kind: 'stop', message: { droplet, version: 'new', indices: [1, 2] } },
    ]);
  });

  it('sees no change in another order of the routes', () => {
    const two = { ...running, routes: ['a.b', 'c.d'] };
    expect(plan(two, { routes: ['c.d', 'a.b'] }).after.version).to.equal(version);
  });

  it('sends nothing to agents for an app that is not staged', () => {
    const pending = { ...running, package_state: 'PENDING' } as const;
    expect(plan(pending, { instances: 1 }).actions).to.deep.equal([]);
    expect(plan(pending, { routes: [] }).actions).to.deep.equal([]);
  });

  it('puts back state or number of instances when a start fails, and stops what was started', () => {
    const stopped = { ...running, state: 'STOPPED' } as const;
    expect(plan(stopped, { state: 'STARTED' }).rollback).to.deep.equal({
      change: { state: 'STOPPED', instances: 3 },
      stop: { droplet },
    });
    expect(plan(running, { instances: 5 }).rollback).to.deep.equal({
      change: { instances: 3 },
      stop: { droplet, version, indices: [3, 4] },
    });
  });
});
