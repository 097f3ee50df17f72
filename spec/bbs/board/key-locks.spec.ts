import { expect } from 'chai';
import { KeyLocks } from '../../../lib/bbs/board/key-locks.js';

describe('locks by key', () => {
  const gate = () => {
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    return { open, opened };
  };

  it('let one after the other in, in the order in which they came', async () => {
    const locks = new KeyLocks();
    const first = gate();
    const order: number[] = [];
    const held = locks.run('a', () => first.opened);
    const others = [1, 2, 3].map((number) => locks.run('a', async () => void order.push(number)));
    expect(order).to.deep.equal([]);
    first.open();
    await Promise.all([held, ...others]);
    expect(order).to.deep.equal([1, 2, 3]);
  });

  it('do not let keys wait for each other', async () => {
    const locks = new KeyLocks();
    const first = gate();
    const held = locks.run('a', () => first.opened);
    expect(await locks.run('b', async () => 'done')).to.equal('done');
    first.open();
    await held;
  });

  it('pass on after a failure, which only its own caller learns of', async () => {
    const locks = new KeyLocks();
    const failed = locks.run('a', () => Promise.reject(new Error('no')));
    const next = locks.run('a', async () => 'done');
    expect(await failed.catch((error: Error) => error.message)).to.equal('no');
    expect(await next).to.equal('done');
  });

  it('hold several keys at once', async () => {
    const locks = new KeyLocks();
    const first = gate();
    const held = locks.run('b', () => first.opened);
    let hasAll = false;
    const all = locks.runAll(['a', 'b'], async () => {
      hasAll = true;
    });
    // Also the first of them is held, while the second is waited for.
    let hasFirst = false;
    const behind = locks.run('a', async () => {
      hasFirst = true;
    });
    await new Promise(setImmediate);
    expect([hasAll, hasFirst]).to.deep.equal([false, false]);
    first.open();
    await Promise.all([held, all, behind]);
    expect([hasAll, hasFirst]).to.deep.equal([true, true]);
  });

  it('begin at once when nobody holds the key', () => {
    const locks = new KeyLocks();
    let hasBegun = false;
    void locks.runAll(['a', 'b'], async () => {
      hasBegun = true;
    });
    expect(hasBegun).to.equal(true);
  });
});
