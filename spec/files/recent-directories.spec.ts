import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { HeldPlace } from '../../lib/files/held-place.js';
import { RecentDirectories } from '../../lib/files/recent-directories.js';
import { eventually } from '../support/eventually.js';

describe('Recent directories', () => {
  let base: string;
  let directory: string;
  let recent: RecentDirectories;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'recent-')));
    directory = join(base, 'parent/dir');
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'file'), 'content');
    recent = new RecentDirectories();
    await hold(directory);
  });

  afterEach(async () => {
    recent.release();
    await rm(base, { recursive: true });
  });

  async function hold(path: string): Promise<void> {
    const place = await HeldPlace.at(path);
    await recent.hold('key', { path, place });
    place.close();
  }

  /** Text of a small file; undefined when only walking there would tell. */
  function content(name = 'file'): string | undefined {
    const found = recent.find('key', name, 'content');
    if (found === undefined) return undefined;
    if (!('bytes' in found)) throw new Error('a place');
    const text = found.bytes.toString();
    found.release();
    return text;
  }

  /** Places below the base that this process holds. */
  async function held(): Promise<number> {
    const links = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
    return (await Promise.all(links)).filter((link) => link.startsWith(base)).length;
  }

  it('are worth holding when they are asked for again, within half a second', async () => {
    expect([recent.isAskedAgain('a'), recent.isAskedAgain('b'), recent.isAskedAgain('a')]).to.deep.equal([
      false,
      false,
      true,
    ]);
    await eventually(() => (recent.isAskedAgain('c') ? undefined : true), { what: 'forgotten' });
  });

  it('give small files whole, as they are at that moment', async () => {
    expect([content(), content()]).to.deep.equal(['content', 'content']);
    await appendFile(join(directory, 'file'), ', and more');
    expect(content()).to.equal('content, and more');
    await truncate(join(directory, 'file'), 0);
    expect(content()).to.equal('');
    await writeFile(join(directory, 'new'), 'new');
    await rename(join(directory, 'new'), join(directory, 'file'));
    expect([content(), content()]).to.deep.equal(['new', 'new']);
    await rm(join(directory, 'file'));
    expect(content()).to.equal(undefined);
  });

  it('give the place of a larger file, and of any when that is wanted', async () => {
    await writeFile(join(directory, 'file'), Buffer.alloc(64 * 1024));
    expect(content()).to.have.length(64 * 1024);
    await appendFile(join(directory, 'file'), 'x');
    for (const wanted of ['content', 'place'] as const) {
      const found = recent.find('key', 'file', wanted);
      if (!found || !('place' in found)) throw new Error('no place');
      expect([found.path, found.place.status.size]).to.deep.equal([join(directory, 'file'), 64 * 1024 + 1]);
      found.place.close();
    }
  });

  it('give each the memory for itself', async () => {
    await writeFile(join(directory, 'other'), 'another');
    const [first, second] = ['file', 'other'].map((name) => recent.find('key', name, 'content'));
    expect([first, second].map((found) => found && 'bytes' in found && found.bytes.toString())).to.deep.equal([
      'content',
      'another',
    ]);
  });

  it('leave to a walk what is no regular file, and what is not there', async () => {
    await symlink('file', join(directory, 'link'));
    await mkdir(join(directory, 'sub'));
    execFileSync('mkfifo', [join(directory, 'pipe')]);
    for (const name of ['link', 'sub', 'pipe', 'missing', 'x'.repeat(256)]) {
      expect(content(name), name).to.equal(undefined);
    }
    expect(recent.find('other key', 'file', 'content')).to.equal(undefined);
  });

  it('leave to a walk what is no longer where it was, with the files that were read before', async () => {
    for (const moved of ['parent', 'parent/dir']) {
      expect(content()).to.equal('content');
      await rename(join(base, moved), join(base, 'aside'));
      await symlink('aside', join(base, moved));
      expect(content(), moved).to.equal(undefined);
      await rm(join(base, moved));
      await rename(join(base, 'aside'), join(base, moved));
    }
    await rm(directory, { recursive: true });
    expect(content()).to.equal(undefined);
  });

  it('do not wait for whoever has a lease on a file', async () => {
    // F_SETLEASE, F_WRLCK: others who open the file wait until it is given back, 45 seconds at most.
    const script = '$SIG{IO} = "IGNORE"; open(F, ">>", shift) && fcntl(F, 1024, 1) || die $!; $| = 1; print 1; <STDIN>';
    const holder = spawn('perl', ['-e', script, join(directory, 'file')], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const exited = once(holder, 'exit');
    expect(content()).to.equal(undefined);
    holder.stdin.end();
    await exited;
    expect(content()).to.equal('content');
  });

  it('are on local file systems only', async () => {
    recent.release();
    await hold('/proc/self');
    expect(content('status')).to.equal(undefined);
  });

  it('are let go by themselves', async () => {
    expect(content()).to.equal('content');
    expect(await held()).to.equal(2);
    await eventually(async () => ((await held()) === 0 ? true : undefined), { what: 'nothing held' });
    expect(content()).to.equal(undefined);
  });

  it('are let go when nobody wants them any more, also twice', async () => {
    content();
    recent.release();
    recent.release();
    expect(await held()).to.equal(0);
  });
});
