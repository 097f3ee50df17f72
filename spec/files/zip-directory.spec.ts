import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { zipDirectory } from '../../lib/files/zip-directory.js';
import { rejectionOf } from '../support/rejection.js';

describe('zipping a directory', () => {
  let root: string;
  let directory: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'zip-spec-'));
    directory = join(root, 'source');
    await mkdir(join(directory, 'sub/empty'), { recursive: true });
    await writeFile(join(directory, 'script.sh'), '#!/bin/sh\n');
    await chmod(join(directory, 'script.sh'), 0o755);
    await writeFile(join(directory, 'sub/data'), 'x'.repeat(10_000));
    await symlink('../script.sh', join(directory, 'sub/link'));
  });

  afterEach(() => rm(root, { recursive: true, force: true }));

  const destination = () => join(root, 'out.zip');
  const unzip = async () => {
    const target = join(root, 'unzipped');
    await rm(target, { recursive: true, force: true });
    execFileSync('unzip', ['-q', destination(), '-d', target]);
    return target;
  };

  it('keeps content, permissions, symbolic links and empty directories', async () => {
    const result = await zipDirectory({ directory, destination: destination() });
    const target = await unzip();
    expect(result.files).to.equal(3);
    expect((await stat(join(target, 'script.sh'))).mode & 0o777).to.equal(0o755);
    expect(await readFile(join(target, 'sub/data'), 'utf8')).to.have.length(10_000);
    expect(await readlink(join(target, 'sub/link'))).to.equal('../script.sh');
    expect((await stat(join(target, 'sub/empty'))).isDirectory()).to.equal(true);
  });

  it('does not look into what is left out', async () => {
    const seen: string[] = [];
    await zipDirectory({
      directory,
      destination: destination(),
      includes: (path) => {
        seen.push(path);
        return path !== 'sub';
      },
    });
    expect(seen).to.deep.equal(['script.sh', 'sub']);
    expect(await stat(join(await unzip(), 'sub')).catch(() => 'none')).to.equal('none');
  });

  it('gives the same bytes for the same content when it is given a time', async () => {
    const mtime = new Date(1980, 0, 1);
    await zipDirectory({ directory, destination: destination(), mtime });
    const first = await readFile(destination());
    await writeFile(join(directory, 'script.sh'), '#!/bin/sh\n');
    await zipDirectory({ directory, destination: destination(), mtime });
    expect(first.equals(await readFile(destination()))).to.equal(true);
  });

  it('fails when a file goes away while it is packed', async () => {
    const includes = (path: string) => {
      // Known already, but not yet opened.
      if (path === 'script.sh') rmSync(join(directory, 'script.sh'));
      return true;
    };
    const error = await rejectionOf(zipDirectory({ directory, destination: destination(), includes }));
    expect(error).to.have.property('code', 'ENOENT');
  });

  it('fails for a directory that is not there and an archive that cannot be written', async () => {
    expect(await rejectionOf(zipDirectory({ directory: '/nowhere', destination: destination() }))).to.have.property(
      'code',
      'ENOENT',
    );
    expect(await rejectionOf(zipDirectory({ directory, destination: '/nowhere/x.zip' }))).to.have.property(
      'code',
      'ENOENT',
    );
  });
});
