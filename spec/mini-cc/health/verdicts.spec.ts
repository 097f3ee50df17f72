import { expect } from 'chai';
import type { App } from '../../../lib/mini-cc/apps/app.js';
import { indicesToStart, instancesToStop, mayStart, mustStop } from '../../../lib/mini-cc/health/verdicts.js';
import { anApp } from '../../support/apps.js';

const version = 'v2';
const running = (more: Partial<App> = {}) =>
  anApp({ version, state: 'STARTED', package_state: 'STAGED', droplet_hash: 'b658', instances: 3, ...more });

describe('an order to start an instance', () => {
  const order = { droplet: 'app', version, instance_index: 2 };

  it('is carried out for a missing index of a started, staged app', () => {
    expect(mayStart(running(), order)).to.equal(true);
  });

  const outdated: [reason: string, app: App | undefined][] = [
    ['the app is unknown', undefined],
    ['the app is on Diego', running({ diego: true })],
    ['another version is current', running({ version: 'v3' })],
    ['the index is beyond the number of instances', running({ instances: 2 })],
    ['there is no droplet', running({ droplet_hash: null })],
    ['the app is being staged', running({ package_state: 'PENDING' })],
    ['the staging has failed', running({ package_state: 'FAILED' })],
    ['the app is stopped', running({ state: 'STOPPED' })],
  ];
  for (const [reason, app] of outdated) {
    it(`is ignored when ${reason}`, () => expect(mayStart(app, order)).to.equal(false));
  }
});

describe('an order to stop an instance', () => {
  const order = { droplet: 'app', version, instance_guid: 'f2c1', instance_index: 2, is_duplicate: false };

  it('is ignored when the index is wanted once', () => {
    expect(mustStop(running(), order)).to.equal(false);
    expect(mustStop(running({ package_state: 'PENDING' }), order)).to.equal(false);
  });

  it('is carried out for a duplicate, whatever else is true of it', () => {
    expect(mustStop(running(), { ...order, is_duplicate: true })).to.equal(true);
  });

  const unwanted: [reason: string, app: App | undefined][] = [
    ['the app is unknown', undefined],
    ['the app is on Diego', running({ diego: true })],
    ['the staging has failed', running({ package_state: 'FAILED' })],
    ['another version is current', running({ version: 'v3' })],
    ['the index is beyond the number of instances', running({ instances: 2 })],
    ['the app is stopped', running({ state: 'STOPPED' })],
  ];
  for (const [reason, app] of unwanted) {
    it(`is carried out when ${reason}`, () => expect(mustStop(app, order)).to.equal(true));
  }
});

describe('an order to stop an instance of an app on its way to Diego', () => {
  const order = { droplet: 'app', version, instance_guid: 'f2c1', instance_index: 2, is_duplicate: false };
  const handOver = { app_guid: 'app', target: 'diego', version, begun_at: '2015-06-30T13:52:36.000Z' } as const;
  const leaving = (change: Partial<App> = {}) => running({ diego: true, version: 'v3', ...change });

  it('is ignored in the version that cells have', () => {
    expect(mustStop(leaving(), order, handOver)).to.equal(false);
    const old = { droplet: 'app', instances: { f2c1: version, other: 'v1' }, running: {} };
    expect(instancesToStop(leaving(), old, handOver)).to.deep.equal(['other']);
  });

  it('is carried out for what nobody wants', () => {
    expect(mustStop(leaving(), { ...order, is_duplicate: true }, handOver)).to.equal(true);
    expect(mustStop(leaving({ instances: 2 }), order, handOver)).to.equal(true);
    expect(mustStop(leaving(), { ...order, version: 'v1' }, handOver)).to.equal(true);
    expect(mustStop(leaving({ state: 'STOPPED' }), order, handOver)).to.equal(true);
    expect(mustStop(leaving(), order)).to.equal(true);
  });
});

describe('the orders of a health manager of before March 2014', () => {
  it('start no more indices than are missing by its own count', () => {
    const order = { droplet: 'app', version, indices: [0, 1, 2, 2], running: { v2: 2 } };
    expect(indicesToStart(running(), { ...order, running: {} })).to.deep.equal([0, 1, 2]);
    expect(indicesToStart(running(), order)).to.deep.equal([0]);
    expect(indicesToStart(running({ instances: 2 }), { ...order, running: {} })).to.deep.equal([0, 1]);
    expect(indicesToStart(running({ version: 'v3' }), order)).to.deep.equal([]);
    expect(indicesToStart(running({ diego: true }), order)).to.deep.equal([]);
  });

  it('stop what is of another version, and of the current one only what is too much', () => {
    const order = { droplet: 'app', instances: { old: 'v1', a: version, b: version }, running: { v1: 1, v2: 4 } };
    expect(instancesToStop(running(), order)).to.deep.equal(['old', 'a']);
    expect(instancesToStop(running({ instances: 4 }), order)).to.deep.equal(['old']);
    expect(instancesToStop(running({ state: 'STOPPED' }), order)).to.deep.equal(['old', 'a', 'b']);
    expect(instancesToStop(undefined, order)).to.deep.equal(['old', 'a', 'b']);
  });
});
