import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { JobSocket, SocketInUseError } from '../../../lib/containers/warden/job-socket.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { readJobSocket } from '../../support/job-socket.js';

describe('a job socket', () => {
  let directory: string;
  let path: string;
  let socket: JobSocket;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'job-'));
    path = join(directory, 'stdout.sock');
    socket = await JobSocket.listen(path, silentLogger);
  });

  afterEach(async () => {
    await socket.close();
    await rm(directory, { recursive: true });
  });

  it('gives what comes to each reader, behind its position', async () => {
    const readers = await Promise.all([readJobSocket(path), readJobSocket(path)]);
    socket.write(Buffer.from('one\n'));
    await eventually(() => readers.every(({ text }) => text === 'one\n') || undefined);
    expect(readers.map(({ position }) => position)).to.deep.equal([0, 0]);
    for (const reader of readers) reader.close();
  });

  it('gives the last 64 KiB to one who comes late', async () => {
    for (let count = 0; count < 100; count += 1) socket.write(Buffer.alloc(1000, String(count % 10)));
    const reader = await readJobSocket(path);
    await eventually(() => reader.text.length === 65_535 || undefined);
    expect(reader.position).to.equal(100_000 - 65_535);
    expect(reader.text.endsWith('9'.repeat(1000))).to.equal(true);
    reader.close();
  });

  it('is for root only, and gone when it is closed', async () => {
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    await socket.close();
    await stat(path).then(
      () => expect.fail('it is there'),
      ({ code }) => expect(code).to.equal('ENOENT'),
    );
  });

  it('does not take a path that another process serves', async () => {
    const error = await JobSocket.listen(path, silentLogger).catch((failure) => failure);
    expect(error).to.be.instanceOf(SocketInUseError);
  });

  it('takes the place of what an agent that was killed left', async () => {
    const left = join(directory, 'stderr.sock');
    await writeFile(left, '');
    const successor = await JobSocket.listen(left, silentLogger);
    const reader = await readJobSocket(left);
    await successor.close();
    await eventually(() => reader.hasEnded || undefined);
  });

  it('refuses a path that is too long for the system', async () => {
    const error = await JobSocket.listen(join(directory, 'x'.repeat(100)), silentLogger).catch((failure) => failure);
    expect(error.message).to.match(/too long for a socket$/);
  });

  it('is held up by no reader who does not read, and ends without him', async function () {
    this.timeout(10_000);
    const lazy = connect(path);
    await once(lazy, 'connect');
    lazy.pause();
    const reader = await readJobSocket(path);
    for (let count = 0; count < 40; count += 1) {
      socket.write(Buffer.alloc(64 * 1024, 'z'));
      const wanted = (count + 1) * 64 * 1024;
      await eventually(() => reader.text.length >= wanted || undefined);
    }
    await socket.close();
    expect(reader.hasEnded).to.equal(true);
    lazy.destroy();
  });
});
