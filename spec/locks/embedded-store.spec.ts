import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EmbeddedLockStore } from '../../lib/locks/embedded/embedded-store.js';
import { LockCollision, type LockStore } from '../../lib/locks/lock-store.js';
import { eventually } from '../support/eventually.js';
import { rejectionOf } from '../support/rejection.js';
import { behavesAsLockStore, lock } from './store-contract.js';

describe('EmbeddedLockStore', () => {
  let directory: string;
  const running: LockStore[] = [];

  async function start(options: { directory?: string } = { directory }): Promise<EmbeddedLockStore> {
    const store = new EmbeddedLockStore(options);
    running.push(store);
    await store.start();
    return store;
  }

  /** What a process leaves that is killed: the files as they are at this moment. */
  async function crash(store: EmbeddedLockStore): Promise<void> {
    const file = join(directory, 'locks.json');
    const left = await readFile(file);
    await store.stop();
    await writeFile(file, left);
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'locks-'));
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((store) => store.stop()));
    await rm(directory, { recursive: true });
  });

  describe('in memory', () => behavesAsLockStore({ store: () => start({}) }));

  describe('in a directory', () => {
    describe('as every store', () => behavesAsLockStore({ store: () => start() }));

    it('keeps who has what over a crash, so that nobody else gets it before it expires', async () => {
      const first = await start();
      const { token } = await first.acquire(lock('a', 'one', 'v'), 60_000);
      await first.acquire(lock('short', 'one'), 500);
      await crash(first);
      const second = await start();
      expect(await second.fetch('a')).to.deep.equal(lock('a', 'one', 'v'));
      expect(await rejectionOf(second.acquire(lock('a', 'two'), 60_000))).to.be.instanceOf(LockCollision);
      expect((await second.acquire(lock('a', 'one', 'v'), 60_000)).token).to.equal(token);
      const taken = await eventually(() => second.acquire(lock('short', 'two'), 60_000));
      expect(taken.token).to.be.greaterThan(token);
    });

    it('holds a key after a crash for as long as its owner was told last', async () => {
      const first = await start();
      await first.acquire(lock('a', 'one'), 100);
      await first.acquire(lock('a', 'one'), 60_000);
      await crash(first);
      const second = await start();
      const before = performance.now();
      await eventually(async () => {
        expect(await rejectionOf(second.acquire(lock('a', 'two'), 60_000))).to.be.instanceOf(LockCollision);
        return performance.now() - before > 200 ? true : undefined;
      });
    });

    it('frees at once what was released before an orderly stop', async () => {
      const first = await start();
      const { token } = await first.acquire(lock('a', 'one'), 60_000);
      await first.release('a', 'one');
      await first.stop();
      const second = await start();
      expect((await second.acquire(lock('a', 'two'), 60_000)).token).to.be.greaterThan(token);
    });

    it('gives higher tokens after a restart than before it, even when the clock went back', async () => {
      const future = (Date.now() + 3_600_000) * 1000;
      await writeFile(join(directory, 'locks.json'), JSON.stringify({ lastToken: future, held: [] }));
      const store = await start();
      expect((await store.acquire(lock('a', 'one'), 60_000)).token).to.equal(future + 1);
    });

    it('lets one process at a time have the directory', async () => {
      const first = await start();
      const error = await rejectionOf(start());
      expect(error.message).to.equal(`${directory} is in use by another process`);
      await first.stop();
      await start();
    });

    it('refuses a file that it does not understand, by its name', async () => {
      const path = join(directory, 'locks.json');
      await writeFile(path, '{"lastToken":1,"held":[{"key":"a"}]}');
      const error = await rejectionOf(start());
      expect(error.message).to.include(path);
    });

    it('takes a grant back that it cannot store', async () => {
      const store = await start();
      await rm(directory, { recursive: true });
      const error = await rejectionOf(store.acquire(lock('a', 'one'), 60_000));
      expect(error.name).to.equal('LocksUnavailable');
      expect(await store.fetch('a')).to.equal(undefined);
      running.splice(0);
      await store.stop().catch(() => {});
      directory = await mkdtemp(join(tmpdir(), 'locks-'));
    });
  });
});
