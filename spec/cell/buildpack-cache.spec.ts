import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { BuildpackArchiveError, BuildpackCache } from '../../lib/cell/buildpack-cache.js';
import { DownloadError } from '../../lib/http/download.js';
import type { LogData } from '../../lib/logging/logger.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';
import { type HttpServer, startHttpServer } from '../support/http-server.js';
import { rejectionOf } from '../support/rejection.js';

async function buildpackZip(text: string): Promise<Buffer> {
  const zip = new ZipFile();
  zip.addBuffer(Buffer.from(text), 'bin/detect', { mode: 0o100755 });
  zip.end();
  return buffer(zip.outputStream);
}

describe('BuildpackCache', () => {
  let base: string;
  let directory: string;
  let server: HttpServer;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  let zip: Buffer;
  let warnings: { message: string; data: LogData | undefined }[];

  before(async () => {
    zip = await buildpackZip('#!/bin/sh\n');
  });

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'buildpacks-'));
    directory = join(base, 'admin_buildpacks');
    warnings = [];
    handler = (_request, response) => response.end(zip);
    server = await startHttpServer((request, response) => handler(request, response));
  });

  afterEach(async () => {
    await server.stop();
    await rm(base, { recursive: true });
  });

  const open = (options: { downloadTimeoutMs?: number } = {}) =>
    BuildpackCache.create({
      directory,
      ...options,
      retryDelayMs: 1,
      logger: { ...silentLogger, warn: (message, data) => warnings.push({ message, data }) },
    });

  const entry = (key: string) => ({ key, url: `${server.url}/${key}` });
  const place = (key: string) => join(directory, key);

  it('unzips what is missing and gives the directories in the order of the message', async () => {
    const cache = open();
    await cache.ensure([entry('ruby-1a2b')]);
    expect(await cache.ensure([entry('zz'), entry('ruby-1a2b'), entry('aa')])).to.deep.equal([
      place('zz'),
      place('ruby-1a2b'),
      place('aa'),
    ]);
    expect(server.requests).to.deep.equal(['GET /ruby-1a2b', 'GET /zz', 'GET /aa']);
    expect(await readFile(join(place('zz'), 'bin/detect'), 'utf8')).to.equal('#!/bin/sh\n');
    expect((await stat(join(place('zz'), 'bin/detect'))).mode & 0o777).to.equal(0o755);
    expect((await stat(place('zz'))).mode & 0o777).to.equal(0o755);
    expect((await readdir(directory)).sort()).to.deep.equal(['aa', 'ruby-1a2b', 'zz']);
  });

  it('finds over a restart what it has, and removes what a killed process left', async () => {
    await open().ensure([entry('ruby')]);
    await mkdir(join(directory, '.work-abc', 'content'), { recursive: true });
    await open().ensure([entry('ruby')]);
    expect(server.requests).to.have.length(1);
    expect(await readdir(directory)).to.deep.equal(['ruby']);
  });

  it('fetches again what someone removed from the disk', async () => {
    const cache = open();
    await cache.ensure([entry('ruby')]);
    await rm(place('ruby'), { recursive: true });
    await cache.ensure([entry('ruby')]);
    expect(existsSync(place('ruby'))).to.equal(true);
  });

  it('leaves out entries with a bad URL or an unsafe key, with a warning that tells no password', async () => {
    const directories = await open().ensure([
      { key: 'a', url: 'nonsense' },
      { key: 'b', url: 'ftp://u:secret@host/x' },
      { key: '../evil', url: server.url },
      { key: '.hidden', url: server.url },
      { key: 'a/b', url: server.url },
      { key: '', url: server.url },
      { key: 'x\n', url: server.url },
      { key: 'x'.repeat(300), url: server.url },
      entry('good'),
    ]);
    expect(directories).to.deep.equal([place('good')]);
    expect(warnings).to.have.length(8);
    expect(JSON.stringify(warnings)).to.not.include('secret');
    expect(await readdir(base)).to.deep.equal(['admin_buildpacks']);
  });

  it('tries a download three times', async () => {
    let attempts = 0;
    handler = (_request, response) => {
      attempts += 1;
      if (attempts < 3) response.writeHead(500).end();
      else response.end(zip);
    };
    expect(await open().ensure([entry('ruby')])).to.deep.equal([place('ruby')]);
    expect(attempts).to.equal(3);
  });

  it('fails after the third attempt and leaves nothing behind', async () => {
    handler = (_request, response) => response.writeHead(404).end();
    const error = await rejectionOf(open().ensure([entry('ruby'), entry('go')]));
    expect(error).to.be.instanceOf(DownloadError).with.property('message', 'Error downloading: HTTP status: 404');
    expect(server.requests).to.have.length(3);
    expect(await readdir(directory)).to.deep.equal([]);
  });

  it('does not let others wait for one that drips', async () => {
    handler = (request, response) => {
      if (request.url !== '/drips') return void response.end(zip);
      const timer = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(timer));
    };
    const cache = open({ downloadTimeoutMs: 300 });
    const dripping = rejectionOf(cache.ensure([entry('drips')]));
    await eventually(() => (server.requests.includes('GET /drips') ? true : undefined));
    expect(await cache.ensure([entry('other')])).to.deep.equal([place('other')]);
    expect(await dripping)
      .to.be.instanceOf(DownloadError)
      .with.property('message')
      .that.includes('ETIMEDOUT');
  });

  it('fails on an archive that cannot be unpacked and leaves nothing behind', async () => {
    handler = (_request, response) => response.end('no zip');
    const error = await rejectionOf(open().ensure([entry('ruby')]));
    expect(error).to.be.instanceOf(BuildpackArchiveError);
    expect(error.message).to.match(/^Buildpack ruby cannot be unpacked: /);
    expect(await readdir(directory)).to.deep.equal([]);
  });

  it('fetches one at a time, and one that several want only once', async () => {
    let running = 0;
    let mostRunning = 0;
    handler = (_request, response) => {
      running += 1;
      mostRunning = Math.max(mostRunning, running);
      setTimeout(() => {
        running -= 1;
        response.end(zip);
      }, 30);
    };
    const cache = open();
    await Promise.all([
      cache.ensure([entry('ruby'), entry('go')]),
      cache.ensure([entry('go'), entry('node')]),
      cache.ensure([entry('ruby')]),
    ]);
    expect(mostRunning).to.equal(1);
    expect([...server.requests].sort()).to.deep.equal(['GET /go', 'GET /node', 'GET /ruby']);
  });

  it('does not let who needs nothing wait for the downloads of others', async () => {
    const cache = open();
    await cache.ensure([entry('ruby')]);
    handler = () => {};
    const abort = new AbortController();
    const hanging = rejectionOf(cache.ensure([entry('go')], abort.signal));
    await eventually(() => (server.requests.length === 2 ? true : undefined));
    expect(await cache.ensure([entry('ruby')])).to.deep.equal([place('ruby')]);
    abort.abort(new Error('task stopped'));
    await hanging;
  });

  it('ends with the reason of its signal, and lets the next one go on', async () => {
    const cache = open();
    handler = () => {};
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = rejectionOf(cache.ensure([entry('ruby')], running.signal));
    await eventually(() => (server.requests.length === 1 ? true : undefined));
    const second = rejectionOf(cache.ensure([entry('go')], waiting.signal));
    const third = cache.ensure([entry('node')]);
    const reason = new Error('task stopped');
    waiting.abort(reason);
    expect(await second).to.equal(reason);
    expect(server.requests, 'its turn has not come').to.have.length(1);
    handler = (_request, response) => response.end(zip);
    running.abort(reason);
    expect(await first).to.equal(reason);
    expect(await third).to.deep.equal([place('node')]);
    expect(await readdir(directory)).to.deep.equal(['node']);
  });

  describe('pruning', () => {
    it('removes the buildpacks that nobody uses', async () => {
      const cache = open();
      await cache.ensure([entry('ruby'), entry('go'), entry('node')]);
      await writeFile(join(directory, '.keep'), '');
      await cache.prune(['go']);
      expect((await readdir(directory)).sort()).to.deep.equal(['.keep', 'go']);
    });

    it('spares those that are being fetched', async () => {
      const cache = open();
      let answer = () => {};
      handler = (request, response) => {
        if (request.url === '/ruby') response.end(zip);
        else answer = () => response.end(zip);
      };
      const fetching = cache.ensure([entry('ruby'), entry('go')]);
      await eventually(() => (server.requests.length === 2 ? true : undefined));
      await cache.prune([]);
      answer();
      await fetching;
      expect((await readdir(directory)).sort()).to.deep.equal(['go', 'ruby']);
    });

    it('lets a buildpack be fetched again at the same moment', async () => {
      const cache = open();
      await cache.ensure([entry('ruby')]);
      const [, directories] = await Promise.all([cache.prune([]), cache.ensure([entry('ruby')])]);
      expect(existsSync(join(directories[0]!, 'bin/detect'))).to.equal(true);
    });
  });
});
