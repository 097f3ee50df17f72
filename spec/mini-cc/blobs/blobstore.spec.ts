import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { Blobstore, BlobTooLargeError, InvalidBlobNameError } from '../../../lib/mini-cc/blobs/blobstore.js';
import { rejectionOf } from '../../support/rejection.js';

describe('the blobstore', () => {
  let root: string;
  let blobs: Blobstore;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'blobs-spec-'));
    blobs = new Blobstore(root);
    await blobs.start();
  });

  afterEach(() => rm(root, { recursive: true, force: true }));

  const receive = (text: string, limit = 1000) => blobs.receive(Readable.from([Buffer.from(text)]), limit);

  it('tells size and checksums of what it takes', async () => {
    const pending = await receive('hello');
    expect(pending).to.include({
      bytes: 5,
      sha1: 'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d',
      md5: 'XUFAKrxLKna5cZ2REBfFkg==',
    });
  });

  it('gives a blob under its name only once it is committed, and the newer one after that', async () => {
    const pending = await receive('first');
    expect(await blobs.find('packages/a')).to.equal(undefined);
    await pending.commit('packages/a');
    await (await receive('second')).commit('packages/a');
    expect(await readFile((await blobs.find('packages/a'))!, 'utf8')).to.equal('second');
    expect(await readdir(join(root, 'incoming'))).to.deep.equal([]);
  });

  it('leaves nothing of what is discarded, too large or broken off', async () => {
    await (await receive('x')).discard();
    expect(await rejectionOf(receive('12345', 4))).to.be.instanceOf(BlobTooLargeError);
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('x');
        throw new Error('cut');
      })(),
    );
    expect(await rejectionOf(blobs.receive(broken, 1000))).to.have.property('message', 'cut');
    expect(await readdir(join(root, 'incoming'))).to.deep.equal([]);
  });

  it('removes at its start what a killed process left half-written', async () => {
    await writeFile(join(root, 'incoming', 'half'), 'x');
    await (await receive('kept')).commit('packages/a');
    await new Blobstore(root).start();
    expect(await readdir(join(root, 'incoming'))).to.deep.equal([]);
    expect(await blobs.find('packages/a')).to.be.a('string');
  });

  it('knows no names that lead out of it or into its own affairs', async () => {
    for (const name of ['../x', 'a/../../x', '/etc/passwd', 'a//b', '', '.', 'a/.b', 'a\0b', 'A', 'incoming/x', 'a/']) {
      expect(await rejectionOf(blobs.find(name)), name).to.be.instanceOf(InvalidBlobNameError);
    }
  });

  it('follows no symbolic links', async () => {
    await mkdir(join(root, 'packages'));
    await symlink('/etc/hostname', join(root, 'packages', 'a'));
    await symlink('/etc', join(root, 'elsewhere'));
    await rejectionOf(blobs.find('packages/a'));
    await rejectionOf(blobs.find('elsewhere/hostname'));
  });

  it('deletes single blobs and all below a name', async () => {
    for (const name of ['droplets/a/1', 'droplets/a/2', 'droplets/b/1']) await (await receive(name)).commit(name);
    await blobs.delete('droplets/a/1');
    expect(await blobs.list('droplets/a')).to.deep.equal(['2']);
    await blobs.delete('droplets/a');
    expect(await blobs.list('droplets')).to.deep.equal(['b']);
    await blobs.delete('droplets/a');
  });
});
