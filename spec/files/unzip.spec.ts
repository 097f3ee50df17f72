import { existsSync } from 'node:fs';
import { lstat, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { ArchiveError, unzip } from '../../lib/files/unzip.js';
import { rejectionOf } from '../support/rejection.js';

interface ZipEntry {
  name: string;
  content?: string | Buffer;
  mode?: number;
}

/** A zip with exactly these entries; names as they are, however wicked. */
async function zipOf(entries: ZipEntry[]): Promise<Buffer> {
  const zip = new ZipFile();
  const replacements: [string, string][] = [];
  entries.forEach(({ name, content = '', mode = 0o100644 }, index) => {
    // The packer refuses such names, so a stand-in of the same length is replaced in the finished file.
    const isWicked = name.startsWith('/') || name.split('/').includes('..');
    const packed = isWicked ? String.fromCharCode(65 + index).repeat(name.length) : name;
    if (isWicked) replacements.push([packed, name]);
    if (packed.endsWith('/')) zip.addEmptyDirectory(packed, { mode });
    else zip.addBuffer(Buffer.from(content), packed, { mode });
  });
  zip.end();
  let bytes = (await buffer(zip.outputStream)).toString('latin1');
  for (const [packed, name] of replacements) bytes = bytes.replaceAll(packed, name);
  return Buffer.from(bytes, 'latin1');
}

describe('unzip', () => {
  let base: string;
  let archive: string;
  let target: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'unzip-'));
    archive = join(base, 'archive.zip');
    target = join(base, 'unpacked');
  });

  afterEach(() => rm(base, { recursive: true }));

  async function unpack(entries: ZipEntry[], options = {}): Promise<void> {
    await writeFile(archive, await zipOf(entries));
    await unzip(archive, target, options);
  }

  async function refusal(entries: ZipEntry[], options = {}): Promise<string> {
    const error = await rejectionOf(unpack(entries, options));
    expect(error).to.be.instanceOf(ArchiveError);
    expect((await readdir(base)).sort(), 'nothing beside the target').to.deep.equal(['archive.zip', 'unpacked']);
    return error.message;
  }

  const permissions = async (name: string) => (await stat(join(target, name))).mode & 0o7777;

  it('keeps content, directories, permission bits and links', async () => {
    await unpack([
      { name: 'bin/', mode: 0o040755 },
      { name: 'bin/detect', content: '#!/bin/sh\n', mode: 0o100755 },
      { name: 'lib/deep/er/pack.rb', content: 'x'.repeat(100_000), mode: 0o100640 },
      { name: 'locked/', mode: 0o040500 },
      { name: 'locked/file', content: 'in a directory that is read-only afterwards' },
      { name: 'empty', content: '' },
      { name: 'bin/compile', content: '../lib/deep', mode: 0o120777 },
      { name: 'loop', content: 'loop-that-is-not-there', mode: 0o120777 },
    ]);
    expect(await readFile(join(target, 'bin/detect'), 'utf8')).to.equal('#!/bin/sh\n');
    expect((await readFile(join(target, 'lib/deep/er/pack.rb'))).length).to.equal(100_000);
    expect((await readFile(join(target, 'empty'))).length).to.equal(0);
    expect(await permissions('bin/detect')).to.equal(0o755);
    expect(await permissions('lib/deep/er/pack.rb')).to.equal(0o640);
    expect(await permissions('locked')).to.equal(0o500);
    expect(await readlink(join(target, 'bin/compile'))).to.equal('../lib/deep');
    expect((await lstat(join(target, 'loop'))).isSymbolicLink()).to.equal(true);
  });

  it('gives no set-user-id and no sticky bits', async () => {
    await unpack([{ name: 'su', mode: 0o106755 }]);
    expect(await permissions('su')).to.equal(0o755);
  });

  it('gives ordinary modes to entries that have none', async () => {
    const zip = await zipOf([
      { name: 'file', mode: 0 },
      { name: 'directory/', mode: 0 },
    ]);
    await writeFile(archive, zip);
    await unzip(archive, target);
    expect(await permissions('file')).to.equal(0o644);
    expect(await permissions('directory')).to.equal(0o755);
  });

  it('refuses names that lead out', async () => {
    for (const name of ['../evil', 'a/../../evil', '/tmp/unzip-evil', 'a/..']) {
      expect(await refusal([{ name, content: 'evil' }])).to.match(/relative|absolute|invalid/);
      await rm(target, { recursive: true });
    }
    expect(existsSync('/tmp/unzip-evil')).to.equal(false);
  });

  it('refuses links that lead out, also by way of each other', async () => {
    const link = (name: string, content: string) => ({ name, content, mode: 0o120777 });
    for (const links of [
      [link('l', '/etc/passwd')],
      [link('l', '..')],
      [link('d/l', '../../x')],
      [link('a/b/up', '../..'), link('l', 'a/b/up/..')],
      [link('l', '')],
    ]) {
      expect(await refusal(links)).to.include('the link leaves the archive');
      await rm(target, { recursive: true });
    }
  });

  it('never writes through a link of the archive', async () => {
    const error = await rejectionOf(
      unpack([
        { name: 'l', content: '..', mode: 0o120777 },
        { name: 'l/evil', content: 'evil' },
      ]),
    );
    expect(error).to.have.property('code', 'EEXIST');
    expect(existsSync(join(base, 'evil'))).to.equal(false);
  });

  it('refuses what is neither file nor directory nor link', async () => {
    expect(await refusal([{ name: 'pipe', mode: 0o010644 }])).to.include('pipe: neither a file');
  });

  it('refuses to unpack more than allowed, before it does', async () => {
    const entries = [
      { name: 'a', content: 'x'.repeat(600) },
      { name: 'b', content: 'x'.repeat(600) },
    ];
    expect(await refusal(entries, { maxBytes: 1000 })).to.include('more than 1000 bytes');
    expect(await readdir(target)).to.deep.equal(['a']);
  });

  it('refuses a file that is no zip, or a damaged one', async () => {
    await writeFile(archive, 'this is no archive');
    expect(await rejectionOf(unzip(archive, target))).to.be.instanceOf(ArchiveError);
    const zip = await zipOf([{ name: 'file', content: 'x'.repeat(10_000) }]);
    zip.fill(0xff, 40, 60);
    await writeFile(archive, zip);
    expect(await rejectionOf(unzip(archive, target))).to.be.instanceOf(ArchiveError);
    await writeFile(archive, zip.subarray(0, zip.length - 30));
    expect(await rejectionOf(unzip(archive, target))).to.be.instanceOf(ArchiveError);
  });

  it('ends with the reason of its signal', async () => {
    const reason = new Error('task stopped');
    const error = await rejectionOf(unpack([{ name: 'a' }], { signal: AbortSignal.abort(reason) }));
    expect(error).to.equal(reason);
  });
});
