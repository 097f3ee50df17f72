import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeDirectories } from '../../lib/files/directories.js';
import { runCommand } from '../../lib/process/command.js';
import { rejectionOf } from '../support/rejection.js';

describe('making a directory with those above it', () => {
  let base: string;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'directories-'));
  });

  afterEach(() => rmSync(base, { recursive: true }));

  it('makes what is missing, in whatever order it is asked for, and leaves what is there', async () => {
    mkdirSync(join(base, 'there'), { mode: 0o755 });
    const paths = ['there/a/b', 'there/a/b/c', 'there/a', 'there/x'].map((path) => join(base, path));
    await Promise.all(paths.map((path) => makeDirectories(path, 0o700)));
    for (const path of paths) expect(statSync(path).mode & 0o777).to.equal(0o700);
    expect(statSync(join(base, 'there')).mode & 0o777).to.equal(0o755);
  });

  it('tells why it cannot', async () => {
    writeFileSync(join(base, 'file'), '');
    expect(await rejectionOf(makeDirectories(join(base, 'file/a/b'), 0o700))).to.include({ code: 'ENOTDIR' });
    expect(await rejectionOf(makeDirectories('/proc/nowhere/a', 0o700))).to.include({ code: 'ENOENT' });
  });

  it('tells of a full disk', async () => {
    await runCommand('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=2', 'tmpfs', base]);
    try {
      mkdirSync(join(base, 'last'));
      expect(await rejectionOf(makeDirectories(join(base, 'last/a/b'), 0o700))).to.include({ code: 'ENOSPC' });
    } finally {
      await runCommand('umount', [base]);
    }
  });
});
