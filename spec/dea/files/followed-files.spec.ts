import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FollowedFiles, type Follower } from '../../../lib/dea/files/followed-files.js';
import type { ServedEntry } from '../../../lib/files/held-place.js';
import { openFollowingLinks } from '../../../lib/files/open-served.js';

describe('Followed files', () => {
  let directory: string;
  let path: string;
  let files: FollowedFiles;
  let entries: ServedEntry[];
  let followers: Follower[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'followed-'));
    path = join(directory, 'log');
    await writeFile(path, 'one');
    files = new FollowedFiles();
    entries = [];
    followers = [];
  });

  afterEach(async () => {
    for (const follower of followers) follower.close();
    for (const { handle } of entries) await handle.close();
    await rm(directory, { recursive: true });
  });

  async function follow({ idleMs = 60_000, of = path } = {}): Promise<Follower> {
    const entry = await openFollowingLinks(of);
    entries.push(entry);
    const follower = files.follow({ path: of, entry, idleMs });
    followers.push(follower);
    return follower;
  }

  it('tell each follower the present size first, then each change', async () => {
    const [first, second] = [await follow(), await follow()];
    expect(await Promise.all([first.next(), second.next()])).to.deep.equal([
      { isGone: false, size: 3 },
      { isGone: false, size: 3 },
    ]);
    const news = Promise.all([first.next(), second.next()]);
    await appendFile(path, 'two');
    expect(await news).to.deep.equal([
      { isGone: false, size: 6 },
      { isGone: false, size: 6 },
    ]);
  });

  it('tell who was away meanwhile of the last state only', async () => {
    const [slow, quick] = [await follow(), await follow()];
    await slow.next();
    await quick.next();
    for (const text of ['a', 'b', 'c']) {
      await appendFile(path, text);
      await quick.next();
    }
    expect(await slow.next()).to.deep.equal({ isGone: false, size: 6 });
  });

  it('tell of changes after a long silence', async () => {
    const follower = await follow({ idleMs: 1500 });
    await follower.next();
    // By now the file is quiet, and only the kernel or the look of every second can tell.
    expect(await follower.next()).to.equal('idle');
    const news = follower.next();
    await appendFile(path, 'two');
    expect(await news).to.deep.equal({ isGone: false, size: 6 });
  });

  for (const end of ['removed', 'renamed', 'replaced'] as const) {
    it(`tell when the file is ${end}`, async () => {
      const follower = await follow();
      await follower.next();
      if (end === 'removed') await rm(path);
      else await rename(path, `${path}.1`);
      if (end === 'replaced') await writeFile(path, 'new');
      expect(await follower.next()).to.deep.equal({ isGone: true });
    });
  }

  it('do not end for a follower who reached the file by a name of its own', async () => {
    const other = join(directory, 'other');
    await writeFile(other, '');
    const [follower, neighbour] = [await follow(), await follow({ of: other })];
    await follower.next();
    await neighbour.next();
    await rm(other);
    expect(await neighbour.next()).to.deep.equal({ isGone: true });
    const news = follower.next();
    await appendFile(path, '!');
    expect(await news).to.deep.equal({ isGone: false, size: 4 });
  });

  it('let followers go, also one that waits, and keep no file then', async () => {
    const [first, second] = [await follow(), await follow()];
    expect(files.count).to.equal(1);
    const waiting = first.next();
    first.close();
    first.close();
    expect(await waiting).to.equal('closed');
    expect(await first.next()).to.equal('closed');
    expect(files.count).to.equal(1);
    second.close();
    expect(files.count).to.equal(0);
  });
});
