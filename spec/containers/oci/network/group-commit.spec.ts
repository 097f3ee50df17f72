import { expect } from 'chai';
import { GroupCommit } from '../../../../lib/containers/oci/network/group-commit.js';

describe('a group commit', () => {
  it('does together what comes in while it is busy', async () => {
    const groups: number[][] = [];
    const commit = new GroupCommit<number>(async (items) => {
      groups.push(items);
      await new Promise((resolve) => setImmediate(resolve));
    });
    const first = commit.add(1);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.all([first, commit.add(2), commit.add(3), commit.add(4)]);
    expect(groups).to.deep.equal([[1], [2, 3, 4]]);
  });

  it('lets a bad item fail alone', async () => {
    const done: number[] = [];
    const commit = new GroupCommit<number>(async (items) => {
      if (items.includes(2)) throw new Error('two is bad');
      done.push(...items);
    });
    const results = await Promise.allSettled([1, 2, 3].map((item) => commit.add(item)));
    expect(results.map((result) => result.status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
    expect(done).to.deep.equal([1, 3]);
    await commit.add(4);
    expect(done).to.deep.equal([1, 3, 4]);
  });
});
