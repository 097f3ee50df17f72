import { expect } from 'chai';
import type { App, AppChange } from '../../../lib/mini-cc/apps/app.js';
import { planChange } from '../../../lib/mini-cc/apps/app-plan.js';
import { anApp } from '../../support/apps.js';

const running = anApp({
  state: 'STARTED',
  package_state: 'STAGED',
  package_hash: 'p',
  droplet_hash: 'd',
  instances: 2,
  diego: true,
});
const onCells = { ...running, diego: false };
const { guid: droplet, version } = running;
const plan = (before: App, change: AppChange, isHandingOver = false) =>
  planChange(before, change, 'new', isHandingOver);
const desire = { kind: 'desire', isAside: false };
const desireAside = { kind: 'desire', isAside: true };

describe('the plan of a change on Diego', () => {
  it('desires a started app once, whatever the number of instances, and does not roll back', () => {
    const { after, actions, rollback, handOver } = plan({ ...running, state: 'STOPPED' }, { state: 'STARTED' });
    expect([after.version, actions, rollback, handOver]).to.deep.equal(['new', [desire], undefined, undefined]);
    expect(plan({ ...running, state: 'STOPPED', instances: 0 }, { state: 'STARTED' }).actions).to.deep.equal([desire]);
  });

  it('stages before it desires', () => {
    const pending = { ...running, state: 'STOPPED', package_state: 'PENDING' } as const;
    expect(plan(pending, { state: 'STARTED' }).actions).to.deep.equal([{ kind: 'stage' }]);
  });

  it('desires anew when the number of instances or the routes change, in the same version', () => {
    const { after, actions } = plan(running, { instances: 5, routes: ['b.example.com'] });
    expect([after.version, actions]).to.deep.equal([version, [desire]]);
  });

  it('leaves a change of memory to the bulk data', () => {
    const { after, actions } = plan(running, { memory: 512 });
    expect([after.version, actions]).to.deep.equal(['new', []]);
  });

  it('stops the app on Diego alone, and its staging', () => {
    expect(plan(running, { state: 'STOPPED' }).actions).to.deep.equal([{ kind: 'undesire', isAside: false }]);
    const staging = { ...running, package_state: 'PENDING', staging_task_id: 't' } as const;
    expect(plan(staging, { state: 'STOPPED' }).actions).to.deep.equal([
      { kind: 'cancel-staging', backend: 'diego', taskId: 't' },
      { kind: 'undesire', isAside: false },
    ]);
  });
});

describe('the plan of a change of sides', () => {
  it('to Diego desires the app in its version, and stops nothing on cells', () => {
    const { after, actions, handOver } = plan(onCells, { diego: true });
    expect([after.version, actions, handOver]).to.deep.equal([version, [desire], 'diego']);
  });

  it('to cells starts what is missing there, and does not roll back', () => {
    const { after, actions, handOver, rollback } = plan(running, { diego: false });
    expect([after.version, actions, handOver, rollback]).to.deep.equal([
      version,
      [{ kind: 'start-missing', indices: [0, 1] }],
      'dea',
      undefined,
    ]);
  });

  it('hands over nothing of a stopped app', () => {
    const stopped = { ...onCells, state: 'STOPPED' } as const;
    expect(plan(stopped, { diego: true })).to.deep.include({
      actions: [{ kind: 'undesire', isAside: false }],
      handOver: undefined,
    });
    expect(plan(stopped, { diego: true, state: 'STARTED' })).to.deep.include({
      actions: [desire],
      handOver: undefined,
    });
  });

  it('has a staging begun anew where the app goes', () => {
    const staging = { ...onCells, package_state: 'PENDING', staging_task_id: 't' } as const;
    const cancelled = { kind: 'cancel-staging', backend: 'dea', taskId: 't' };
    expect(plan(staging, { diego: true }).actions).to.deep.equal([cancelled, { kind: 'stage' }]);
    const { after, actions } = plan({ ...staging, instances: 0 }, { diego: true });
    expect([after.staging_task_id, actions]).to.deep.equal([null, [cancelled]]);
  });

  it('stops both sides when the app is stopped with it, or on the way', () => {
    const stop = { kind: 'stop', message: { droplet } };
    expect(plan(onCells, { diego: true, state: 'STOPPED' }).actions).to.deep.equal([
      stop,
      { kind: 'undesire', isAside: false },
    ]);
    expect(plan(onCells, { state: 'STOPPED' }, true).actions).to.deep.equal([
      stop,
      { kind: 'undesire', isAside: true },
    ]);
  });

  it('tells both sides of new routes and numbers while it goes on', () => {
    expect(plan(running, { routes: [] }, true).actions).to.deep.equal([{ kind: 'update-routes' }, desire]);
    expect(plan(running, { instances: 3 }, true).actions).to.deep.equal([desire]);
    expect(plan(onCells, { routes: [] }, true).actions).to.deep.equal([{ kind: 'update-routes' }, desireAside]);
    expect(plan(onCells, { instances: 3 }, true).actions).to.deep.equal([desireAside, { kind: 'start', indices: [2] }]);
  });
});
