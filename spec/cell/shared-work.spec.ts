import { expect } from 'chai';
import { SharedWork } from '../../lib/cell/shared-work.js';
import { rejectionOf } from '../support/rejection.js';

describe('SharedWork', () => {
  function pendingWork() {
    let finish: (value: string) => void = () => {};
    let fail: (error: Error) => void = () => {};
    let signal: AbortSignal | undefined;
    const work = new SharedWork<string>((given) => {
      signal = given;
      return new Promise((resolve, reject) => {
        finish = resolve;
        fail = reject;
        given.addEventListener('abort', () => reject(given.reason));
      });
    });
    return {
      work,
      finish: (value: string) => finish(value),
      fail: (error: Error) => fail(error),
      signal: () => signal!,
    };
  }

  it('gives its result to all', async () => {
    const { work, finish } = pendingWork();
    const members = [work.join(), work.join(new AbortController().signal), work.join()];
    finish('done');
    expect(await Promise.all(members)).to.deep.equal(['done', 'done', 'done']);
  });

  it('gives its error to all', async () => {
    const { work, fail } = pendingWork();
    const members = [work.join(), work.join()];
    const error = new Error('broken');
    fail(error);
    for (const member of members) expect(await rejectionOf(member)).to.equal(error);
  });

  it('goes on for the others when one leaves', async () => {
    const { work, finish, signal } = pendingWork();
    const leaver = new AbortController();
    const [left, stayed] = [work.join(leaver.signal), work.join()];
    const reason = new Error('stopped');
    leaver.abort(reason);
    expect(await rejectionOf(left)).to.equal(reason);
    expect(signal().aborted).to.equal(false);
    finish('done');
    expect(await stayed).to.equal('done');
  });

  it('is given up when the last one leaves', async () => {
    const { work, signal } = pendingWork();
    const leavers = [new AbortController(), new AbortController()];
    const outcomes = leavers.map((leaver) => rejectionOf(work.join(leaver.signal)));
    for (const leaver of leavers) leaver.abort(new Error('stopped'));
    await Promise.all(outcomes);
    expect(work.isAbandoned).to.equal(true);
    expect(signal().aborted).to.equal(true);
  });

  it('cannot be joined with a signal that has already given up', async () => {
    const { work, finish } = pendingWork();
    const reason = new Error('stopped');
    expect(await rejectionOf(work.join(AbortSignal.abort(reason)))).to.equal(reason);
    expect(work.isAbandoned).to.equal(false);
    finish('done');
  });
});
