import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EmbeddedLockStore } from '../../../lib/locks/embedded/embedded-store.js';
import { persistentOwnerId } from '../../../lib/locks/owner-id.js';
import { PresenceRunner, type PresenceRunnerOptions } from '../../../lib/locks/runners/presence-runner.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { rejectionOf } from '../../support/rejection.js';
import { ScriptedLocks } from '../../support/scripted-locks.js';
import { presence } from '../store-contract.js';

describe('PresenceRunner', () => {
  let store: EmbeddedLockStore;
  let locks: ScriptedLocks;
  const runners: PresenceRunner[] = [];

  function start(options: Partial<PresenceRunnerOptions> = {}) {
    const events: string[] = [];
    const runner = new PresenceRunner({
      locks,
      key: 'cell-1',
      owner: 'one',
      ttlMs: 1000,
      retryIntervalMs: 50,
      logger: silentLogger,
      onHeld: () => events.push('held'),
      onLost: () => events.push('lost'),
      ...options,
    });
    runners.push(runner);
    runner.start();
    const sees = (...expected: string[]) =>
      eventually(() => {
        expect(events).to.deep.equal(expected);
        return true;
      });
    return { runner, sees };
  }

  beforeEach(async () => {
    store = new EmbeddedLockStore();
    await store.start();
    locks = new ScriptedLocks(store);
  });

  afterEach(async () => {
    locks.instead = undefined;
    await Promise.all(runners.splice(0).map((runner) => runner.stop()));
    await store.stop();
  });

  it('says that its component is there, with the value of the moment, until it stops', async () => {
    let value = 'before';
    const { runner, sees } = start({ value: () => value });
    await runner.whenHeld();
    expect(await store.list('presence')).to.deep.equal([presence('cell-1', 'one', 'before')]);
    value = 'after';
    runner.renew();
    await eventually(async () => (await store.fetch('cell-1'))?.value === 'after' || undefined);
    await eventually(() => locks.acquires > 7 || undefined, { what: 'renewals over more than a ttl' });
    expect(runner.isValid()).to.equal(true);
    await sees('held');
    await runner.stop();
    expect(await store.list('presence')).to.deep.equal([]);
  });

  it('loses it when another has it, and gets it back', async () => {
    const { runner, sees } = start();
    await runner.whenHeld();
    await store.release('cell-1', 'one');
    await store.acquire(presence('cell-1', 'two'), 60_000);
    await sees('held', 'lost');
    expect(runner.isValid()).to.equal(false);
    await store.release('cell-1', 'two');
    await sees('held', 'lost', 'held');
    expect(runner.isValid()).to.equal(true);
  });

  it('loses it when nobody answers for too long, and goes on trying', async () => {
    const { runner, sees } = start();
    await runner.whenHeld();
    locks.instead = () => new Promise<never>(() => {});
    await sees('held', 'lost');
    locks.instead = () => Promise.reject(new Error('refused'));
    const before = locks.acquires;
    await eventually(() => locks.acquires > before + 2 || undefined, { what: 'more attempts' });
    locks.instead = undefined;
    await sees('held', 'lost', 'held');
  });

  it('waits for the presence of a namesake to end', async () => {
    await store.acquire(presence('cell-1', 'other'), 300);
    const { runner } = start();
    await runner.whenHeld();
    expect((await store.fetch('cell-1'))?.owner).to.equal('one');
  });
});

describe('persistentOwnerId', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'owner-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  it('stays the same, so that a component that restarts renews its presence', async () => {
    const path = join(directory, 'deep', 'owner');
    const id = await persistentOwnerId(path);
    expect(id).to.match(/^[0-9a-f-]{36}$/);
    expect(await persistentOwnerId(path)).to.equal(id);
  });

  it('refuses a file that holds none', async () => {
    const path = join(directory, 'owner');
    await writeFile(path, '\n');
    expect((await rejectionOf(persistentOwnerId(path))).message).to.equal(`${path}: holds no owner id`);
  });
});
