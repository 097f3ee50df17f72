import { execFileSync } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import { UnsafeArchiveError, unpack } from '../../../lib/containers/warden/tree-archive.js';
import { WardenSubject } from '../../support/warden.js';
import { failureOf } from '../engine-contract.js';

describe('copies of a Warden server', function () {
  this.timeout(60_000);
  let warden: WardenSubject;
  let scratch: string;
  let handle: string;

  before(async () => {
    warden = await WardenSubject.start();
  });

  after(() => warden.dispose());

  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'copies-'));
    ({ handle } = await warden.request('Create', {}));
  });

  afterEach(async () => {
    await warden.request('Destroy', { handle });
    await rm(scratch, { recursive: true });
  });

  const copyIn = (srcPath: string, dstPath: string) => warden.request('CopyIn', { handle, srcPath, dstPath });
  const copyOut = (srcPath: string, dstPath: string, owner?: string) =>
    warden.request('CopyOut', { handle, srcPath, dstPath, ...(owner !== undefined && { owner }) });
  const run = async (script: string) => {
    const result = await warden.request('Run', { handle, script: Buffer.from(script), privileged: true });
    return result.stdout?.toString().trim();
  };
  const makeTree = async () => {
    const tree = join(scratch, 'tree');
    await mkdir(join(tree, 'sub'), { recursive: true });
    await writeFile(join(tree, 'sub', 'file'), 'content', { mode: 0o640 });
    await writeFile(join(tree, 'program'), '', { mode: 0o755 });
    await writeFile(join(tree, `${'long'.repeat(50)}`), 'long');
    await symlink('sub/file', join(tree, 'link'));
    execFileSync('ln', [join(tree, 'program'), join(tree, 'again')]);
    execFileSync('mkfifo', [join(tree, 'fifo')]);
    return tree;
  };

  it('take a directory itself, or its content with a trailing slash, for vcap', async () => {
    const tree = await makeTree();
    await copyIn(tree, '/home/vcap/into');
    expect(await run('cd /home/vcap/into; stat -c "%n %U %a %F" tree tree/sub/file tree/program tree/link')).to.equal(
      [
        'tree vcap 755 directory',
        'tree/sub/file vcap 640 regular file',
        'tree/program vcap 755 regular empty file',
        'tree/link vcap 777 symbolic link',
      ].join('\n'),
    );
    await copyIn(`${tree}/`, '/home/vcap/content');
    expect(await run('cd /home/vcap/content; ls | grep -v long; cat link; stat -c %h again; cat long*')).to.equal(
      'again\nlink\nprogram\nsub\ncontent1\nlong',
    );
  });

  it('take a file under its name into a directory, or under another name', async () => {
    const file = join(scratch, 'file');
    await writeFile(file, 'content');
    await copyIn(file, '/home/vcap');
    await copyIn(file, '/home/vcap/new/');
    await copyIn(file, '/home/vcap/deep/other,&\\1');
    expect(await run('cd /home/vcap; find . -type f -newer /etc/passwd | grep -v "/\\." | sort')).to.equal(
      './deep/other,&\\1\n./file\n./new/file',
    );
  });

  it('bring a directory itself, its content, or a file, for root', async () => {
    await run('mkdir -p /home/vcap/out/sub; cd /home/vcap/out; echo x > sub/f; ln -s sub/f l; chown -R vcap .');
    await copyOut('/home/vcap/out', join(scratch, 'itself'));
    expect(await readFile(join(scratch, 'itself/out/sub/f'), 'utf8')).to.equal('x\n');
    await copyOut('/home/vcap/out/', join(scratch, 'content'));
    expect((await readdir(join(scratch, 'content'))).sort()).to.deep.equal(['l', 'sub']);
    expect(await readlink(join(scratch, 'content/l'))).to.equal('sub/f');
    expect((await stat(join(scratch, 'content/sub/f'))).uid).to.equal(0);
    await copyOut('/home/vcap/out/sub/f', scratch);
    await copyOut('/home/vcap/out/sub/f', join(scratch, 'renamed'));
    expect(await readFile(join(scratch, 'f'), 'utf8')).to.equal('x\n');
    expect(await readFile(join(scratch, 'renamed'), 'utf8')).to.equal('x\n');
  });

  it('bring things for another owner', async () => {
    await run('mkdir -p /tmp/d; echo x > /tmp/d/f');
    await copyOut('/tmp/d', join(scratch, 'owned'), 'nobody:nogroup');
    expect((await stat(join(scratch, 'owned/d/f'))).uid).to.equal(65_534);
    for (const owner of ['--reference=/etc/shadow', 'a:b:c', 'no such']) {
      expect(((await failureOf(copyOut('/tmp/d', join(scratch, 'x'), owner))) as Error).message).to.include('owner');
    }
  });

  it('bring nothing that could hurt the host: no set-id bits, no devices', async () => {
    await run('mkdir /tmp/d; cp /bin/true /tmp/d/suid; chmod 6755 /tmp/d/suid; mkfifo /tmp/d/fifo');
    await copyOut('/tmp/d/', join(scratch, 'out'));
    expect((await stat(join(scratch, 'out/suid'))).mode & 0o7777).to.equal(0o755);
    expect(await readdir(join(scratch, 'out'))).to.deep.equal(['suid']);
  });

  it('follow no link of the container out of where they should go', async () => {
    const victim = join(scratch, 'victim');
    await mkdir(victim);
    await run(`mkdir -p /tmp/a; ln -s ${victim} /tmp/a/d; mkdir -p /tmp/b/d; echo bad > /tmp/b/d/f`);
    await copyOut('/tmp/a/', join(scratch, 'out'));
    await copyOut('/tmp/b/', join(scratch, 'out'));
    expect(await readdir(victim)).to.deep.equal([]);
    expect((await lstat(join(scratch, 'out/d'))).isDirectory()).to.equal(true);

    await run(`ln -s ${victim} /home/vcap/escape`);
    await writeFile(join(scratch, 'file'), 'content');
    await copyIn(join(scratch, 'file'), '/home/vcap/escape/').catch(() => {});
    expect(await readdir(victim)).to.deep.equal([]);
  });

  it('are refused when there is nothing to copy, or no place', async () => {
    const message = async (promise: Promise<unknown>) => ((await failureOf(promise)) as Error).message;
    expect(await message(copyIn('/no/such', '/tmp'))).to.equal('src_path: /no/such: no such file or directory');
    expect(await message(copyIn('relative', '/tmp'))).to.include('src_path');
    expect(await message(copyIn('/etc/passwd/', '/tmp'))).to.include('src_path');
    expect(await message(copyIn('/dev/null', '/tmp'))).to.include('not a regular file');
    expect(await message(copyOut('/no/such', scratch))).to.include('/no/such');
    expect(await message(copyOut('/etc', 'relative'))).to.include('dst_path');
  });
});

