import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { extract, type Header } from 'tar-stream';
import { type GardenAnswer, type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { tarOf } from '../support/image-layout.js';

const users = ['alice:x:1000:1000::/home/alice:/bin/sh', 'bob:x:1001:1001::/home/bob:/bin/sh'];

describe('files streamed through bin/garden', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;
  let scratch: string;

  before(async () => {
    garden = await startGarden();
    client = new GardenClient(garden.socket);
    scratch = mkdtempSync(join(tmpdir(), 'files-'));
  });

  after(async () => {
    await garden.stop();
    rmSync(scratch, { recursive: true });
  });

  beforeEach(async () => {
    await client.create({ handle: 'c' });
    const script = users.map((line) => `echo ${line} >> /etc/passwd`).join('; ');
    await client.read('c', `${script}; for u in alice bob; do mkdir -m 755 /home/$u; chown $u: /home/$u; done`);
  });

  afterEach(() => client.destroyAll());

  const messageOf = ({ json }: GardenAnswer) => (json as { Message: string }).Message;
  const refusal = async (place: { user?: string; destination?: string }, tar: Buffer | string) => {
    const answer = await client.streamIn('c', place, tar);
    expect(answer.status).to.equal(500);
    return messageOf(answer);
  };
  const headersOf = async (tar: Buffer): Promise<Header[]> => {
    const found: Header[] = [];
    const entries = Readable.from([tar]).pipe(extract());
    for await (const entry of entries) {
      found.push(entry.header);
      entry.resume();
    }
    return found;
  };
  const namesIn = async (place: { user?: string; source?: string }) => {
    const answer = await client.streamOut('c', place);
    expect(answer.status).to.equal(200);
    return (await headersOf(answer.bytes)).map(({ name }) => name);
  };

  it('belong to the user who brings them, and only where he may write', async () => {
    const tar = await tarOf([{ name: 'f', content: 'hello', uid: 0, gid: 0 }]);
    const { status, text } = await client.streamIn('c', { user: 'alice', destination: '/home/alice' }, tar);
    expect({ status, text }).to.deep.equal({ status: 200, text: '{}\n' });
    expect(await client.read('c', 'stat -c "%U %s" /home/alice/f')).to.equal('alice 5\n');
    expect(await refusal({ user: 'bob', destination: '/home/alice' }, tar)).to.include('Permission denied');
    expect(await refusal({ user: 'batman', destination: '/home/alice' }, tar)).to.include('error streaming in');
    expect(await refusal({ user: 'alice' }, tar)).to.include('error streaming in');
    await client.streamIn('c', { user: 'alice', destination: 'made/on/the/way' }, tar);
    expect(await client.read('c', 'cd /home/alice/made; stat -c %U . on on/the/way/f')).to.equal('alice\n'.repeat(3));
  });

  it('are refused when their archive is cut off, is none, or is empty', async () => {
    const tar = await tarOf([{ name: 'f', content: 'x'.repeat(50_000) }]);
    for (const broken of [tar.subarray(0, 20_000), Buffer.alloc(5_000, 'no archive '), Buffer.alloc(0)]) {
      expect(await refusal({ destination: '/tmp' }, broken)).to.match(/^stream-in: nstar: error streaming in: /);
    }
    expect((await client.streamIn('c', { destination: '/tmp' }, tar)).status).to.equal(200);
  });

  it('come out under ./ with a trailing slash and under their name without', async () => {
    await client.read('c', 'mkdir -p /x/d; echo 1 > /x/d/f');
    expect(await namesIn({ source: '/x/d/' })).to.deep.equal(['./', './f']);
    expect(await namesIn({ source: '/x/d' })).to.deep.equal(['d/', 'd/f']);
    const missing = await client.streamOut('c', { source: '/x/none/' });
    expect(missing.status).to.equal(500);
    expect((await client.exec('c', 'test -e /x/none')).status).to.equal(1);
  });

  it('keep the capabilities that a file lends, on their way in and out', async () => {
    const source = join(scratch, 'source');
    mkdirSync(source);
    copyFileSync('/bin/true', join(source, 'capable'));
    chmodSync(join(source, 'capable'), 0o755);
    execFileSync('setcap', ['cap_net_raw+ep', join(source, 'capable')]);
    execFileSync('setfattr', ['-n', 'user.colour', '-v', 'blue "\\', join(source, 'capable')]);
    const args = ['--format=posix', '--xattrs', '--xattrs-include=*', '-C', source, '-cf', '-', '.'];
    const tar = execFileSync('tar', args, { maxBuffer: 10_000_000 });
    expect((await client.streamIn('c', { destination: '/x' }, tar)).status).to.equal(200);
    const attribute = (name: string) => `python3 -c 'import os; print(os.getxattr("/x/capable", "${name}").hex())'`;
    const inside = await client.read('c', attribute('security.capability'));
    expect(inside).to.match(/^01000002/);

    const { bytes } = await client.streamOut('c', { source: '/x/' });
    const [entry] = (await headersOf(bytes)).filter(({ name }) => name === './capable');
    expect(entry?.pax).to.have.property('SCHILY.xattr.user.colour', 'blue "\\');
    const back = join(scratch, 'back');
    mkdirSync(back);
    execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-C', back, '-xf', '-'], { input: bytes });
    expect(execFileSync('getcap', [join(back, 'capable')], { encoding: 'utf8' })).to.match(/cap_net_raw[=+]ep/);
    expect(readdirSync(back)).to.deep.equal(['capable']);
  });

  it('are refused, or lose what lends rights, when their archive is a hostile one', async () => {
    const place = { destination: '/tmp/in' };
    const device = { type: 'character-device', devmajor: 1, devminor: 3 } as const;
    expect(await refusal(place, await tarOf([{ name: 'null', ...device }]))).to.match(
      /node null: Operation not permitted/,
    );
    const loop = Array.from({ length: 10 }, (_, index) => ({
      name: `l${index}`,
      type: 'symlink' as const,
      linkname: `l${(index + 1) % 10}`,
    }));
    await client.streamIn('c', place, await tarOf(loop));
    expect(await refusal(place, await tarOf([{ name: 'l0/file', content: 'x' }]))).to.include('symbolic links');
    expect(await refusal({ destination: '/tmp/in/l3' }, await tarOf([{ name: 'f' }]))).to.include('symbolic links');
    const hardLink = { name: 'shadow', type: 'link' as const, linkname: '/../../etc/shadow' };
    const { nlink } = statSync('/etc/shadow');
    await client.streamIn('c', place, await tarOf([hardLink]));
    expect(statSync('/etc/shadow').nlink).to.equal(nlink);
    await client.read('c', '! [ -e /tmp/in/shadow ] || [ /tmp/in/shadow -ef /etc/shadow ]; rm -f /tmp/in/shadow');
    const bits = { mode: 0o6755, uid: 0, gid: 0 };
    await client.streamIn('c', place, await tarOf([{ name: 'root', content: 'x', ...bits }]));
    expect(await client.read('c', 'cd /tmp/in; stat -c "%a %h" root; find . ! -type l | sort')).to.equal(
      '755 1\n.\n./root\n',
    );
  });

  it('never leave the container through a link in it', async () => {
    const tar = await tarOf([{ name: 'intruder', content: 'x' }]);
    await client.read('c', 'ln -s /etc /home/alice/out; ln -s /../../../../../../etc /home/alice/up');
    for (const destination of ['/home/alice/out', '/home/alice/up', '/home/alice/out/../../../../../../etc']) {
      await client.streamIn('c', { destination }, tar);
      expect(existsSync('/etc/intruder'), destination).to.equal(false);
    }
    expect(await client.read('c', 'ls /etc/intruder')).to.equal('/etc/intruder\n');
    expect(await refusal({ user: 'alice', destination: '/home/alice/out' }, tar)).to.include('Permission denied');
    const through = await tarOf([
      { name: 'link', type: 'symlink', linkname: '/etc' },
      { name: 'link/intruder', content: 'x' },
      { name: '../../../../../../etc/intruder', content: 'x' },
    ]);
    await client.streamIn('c', { destination: '/home/alice' }, through);
    expect(existsSync('/etc/intruder')).to.equal(false);
  });
});
