import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect } from 'chai';
import { FileServer } from '../../../lib/dea/files/file-server.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { ask, askWhole } from '../../support/http-client.js';

const megabyte = 1024 * 1024;

describe('FileServer under load', function () {
  this.timeout(120_000);
  let home: string;
  let server: FileServer;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'file-load-'));
    server = FileServer.create({
      directoryServer: { host: '127.0.0.1', port: 0 },
      fileApi: { port: 0 },
      hostUuid: 'a1b2c3d4e5f60718293a4b5c6d7e8f90',
      key: '0123456789abcdef0123456789abcdef',
      domain: 'domain.example.com',
      protocol: 'http',
      roots: { instanceRoot: () => ({ state: 'ok', root: home }), stagingRoot: () => ({ state: 'unknown' }) },
      streamingTimeoutMs: 60_000,
      clock: Date.now,
      logger: silentLogger,
    });
    await server.start();
  });

  afterEach(async () => {
    await server.stop();
    await rm(home, { recursive: true });
  });

  const asked = (path: string, query = '') => {
    const { pathname, search } = new URL(server.instanceFileUrl('i', path));
    return { port: server.directoryServerPort, path: pathname + search + query };
  };

  it('lists 100,000 files in order, and lets others have their turn meanwhile', async () => {
    const directory = join(home, 'many');
    await mkdir(directory);
    const names = Array.from({ length: 100_000 }, (_, index) => `${(index * 7919) % 100_000}-file`);
    for (const name of names) writeFileSync(join(directory, name), '');
    // What the many calls above have kept waiting is not to be counted.
    await askWhole(asked('/'));
    const before = process.memoryUsage().rss;
    const blocked = monitorEventLoopDelay({ resolution: 5 });
    blocked.enable();
    const response = await ask(asked('/many'));
    blocked.disable();
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const lines = Buffer.concat(chunks).toString().trimEnd().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).to.deep.equal(names.sort());
    expect(blocked.max / 1e6).to.be.lessThan(500);
    expect((process.memoryUsage().rss - before) / megabyte).to.be.lessThan(200);
  });

  it('tails a file that grows faster than its reader reads, in bounded memory and without a loss', async () => {
    const path = join(home, 'log');
    await writeFile(path, '');
    const response = await ask(asked('/log', '&tail'));
    const block = Buffer.alloc(megabyte, 'a line of a log\n');
    const before = process.memoryUsage();
    const file = await open(path, 'a');
    for (let count = 0; count < 200; count += 1) await file.write(block);
    await file.close();
    const grown = (after: NodeJS.MemoryUsage) => (after.arrayBuffers - before.arrayBuffers) / megabyte;
    expect(grown(process.memoryUsage())).to.be.lessThan(32);
    let received = 0;
    let most = 0;
    for await (const chunk of response) {
      received += (chunk as Buffer).length;
      most = Math.max(most, grown(process.memoryUsage()));
      if (received === 200 * megabyte) break;
    }
    expect(received).to.equal(200 * megabyte);
    expect(most).to.be.lessThan(64);
  });

  it('has a thousand tails at once with a handful of timers, and each gets its line', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `tail-${index}`);
    for (const name of names) await writeFile(join(home, name), '');
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    const responses = await Promise.all(names.map((name) => ask(asked(`/${name}`, '&tail'))));
    expect(timers() - before).to.be.lessThan(10);
    const lines = Promise.all(responses.map((response) => once(response, 'data')));
    for (const name of names) await appendFile(join(home, name), `line of ${name}\n`);
    const arrived = (await lines).map(([chunk]) => String(chunk));
    expect(arrived).to.deep.equal(names.map((name) => `line of ${name}\n`));
    for (const response of responses) response.destroy();
    await eventually(() => (timers() <= before ? true : undefined), { what: 'no timer left' });
  });

  it('has a thousand tails of one file', async () => {
    await writeFile(join(home, 'log'), 'begin\n');
    const responses = await Promise.all(Array.from({ length: 1000 }, () => ask(asked('/log', '&tail&tail_offset=0'))));
    const texts = responses.map(() => '');
    for (const [index, response] of responses.entries()) {
      response.on('data', (chunk: Buffer) => {
        texts[index] += chunk.toString();
      });
    }
    await appendFile(join(home, 'log'), 'end\n');
    await eventually(() => (texts.every((text) => text === 'begin\nend\n') ? true : undefined), { timeoutMs: 30_000 });
    const ends = Promise.all(responses.map((response) => once(response, 'end')));
    await rm(join(home, 'log'));
    await ends;
  });
});
