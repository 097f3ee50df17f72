import { expect } from 'chai';
import { AnswerBuffers } from '../../../lib/health-manager/api/answer-buffers.js';
import { AppStateReport } from '../../../lib/health-manager/api/app-state.js';
import { AskedBefore } from '../../../lib/health-manager/api/asked-before.js';
import { MemoryStore } from '../../../lib/health-manager/store/memory/memory-store.js';
import { app, appState, desired, instance, received } from '../../support/health-records.js';
import { storeTimes } from '../store/store-contract.js';

describe('what Cloud Controllers are told when they ask again', () => {
  let now: number;
  let store: MemoryStore;
  let report: AppStateReport;

  beforeEach(async () => {
    now = 1000;
    store = new MemoryStore({ times: storeTimes, clock: () => now });
    report = new AppStateReport(store);
    await store.bumpActual();
    await store.syncDesired([desired(2)]);
    now = 1029;
    await store.bumpActual();
    now = 1030;
  });

  const questions = Buffer.from(
    JSON.stringify([
      { droplet: app.app, version: app.version },
      { droplet: 'other', version: app.version },
    ]),
  );

  async function told(): Promise<Record<string, { desired: { instances: number }; instance_heartbeats: unknown[] }>> {
    return JSON.parse((await report.ofBody(questions)).toString());
  }

  const running = async () => (await told())[app.app]?.instance_heartbeats.length;

  it('is the same as long as nothing changes', async () => {
    const first = await report.ofBody(questions);
    expect(first.equals(await report.ofBody(questions))).to.equal(true);
    expect(first.equals(await report.ofMany([app, { ...app, app: 'other' }]))).to.equal(true);
  });

  it('is new when an instance comes or goes, or another number is wanted', async () => {
    expect(await running()).to.equal(0);
    await store.saveHeartbeats([received('dea', [instance(0), instance(1)])]);
    expect(await running()).to.equal(2);
    await store.saveHeartbeats([received('dea', [instance(0)])]);
    expect(await running()).to.equal(1);
    await store.syncDesired([desired(5)]);
    expect((await told())[app.app]!.desired.instances).to.equal(5);
  });

  it('has no instances of an agent that fell silent', async () => {
    await store.saveHeartbeats([received('dea', [instance(0)])]);
    expect(await running()).to.equal(1);
    now += 20;
    await store.bumpActual();
    now += 11;
    expect(await running()).to.equal(0);
  });

  it('leaves an app out that was forgotten, and has it again when it comes back', async () => {
    expect(Object.keys(await told())).to.eql([app.app]);
    await store.syncDesired([]);
    expect(await told()).to.eql({});
    await store.syncDesired([desired(3)]);
    expect((await told())[app.app]!.desired.instances).to.equal(3);
  });

  it('has an app that was unknown before', async () => {
    await told();
    await store.syncDesired([desired(2), { ...desired(1), app: 'other' }]);
    expect(Object.keys(await told())).to.eql([app.app, 'other']);
  });

  it('is nothing when the state is not fresh any more', async () => {
    await told();
    await store.revokeActual();
    expect(await told()).to.eql({});
  });

  it('is JSON whatever names there are', async () => {
    const odd = { app: 'a"\\pp-ä', version: 'v"1' };
    const reported = instance(0, 'CR"ASHED', { ...odd, instance: 'i"\\0', dea: 'd"ea' });
    await store.syncDesired([{ ...desired(1), ...odd }]);
    await store.saveHeartbeats([received('d"ea', [reported])]);
    await store.saveOrders({
      crashCounts: [{ ...odd, index: 0, crashCount: 3, createdAt: 1000 }],
      starts: [],
      stops: [],
    });
    const name = { droplet: odd.app, version: odd.version };
    const heartbeat = { instance: 'i"\\0', index: 0, state: 'CR"ASHED', state_timestamp: 1000.5, dea_guid: 'd"ea' };
    const expected = {
      ...name,
      desired: { id: odd.app, version: odd.version, instances: 1, state: 'STARTED', package_state: 'STAGED' },
      instance_heartbeats: [{ ...name, ...heartbeat }],
      crash_counts: [{ ...name, instance_index: 0, crash_count: 3, created_at: 1000 }],
    };
    expect(JSON.parse((await report.ofMany([odd])).toString())).to.eql({ [odd.app]: expected });
    expect(JSON.parse((await report.ofOne(odd)).toString())).to.eql(expected);
  });

  it('is written to memory that is used again when it was sent, and not before', () => {
    const buffers = new AnswerBuffers();
    const [first, second] = [buffers.lease(100_000), buffers.lease(100_000)];
    first.bytes.fill(1);
    second.bytes.fill(2);
    expect(first.bytes[0]).to.equal(1);
    first.end();
    first.end();
    const [third, fourth] = [buffers.lease(110_000), buffers.lease(100_000)];
    expect(third.bytes.buffer).to.equal(first.bytes.buffer);
    expect([second.bytes.buffer, third.bytes.buffer]).not.to.include(fourth.bytes.buffer);
    expect([third.bytes.length, fourth.bytes.length]).to.eql([110_000, 100_000]);
  });

  it('is found by the lists that were asked last, whatever those are about', () => {
    const memory = new AskedBefore(10);
    const list = { apps: [1, 2, 3].map(() => appState()), unknown: [] };
    for (const name of ['a', 'b']) memory.remember(name, list);
    memory.get('a');
    memory.remember('c', list);
    expect(['a', 'b', 'c'].map((name) => memory.get(name) !== undefined)).to.eql([true, false, true]);
    memory.remember('d', { apps: [], unknown: [app] });
    expect(memory.get('d')).to.equal(undefined);
    memory.remember('a', { apps: [], unknown: [] });
    memory.remember('e', list);
    expect(['a', 'c', 'e'].map((name) => memory.get(name) !== undefined)).to.eql([true, true, true]);
  });
});
