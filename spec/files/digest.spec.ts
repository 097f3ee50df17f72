import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { fileDigest } from '../../lib/files/digest.js';
import { rejectionOf } from '../support/rejection.js';

describe('fileDigest', () => {
  let directory: string;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'digest-'));
  });

  after(() => rm(directory, { recursive: true }));

  for (const bytes of [0, 1, 1024 * 1024, 3_500_000]) {
    it(`is that of the whole content of ${bytes} bytes`, async () => {
      const content = randomBytes(bytes);
      const path = join(directory, 'file');
      await writeFile(path, content);
      for (const algorithm of ['sha1', 'md5'] as const) {
        expect(await fileDigest(path, algorithm)).to.equal(createHash(algorithm).update(content).digest('hex'));
      }
    });
  }

  it('leaves the event loop free while it reads', async () => {
    const path = join(directory, 'large');
    await writeFile(path, Buffer.alloc(150_000_000));
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 5);
    const digest = fileDigest(path, 'sha1');
    await digest;
    clearInterval(timer);
    expect(turns).to.be.greaterThan(5);
  });

  it('passes on what the file system says', async () => {
    expect(await rejectionOf(fileDigest(join(directory, 'missing'), 'sha1'))).to.have.property('code', 'ENOENT');
    expect(await rejectionOf(fileDigest(directory, 'sha1'))).to.have.property('code', 'EISDIR');
  });
});
