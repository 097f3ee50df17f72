import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeFileAtomically } from '../../lib/files/atomic-write.js';
import { isBeneath, OutsideRootError, resolveBeneath, TooManyLinksError } from '../../lib/files/beneath.js';

describe('files', () => {
  let root: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'files-'));
  });

  afterEach(() => rm(root, { recursive: true }));

  async function rejection(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(
      () => expect.fail('was accepted'),
      (error: unknown) => error,
    );
  }

  describe('writeFileAtomically', () => {
    it('replaces a file, private by default, and leaves nothing else', async () => {
      const path = join(root, 'state.json');
      await writeFileAtomically(path, 'old');
      await writeFileAtomically(path, 'new');
      expect(await readFile(path, 'utf8')).to.equal('new');
      expect((await stat(path)).mode & 0o777).to.equal(0o600);
      expect(await readdir(root)).to.deep.equal(['state.json']);
    });

    it('never shows a reader an empty or partial file', async () => {
      const path = join(root, 'state.json');
      const content = (round: number) => `${String(round % 10).repeat(100_000)}`;
      await writeFileAtomically(path, content(0));
      let isWriting = true;
      const writer = (async () => {
        for (let round = 1; round < 30; round += 1) await writeFileAtomically(path, content(round), { durable: false });
        isWriting = false;
      })();
      while (isWriting) {
        const seen = await readFile(path, 'utf8');
        expect(seen).to.equal(content(Number(seen[0])));
      }
      await writer;
    });

    it('keeps the old content and cleans up when the disk refuses', async () => {
      const path = join(root, 'directory');
      await mkdir(path);
      await rejection(writeFileAtomically(path, 'x'));
      expect(await readdir(root)).to.deep.equal(['directory']);
    });
  });

  describe('resolveBeneath', () => {
    beforeEach(async () => {
      await mkdir(join(root, 'etc'));
      await writeFile(join(root, 'etc/passwd'), '');
    });

    it('resolves absolute links within the root, as a process inside would', async () => {
      await symlink('/etc/passwd', join(root, 'link'));
      await symlink('/etc', join(root, 'directory'));
      expect(await resolveBeneath(root, '/link')).to.equal(join(root, 'etc/passwd'));
      expect(await resolveBeneath(root, 'directory/passwd')).to.equal(join(root, 'etc/passwd'));
    });

    it('refuses to climb above the root, by spelling or by link', async () => {
      await symlink('../../etc/passwd', join(root, 'up'));
      expect(await rejection(resolveBeneath(root, 'etc/../../x'))).to.be.instanceOf(OutsideRootError);
      expect(await rejection(resolveBeneath(root, 'up'))).to.be.instanceOf(OutsideRootError);
    });

    it('keeps what does not exist as it is spelled', async () => {
      expect(await resolveBeneath(root, '/none/../etc/new/./file')).to.equal(join(root, 'etc/new/file'));
    });

    it('gives up on links in a circle', async () => {
      await symlink('b', join(root, 'a'));
      await symlink('a', join(root, 'b'));
      expect(await rejection(resolveBeneath(root, 'a'))).to.be.instanceOf(TooManyLinksError);
    });
  });

  it('isBeneath compares components, not text', () => {
    expect(isBeneath('/root', '/root/x')).to.equal(true);
    expect(isBeneath('/root/', '/root')).to.equal(true);
    expect(isBeneath('/root', '/root2/x')).to.equal(false);
    expect(isBeneath('/root', '/root/../x')).to.equal(false);
  });
});