describe('unpacking an archive from a container', () => {
  let scratch: string;

  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'unpack-'));
  });

  afterEach(() => rm(scratch, { recursive: true }));

  const unpackAt = (archive: Readable) => unpack(archive, async () => ({ directory: join(scratch, 'in') }));
  const archiveOf = (headers: Parameters<ReturnType<typeof pack>['entry']>[0][]) => {
    const archive = pack();
    for (const header of headers) archive.entry(header, header.type === 'file' ? 'bad' : '');
    archive.finalize();
    return archive as unknown as Readable;
  };

  it('refuses entries that lie outside', async () => {
    for (const name of ['../out', '/etc/bad', 'a/../../out']) {
      expect(await failureOf(unpackAt(archiveOf([{ name, type: 'file' }]))), name).to.be.instanceOf(UnsafeArchiveError);
    }
    const link = archiveOf([{ name: 'x', type: 'link', linkname: '/etc/passwd' }]);
    expect(await failureOf(unpackAt(link))).to.be.instanceOf(UnsafeArchiveError);
  });

  it('does not write through a link that came with the archive', async () => {
    const archive = archiveOf([
      { name: 'door', type: 'symlink', linkname: scratch },
      { name: 'door/bad', type: 'file' },
    ]);
    await unpackAt(archive).catch(() => {});
    expect(await readdir(scratch)).to.deep.equal(['in']);
  });

  it('fails for what is empty, cut off or no archive', async () => {
    expect(await failureOf(unpackAt(Readable.from([])))).to.be.instanceOf(Error);
    expect(await failureOf(unpackAt(Readable.from([Buffer.alloc(2000, 'x')])))).to.be.instanceOf(Error);
    const whole = pack();
    whole.entry({ name: 'big' }, 'x'.repeat(50_000));
    whole.finalize();
    const bytes = await buffer(whole as unknown as Readable);
    expect(await failureOf(unpackAt(Readable.from([bytes.subarray(0, 20_000)])))).to.be.instanceOf(Error);
  });
});
