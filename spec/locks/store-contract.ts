import { expect } from 'chai';
import { type Expiry, LockCollision, type LockStore, type Resource } from '../../lib/locks/lock-store.js';
import { eventually } from '../support/eventually.js';
import { rejectionOf } from '../support/rejection.js';

export interface StoreBench {
  /** A store that is started, and empty; the bench stops it. */
  store(): Promise<LockStore>;
  /** Another store that shares what the given one keeps, where stores can share. */
  beside?(): Promise<LockStore>;
}

export function lock(key: string, owner: string, value = ''): Resource {
  return { key, owner, value, type: 'lock' };
}

export function presence(key: string, owner: string, value = ''): Resource {
  return { key, owner, value, type: 'presence' };
}

const longMs = 60_000;
const shortMs = 300;

/** What every store does, whatever keeps its locks (docs/protocol/edge.md §6.2, §8). */
export function behavesAsLockStore(bench: StoreBench): void {
  let store: LockStore;

  beforeEach(async () => {
    store = await bench.store();
  });

  it('grants a free key with a token, at index 1', async () => {
    const { token, index } = await store.acquire(lock('a', 'one'), longMs);
    expect(index).to.equal(1);
    expect(token).to.satisfy((value: number) => Number.isSafeInteger(value) && value > 0);
  });

  it('renews for the same owner: same token, next index, new value and type', async () => {
    const { token } = await store.acquire(lock('a', 'one', 'before'), longMs);
    expect(await store.acquire(presence('a', 'one', 'after'), longMs)).to.deep.equal({ token, index: 2 });
    expect(await store.fetch('a')).to.deep.equal(presence('a', 'one', 'after'));
    expect(await store.list('lock')).to.deep.equal([]);
    expect(await store.list('presence')).to.deep.equal([presence('a', 'one', 'after')]);
  });

  it('collides with another owner and changes nothing, whatever the type', async () => {
    await store.acquire(lock('a', 'one', 'kept'), longMs);
    const error = await rejectionOf(store.acquire(presence('a', 'two', 'other'), longMs));
    expect(error).to.be.instanceOf(LockCollision);
    expect(error).to.include({ key: 'a', owner: 'one' });
    expect(await store.fetch('a')).to.deep.equal(lock('a', 'one', 'kept'));
  });

  it('takes owners that differ in case, or in a space at the end, for two', async () => {
    await store.acquire(lock('a', 'one'), longMs);
    for (const owner of ['One', 'one ']) {
      expect(await rejectionOf(store.acquire(lock('a', owner), longMs))).to.be.instanceOf(LockCollision);
      expect(await rejectionOf(store.release('a', owner))).to.be.instanceOf(LockCollision);
    }
  });

  it('releases for the owner, and for nobody else', async () => {
    await store.acquire(lock('a', 'one'), longMs);
    expect(await rejectionOf(store.release('a', 'two'))).to.be.instanceOf(LockCollision);
    await store.release('a', 'one');
    expect(await store.fetch('a')).to.equal(undefined);
    await store.release('a', 'one');
    await store.release('never', 'one');
  });

  it('gives a higher token for each new grant', async () => {
    const tokens: number[] = [];
    for (const owner of ['one', 'two', 'one']) {
      tokens.push((await store.acquire(lock('a', owner), longMs)).token);
      await store.release('a', owner);
    }
    expect(tokens).to.deep.equal([...new Set(tokens)].sort((a, b) => a - b));
  });

  it('lists and counts locks and presences apart', async () => {
    await store.acquire(lock('l', 'one', 'x'), longMs);
    await store.acquire(presence('p1', 'one', 'y'), longMs);
    await store.acquire(presence('p2', 'two', ''), longMs);
    expect(await store.list('lock')).to.deep.equal([lock('l', 'one', 'x')]);
    expect(await store.list('presence')).to.have.deep.members([presence('p1', 'one', 'y'), presence('p2', 'two')]);
    expect([await store.count('lock'), await store.count('presence')]).to.deep.equal([1, 2]);
  });

  it('keeps texts of any script, quotes and the empty key', async () => {
    const odd = lock('', `o'"\\;%ß`, '{"zone":"z1","name":"Köln 東京 🚀","quote":"\'"}\n');
    await store.acquire(odd, longMs);
    expect(await store.fetch('')).to.deep.equal(odd);
    expect(await store.list('lock')).to.deep.equal([odd]);
  });

  it('keeps the longest texts that its columns have room for', async () => {
    const long = lock('k'.repeat(255), 'o'.repeat(255), 'ß'.repeat(4096));
    await store.acquire(long, longMs);
    expect(await store.fetch(long.key)).to.deep.equal(long);
  });

  it('grants one of many who ask at the same time', async () => {
    const owners = Array.from({ length: 30 }, (_, index) => `owner-${index}`);
    const results = await Promise.allSettled(owners.map((owner) => store.acquire(lock('a', owner), longMs)));
    const granted = owners.filter((_, index) => results[index]!.status === 'fulfilled');
    expect(granted).to.have.lengthOf(1);
    expect((await store.fetch('a'))?.owner).to.equal(granted[0]);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).to.be.instanceOf(LockCollision);
    }
  });

  it('takes a key from a silent owner, says so once, and gives the next one a higher token', async () => {
    const expired: Expiry[] = [];
    store.onExpired((expiry) => expired.push(expiry));
    const { token } = await store.acquire(lock('a', 'one'), shortMs);
    await store.acquire(presence('p', 'one'), shortMs);
    await eventually(() => (expired.length >= 2 ? true : undefined), { what: 'expiry' });
    expect(expired).to.have.deep.members([
      { key: 'a', type: 'lock' },
      { key: 'p', type: 'presence' },
    ]);
    expect(await store.fetch('a')).to.equal(undefined);
    expect(await store.list('presence')).to.deep.equal([]);
    const next = await store.acquire(lock('a', 'two'), longMs);
    expect(next.index).to.equal(1);
    expect(next.token).to.be.greaterThan(token);
  });

  it('does not wait for its own look around to give an expired key to the next owner', async () => {
    const expired: Expiry[] = [];
    store.onExpired((expiry) => expired.push(expiry));
    const asked = performance.now();
    await store.acquire(lock('a', 'one'), shortMs);
    const grant = await eventually(() => store.acquire(lock('a', 'two'), longMs), { what: 'the next owner' });
    // The clocks of databases count whole milliseconds.
    expect(performance.now() - asked).to.be.at.least(shortMs - 2);
    expect(grant.index).to.equal(1);
    await eventually(() => (expired.length > 0 ? true : undefined), { what: 'the expiry of the first' });
    expect(expired).to.deep.equal([{ key: 'a', type: 'lock' }]);
  });

  it('keeps a key for as long as its owner renews it', async () => {
    const expired: Expiry[] = [];
    store.onExpired((expiry) => expired.push(expiry));
    const { token } = await store.acquire(lock('a', 'one'), 1000);
    const begun = performance.now();
    await eventually(async () => {
      expect((await store.acquire(lock('a', 'one'), 1000)).token).to.equal(token);
      return performance.now() - begun > 1200 ? true : undefined;
    });
    expect(expired).to.deep.equal([]);
  });

  if (!bench.beside) return;

  describe('with a second store beside it', () => {
    let other: LockStore;

    beforeEach(async () => {
      other = await bench.beside!();
    });

    it('shares everything', async () => {
      const { token } = await store.acquire(lock('a', 'one', 'v'), longMs);
      expect(await other.fetch('a')).to.deep.equal(lock('a', 'one', 'v'));
      expect(await rejectionOf(other.acquire(lock('a', 'two'), longMs))).to.be.instanceOf(LockCollision);
      expect((await other.acquire(lock('a', 'one', 'v'), longMs)).token).to.equal(token);
      await other.release('a', 'one');
      expect((await store.acquire(lock('a', 'two'), longMs)).token).to.be.greaterThan(token);
    });

    it('tells an expiry once over both', async () => {
      const heard: string[] = [];
      store.onExpired(({ key }) => heard.push(key));
      other.onExpired(({ key }) => heard.push(key));
      const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
      for (const key of keys) await store.acquire(lock(key, 'one'), shortMs);
      await eventually(() => (heard.length >= keys.length ? true : undefined), { what: 'all expiries' });
      // One that both looks around would tell is told by now.
      await store.acquire(lock('last', 'one'), shortMs);
      await eventually(() => (heard.includes('last') ? true : undefined), { what: 'the last expiry' });
      expect([...heard].sort()).to.deep.equal([...keys, 'last'].sort());
    });
  });
}
