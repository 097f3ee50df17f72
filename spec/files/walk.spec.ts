import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { OutsideRootError, TooManyLinksError } from '../../lib/files/beneath.js';
import { EntityNotFoundError } from '../../lib/files/held-place.js';
import { Walk } from '../../lib/files/walk.js';
import { rejectionOf } from '../support/rejection.js';

describe('A walk', () => {
  let base: string;
  let root: string;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'walk-')));
    root = join(base, 'root');
    await mkdir(join(root, 'dir/sub'), { recursive: true });
    await writeFile(join(root, 'dir/file'), 'content');
    await writeFile(join(base, 'secret'), 'SECRET');
  });

  afterEach(() => rm(base, { recursive: true }));

  /** Where a walk ends. */
  async function end(...paths: string[]): Promise<string> {
    const walk = await Walk.from(root);
    try {
      for (const path of paths) await walk.go(path);
      return walk.path.slice(root.length) || '/';
    } finally {
      walk.close();
    }
  }

  const failure = (path: string) => rejectionOf(end(path));
  const openDescriptors = async () => (await readdir('/proc/self/fd')).length;

  it('goes from its root, and on from where it stands', async () => {
    expect(await end()).to.equal('/');
    expect(await end('/dir//./file')).to.equal('/dir/file');
    expect(await end('dir/', 'sub', '../file')).to.equal('/dir/file');
    expect(await end('dir/sub/../..')).to.equal('/');
  });

  it('follows links as a process does that has this root', async () => {
    await symlink('../dir', join(root, 'dir/relative'));
    await symlink('/dir', join(root, 'dir/absolute'));
    await symlink('absolute/relative', join(root, 'dir/both'));
    for (const name of ['relative', 'absolute', 'both']) expect(await end(`dir/${name}/file`)).to.equal('/dir/file');
    const walk = await Walk.from(root);
    await walk.go('dir/file');
    expect(walk.hasFollowedLinks).to.equal(false);
    walk.close();
  });

  it('does not leave its root', async () => {
    await symlink('../../secret', join(root, 'dir/climbing'));
    await symlink(join(base, 'secret'), join(root, 'dir/absolute'));
    for (const path of ['..', '../secret', 'dir/../../secret', 'dir/climbing']) {
      expect(await failure(path), path).to.be.instanceOf(OutsideRootError);
    }
    expect(await failure('dir/absolute')).to.be.instanceOf(EntityNotFoundError);
  });

  it('takes the links of a /proc for what they say, not for where the kernel would lead it', async () => {
    await rm(root, { recursive: true });
    root = '/proc';
    const walk = await Walk.from('/proc');
    try {
      // As the walk has /proc as its root, `/` is /proc again, and there is no `secret` in it.
      expect(await rejectionOf(walk.go(`${process.pid}/root${base}/secret`))).to.be.instanceOf(EntityNotFoundError);
    } finally {
      walk.close();
    }
    await mkdir(join(base, 'root'));
    root = join(base, 'root');
  });

  it('stays inside when the directory that it stands in is moved out', async () => {
    const walk = await Walk.from(root);
    await walk.go('dir/sub');
    await rename(join(root, 'dir/sub'), join(base, 'sub'));
    try {
      // On the disk `..` is `base` now.
      expect(await rejectionOf(walk.go('../../secret'))).to.be.instanceOf(EntityNotFoundError);
    } finally {
      walk.close();
    }
  });

  it('finds nothing behind a file, at a missing name, at one that is too long', async () => {
    for (const path of [
      'dir/file/',
      'dir/file/.',
      'dir/file/..',
      'dir/file/x',
      'missing',
      'missing/..',
      'x'.repeat(256),
    ]) {
      expect(await failure(path), path).to.be.instanceOf(EntityNotFoundError);
    }
    await writeFile(join(root, 'x'.repeat(255)), '');
    expect(await end('x'.repeat(255))).to.have.length(256);
  });

  it('takes 40 links and no more, and gives up on loops', async () => {
    await symlink('dir', join(root, 'link-1'));
    for (let count = 2; count <= 41; count += 1) await symlink(`link-${count - 1}`, join(root, `link-${count}`));
    expect(await end('link-40/file')).to.equal('/dir/file');
    expect(await failure('link-41/file')).to.be.instanceOf(TooManyLinksError);
    for (let level = 0; level < 10; level += 1) await symlink(`loop-${(level + 1) % 10}`, join(root, `loop-${level}`));
    expect(await failure('loop-0')).to.be.instanceOf(TooManyLinksError);
    // Each link doubles the way.
    for (let level = 1; level <= 30; level += 1) {
      await symlink(`double-${level - 1}/./double-${level - 1}`, join(root, `double-${level}`));
    }
    await symlink('.', join(root, 'double-0'));
    expect(await failure('double-30')).to.be.instanceOf(TooManyLinksError);
  });

  it('gives up on paths that are longer than any path can be', async () => {
    expect(await failure('dir/../'.repeat(3000))).to.be.instanceOf(TooManyLinksError);
  });

  it('holds two places at most, however deep it is, and none when it is closed', async () => {
    execFileSync('mkdir', ['-p', join(root, 'd/'.repeat(500))]);
    const before = await openDescriptors();
    const walk = await Walk.from(root);
    await walk.go('d/'.repeat(500));
    expect(await openDescriptors()).to.equal(before + 2);
    await rejectionOf(walk.go('missing'));
    walk.close();
    walk.close();
    expect(await openDescriptors()).to.equal(before);
    await rejectionOf(Walk.from(join(base, 'missing')));
    for (const path of ['..', 'missing', 'dir/file/x']) await failure(path);
    expect(await openDescriptors()).to.equal(before);
  });

  it('can refuse links', async () => {
    await symlink('dir', join(root, 'link'));
    const walk = await Walk.from(root, 'refuse');
    expect(await rejectionOf(walk.go('link/file'))).to.be.instanceOf(EntityNotFoundError);
    walk.close();
  });
});
