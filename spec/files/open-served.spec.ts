import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EntityNotFoundError, inDirectory, NotServableError } from '../../lib/files/held-place.js';
import { openFollowingLinks, openResolved } from '../../lib/files/open-served.js';
import { rejectionOf } from '../support/rejection.js';

describe('openResolved', () => {
  let base: string;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'open-')));
    await mkdir(join(base, 'sub'));
    await writeFile(join(base, 'sub', 'file'), 'content');
  });

  afterEach(() => rm(base, { recursive: true }));

  const openDescriptors = async () => (await readdir('/proc/self/fd')).length;

  it('opens files and directories', async () => {
    const file = await openResolved(join(base, 'sub', 'file'));
    expect(file.kind).to.equal('file');
    expect((await file.handle.readFile()).toString()).to.equal('content');
    await file.handle.close();
    const directory = await openResolved(`${base}/sub/`);
    expect(directory.kind).to.equal('directory');
    await rename(join(base, 'sub'), join(base, 'moved'));
    expect(await readdir(inDirectory(directory.handle, ''))).to.deep.equal(['file']);
    await directory.handle.close();
  });

  it('follows no link, wherever it stands in the path', async () => {
    await symlink('sub', join(base, 'link'));
    await symlink('file', join(base, 'sub', 'link'));
    for (const path of ['link', 'link/file', 'sub/link']) {
      expect(await rejectionOf(openResolved(join(base, path)))).to.be.instanceOf(EntityNotFoundError);
    }
    const { handle } = await openFollowingLinks(join(base, 'link', 'link'));
    await handle.close();
  });

  it('refuses what is neither a file nor a directory, without touching it', async () => {
    execFileSync('mkfifo', [join(base, 'pipe')]);
    const socket = createServer().listen(join(base, 'socket'));
    try {
      for (const path of [join(base, 'pipe'), join(base, 'socket'), '/dev/zero']) {
        expect(await rejectionOf(openResolved(path))).to.be.instanceOf(NotServableError);
        expect(await rejectionOf(openFollowingLinks(path))).to.be.instanceOf(NotServableError);
      }
    } finally {
      socket.close();
    }
  });

  it('leaves nothing open when it fails', async () => {
    const before = await openDescriptors();
    for (const path of ['missing', 'sub/missing', 'sub/file/x', 'x'.repeat(300)]) {
      expect(await rejectionOf(openResolved(join(base, path)))).to.be.instanceOf(EntityNotFoundError);
    }
    await rejectionOf(openResolved('/dev/zero'));
    expect(await openDescriptors()).to.equal(before);
  });
});
