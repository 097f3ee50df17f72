import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { pack } from 'tar-stream';
import type { Container } from '../../lib/containers/engine.js';
import { copyDirectoryOut, copyFileOut } from '../../lib/dea/containers.js';
import { rejectionOf } from '../support/rejection.js';

const content = Buffer.from('what the buildpack made\n'.repeat(1000));

/** A real archive of one file. */
async function archive(): Promise<Buffer> {
  const packing = pack();
  packing.entry({ name: 'droplet.tgz' }, content);
  packing.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packing) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('copying out of a container', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'copy-spec-'));
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** A container whose archive is this stream; nothing else of it is asked for. */
  const holding = (stream: Readable) => ({ streamOut: async () => stream }) as unknown as Container;

  it('gives the bytes of a file and their SHA-1', async () => {
    const target = join(directory, 'droplet');
    const sha1 = await copyFileOut(holding(Readable.from([await archive()])), '/tmp/droplet.tgz', target);
    expect(await readFile(target)).to.deep.equal(content);
    expect(sha1).to.equal(createHash('sha1').update(content).digest('hex'));
  });

  it('does not mind an archive that ends long after its end mark', async () => {
    const whole = await archive();
    async function* late() {
      yield whole;
      // tar has seen the end mark and is gone when these come.
      for (let more = 0; more < 4; more += 1) {
        await delay(50);
        yield Buffer.alloc(10_240);
      }
    }
    const target = join(directory, 'droplet');
    await copyFileOut(holding(Readable.from(late())), '/tmp/droplet.tgz', target);
    expect(await readFile(target)).to.deep.equal(content);
    await copyDirectoryOut(holding(Readable.from(late())), '/tmp', join(directory, 'all'));
    expect(await readFile(join(directory, 'all', 'droplet.tgz'))).to.deep.equal(content);
  });

  it('fails with the reason of an archive that breaks off, also after its end mark', async () => {
    const whole = await archive();
    for (const bytes of [1000, whole.length]) {
      const broken = async function* () {
        yield whole.subarray(0, bytes);
        await delay(20);
        throw new Error('the container is gone');
      };
      const copied = copyFileOut(holding(Readable.from(broken())), '/tmp/droplet.tgz', join(directory, 'droplet'));
      expect((await rejectionOf(copied)).message).to.equal('the container is gone');
    }
  });

  it('fails when it is no archive', async () => {
    const rubbish = Readable.from([Buffer.alloc(20_000, 'x')]);
    const copied = copyDirectoryOut(holding(rubbish), '/tmp', join(directory, 'all'));
    expect((await rejectionOf(copied)).message).to.equal('tar -x ended with status 2');
  });
});
