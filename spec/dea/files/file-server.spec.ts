import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { FileRoot } from '../../../lib/dea/files/file-roots.js';
import { FileServer, type FileServerOptions } from '../../../lib/dea/files/file-server.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { type Answer, type Asked, ask, askWhole } from '../../support/http-client.js';
import { rejectionOf } from '../../support/rejection.js';

const content = 'hello, world!';
const modifiedSeconds = 1_458_249_850;
const lastModified = new Date(modifiedSeconds * 1000).toUTCString();

describe('FileServer', () => {
  let home: string;
  let roots: Record<string, FileRoot>;
  let servers: FileServer[];
  let server: FileServer;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'file-server-'));
    roots = { i: { state: 'ok', root: home } };
    servers = [];
    server = await start();
  });

  afterEach(async () => {
    for (const started of servers) await started.stop();
    await rm(home, { recursive: true });
  });

  function make(options: Partial<FileServerOptions> = {}): FileServer {
    const made = FileServer.create({
      directoryServer: { host: '127.0.0.1', port: 0 },
      fileApi: { port: 0 },
      hostUuid: 'a1b2c3d4e5f60718293a4b5c6d7e8f90',
      key: '0123456789abcdef0123456789abcdef',
      domain: 'domain.example.com',
      protocol: 'http',
      roots: {
        instanceRoot: (id) => roots[id] ?? { state: 'unknown' },
        stagingRoot: (id) => roots[id] ?? { state: 'unknown' },
      },
      streamingTimeoutMs: 60_000,
      clock: Date.now,
      logger: silentLogger,
      ...options,
    });
    servers.push(made);
    return made;
  }

  async function start(options: Partial<FileServerOptions> = {}): Promise<FileServer> {
    const made = make(options);
    await made.start();
    return made;
  }

  /** Path and query of the signed URL of a file. */
  function signedPath(path: string | null, of = server): string {
    const url = of.instanceFileUrl('i', path);
    return url.slice(url.indexOf('/instance_paths'));
  }

  const asked = (path: string | null, extra: Partial<Asked> & { query?: string } = {}): Asked => ({
    port: server.directoryServerPort,
    path: `${signedPath(path)}${extra.query ?? ''}`,
    ...extra,
  });

  const get = (path: string | null, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> => {
    const { query, ...rest } = asked(path, { headers, method }) as Asked & { query?: string };
    expect(query).to.equal(undefined);
    return askWhole(rest);
  };

  async function writeContent(name = 'file.txt', text: string | Buffer = content): Promise<string> {
    const path = join(home, name);
    await writeFile(path, text);
    await utimes(path, modifiedSeconds, modifiedSeconds);
    return path;
  }

  describe('makes URLs', () => {
    it('of instances and staging tasks', () => {
      const made = make({ clock: () => 1_458_249_850_999, protocol: 'https' });
      expect(made.instanceFileUrl('f2f0c3f1b7a94a4d9a2b8c2d3e4f5a6b', '/logs/stdout.log')).to.equal(
        'https://a1b2c3d4e5f60718293a4b5c6d7e8f90.domain.example.com/instance_paths/f2f0c3f1b7a94a4d9a2b8c2d3e4f5a6b' +
          '?hmac=8b507414ceaa30c6f4a5a9f3878a5db7308aee2ed646bc5a880047e3b5300a641a600f44b94dd441c790bbb334e75cbb' +
          'fcb5ce9eed97dbbedd91666fc6a2e0a1&path=%2Flogs%2Fstdout.log&timestamp=1458249850',
      );
      expect(made.stagingLogUrl('0b8f')).to.equal(
        'https://a1b2c3d4e5f60718293a4b5c6d7e8f90.domain.example.com/staging_tasks/0b8f/file_path' +
          '?hmac=1e07ce495cc126a0c32644696d8612e4f35e1a4743295f1e1d0893538ce8c65046947d2831caa9fb09ea72a407be5c5b' +
          'ae836741315a7fad33bdfc1fd900f76b&path=%2Ftmp%2Fstaged%2Flogs%2Fstaging_task.log&timestamp=1458249850',
      );
      expect(made.instanceFileUrl('i', null)).to.match(/&path&timestamp=1458249850$/);
    });

    it('with the port of the routers where it is not the usual one', () => {
      expect(make({ urlPort: 8080 }).instanceFileUrl('i', '/')).to.include('.domain.example.com:8080/instance_paths/');
    });
  });

  describe('as the file API', () => {
    it('answers on the loopback', async () => {
      const path = await writeContent();
      const answer = await askWhole({ port: server.fileApiPort, path: signedPath('/file.txt') });
      expect(answer.status).to.equal(200);
      expect(answer.headers['content-type']).to.equal('application/json');
      expect(answer.body).to.equal(JSON.stringify({ instance_path: path }));
      const head = await askWhole({ port: server.fileApiPort, path: signedPath('/file.txt'), method: 'HEAD' });
      expect([head.status, head.body]).to.deep.equal([200, '']);
    });

    it('listens nowhere else', async () => {
      const listening = execFileSync('ss', ['-Hltn', `sport = :${server.fileApiPort}`]).toString();
      expect(listening.trim().split('\n')).to.have.length(1);
      expect(listening).to.include(`127.0.0.1:${server.fileApiPort}`);
    });
  });

  describe('passes on what the file API refuses', () => {
    for (const [what, change, status, error] of [
      ['a changed path', (url: string) => url.replace('file', 'other'), 401, 'Invalid HMAC'],
      ['a missing parameter', (url: string) => url.replace('hmac=', 'mac='), 400, 'hmac is missing'],
    ] as const) {
      it(`${status} for ${what}`, async () => {
        const answer = await askWhole({ port: server.directoryServerPort, path: change(signedPath('/file')) });
        expect(answer.status).to.equal(status);
        expect(answer.headers['content-type']).to.equal('application/json');
        expect(answer.body).to.equal(JSON.stringify({ error }));
      });
    }

    it('404 for another path, whatever the method', async () => {
      for (const method of ['GET', 'DELETE']) {
        const answer = await askWhole({ port: server.directoryServerPort, path: '/x', method });
        expect([answer.status, answer.headers['x-cascade'], answer.body]).to.deep.equal([404, 'pass', '404 Not Found']);
      }
    });

    it('400 for a URL that was signed 3601 seconds ago', async () => {
      const past = make({ clock: () => Date.now() - 3_601_000 });
      const answer = await askWhole({ port: server.directoryServerPort, path: signedPath('/', past) });
      expect([answer.status, answer.body]).to.deep.equal([400, '{"error":"Url expired"}']);
    });

    it('404 for a link to a file of the host', async () => {
      await symlink('/etc/hostname', join(home, 'link'));
      expect((await get('/link')).status).to.equal(404);
    });
  });

  describe('serves a directory', () => {
    beforeEach(async () => {
      await writeContent('.dot', 'xx');
      await mkdir(join(home, 'sub'));
    });

    const listing = '.dot                                        2B\nsub/                                         -\n';

    it('as a listing', async () => {
      for (const path of [null, '/', '']) {
        const { status, headers, body } = await get(path);
        expect(status).to.equal(200);
        expect(headers['content-type']).to.equal('text/plain');
        expect(headers['content-length']).to.equal(String(listing.length));
        expect(body).to.equal(listing);
      }
    });

    it('also when a tail is asked for, or a link leads to it', async () => {
      await symlink('..', join(home, 'sub', 'up'));
      await symlink('.', join(home, 'sub', 'self'));
      expect((await askWhole(asked('/', { query: '&tail' }))).body).to.equal(listing);
      expect((await get('/sub/up')).body).to.equal(listing);
    });

    it('without a body for HEAD, and empty when it is empty', async () => {
      const head = await get('/', {}, 'HEAD');
      expect([head.headers['content-length'], head.body]).to.deep.equal([String(listing.length), '']);
      expect((await get('/sub')).body).to.equal('');
    });
  });

  describe('serves a file', () => {
    beforeEach(() => writeContent());

    it('whole, with its length, type and time of change', async () => {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const { status, headers, body } = await get('/file.txt', {}, method);
        expect(status).to.equal(200);
        expect(headers).to.include({
          'accept-ranges': 'bytes',
          'content-length': '13',
          'content-type': 'text/plain; charset=utf-8',
          'last-modified': lastModified,
        });
        expect(headers).to.not.have.property('etag');
        expect(body).to.equal(content);
      }
    });

    it('with its headers alone for HEAD', async () => {
      const { status, headers, body } = await get('/file.txt', {}, 'HEAD');
      expect([status, headers['content-length'], body]).to.deep.equal([200, '13', '']);
    });

    it('with the type of its content where the name tells none', async () => {
      await writeContent('page', '<html><p>');
      await writeContent('zeros', Buffer.alloc(20));
      await writeContent('empty', '');
      expect((await get('/page')).headers['content-type']).to.equal('text/html; charset=utf-8');
      expect((await get('/zeros')).headers['content-type']).to.equal('application/octet-stream');
      const empty = await get('/empty');
      expect(empty.headers['content-type']).to.equal('text/plain; charset=utf-8');
      expect([empty.headers['content-length'], empty.body]).to.deep.equal(['0', '']);
    });

    it('that is large, byte for byte', async () => {
      const large = Buffer.alloc(5_000_000, 'abcdefghijk');
      await writeContent('large', large);
      expect((await get('/large')).body).to.equal(large.toString());
    });

    for (const [range, contentRange, body] of [
      ['bytes=5-10', 'bytes 5-10/13', content.slice(5, 11)],
      ['bytes=5-', 'bytes 5-12/13', content.slice(5)],
      ['bytes=-3', 'bytes 10-12/13', content.slice(10)],
      ['bytes=0-100', 'bytes 0-12/13', content],
      ['bytes=20-,1-2', 'bytes 1-2/13', content.slice(1, 3)],
    ] as const) {
      it(`in part for ${range}`, async () => {
        const answer = await get('/file.txt', { Range: range });
        expect(answer.status).to.equal(206);
        expect(answer.headers).to.include({
          'content-range': contentRange,
          'content-length': String(body.length),
          'content-type': 'text/plain; charset=utf-8',
          'accept-ranges': 'bytes',
        });
        expect(answer.body).to.equal(body);
      });
    }

    it('in several parts', async () => {
      const answer = await get('/file.txt', { Range: 'bytes=0-1, 3-4' });
      expect(answer.status).to.equal(206);
      const boundary = /^multipart\/byteranges; boundary=([0-9a-f]{60})$/.exec(answer.headers['content-type']!)![1];
      const part = (range: string, text: string) =>
        `--${boundary}\r\nContent-Range: bytes ${range}/13\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${text}\r\n`;
      expect(answer.body).to.equal(`${part('0-1', 'he')}${part('3-4', 'lo')}--${boundary}--\r\n`);
      expect(answer.headers['content-length']).to.equal(String(answer.body.length));
      expect(answer.headers).to.not.have.property('content-range');
    });

    for (const range of ['bytes=', 'bytes=0-9,0-9']) {
      it(`whole for ${range}`, async () => {
        const answer = await get('/file.txt', { Range: range });
        expect([answer.status, answer.body]).to.deep.equal([200, content]);
      });
    }

    it('not beyond its end', async () => {
      const answer = await get('/file.txt', { Range: 'bytes=13-' });
      expect(answer.status).to.equal(416);
      expect(answer.headers).to.include({
        'content-range': 'bytes */13',
        'content-type': 'text/plain; charset=utf-8',
        'x-content-type-options': 'nosniff',
      });
      expect(answer.body).to.equal('invalid range: failed to overlap\n');
    });

    it('not for a range that is none', async () => {
      for (const range of ['bytes=abc', 'bytes=4-2', 'items=0-1']) {
        const answer = await get('/file.txt', { Range: range });
        expect([answer.status, answer.body]).to.deep.equal([416, 'invalid range\n']);
        expect(answer.headers).to.not.have.property('content-range');
      }
    });

    it('in part only when If-Range names this version', async () => {
      const range = { Range: 'bytes=5-10' };
      expect((await get('/file.txt', { ...range, 'If-Range': lastModified })).status).to.equal(206);
      const other = await get('/file.txt', { ...range, 'If-Range': new Date().toUTCString() });
      expect([other.status, other.body]).to.deep.equal([200, content]);
    });

    it('on conditions', async () => {
      const unmodified = await get('/file.txt', { 'If-Modified-Since': lastModified });
      expect([unmodified.status, unmodified.body]).to.deep.equal([304, '']);
      expect(unmodified.headers).to.not.have.any.keys('content-type', 'content-length');
      const changed = await get('/file.txt', { 'If-Unmodified-Since': new Date(0).toUTCString() });
      expect([changed.status, changed.body]).to.deep.equal([412, '']);
      expect((await get('/file.txt', { 'If-Match': '"x"' })).status).to.equal(412);
      expect((await get('/file.txt', { 'If-None-Match': '*' })).status).to.equal(304);
      expect((await get('/file.txt', { 'If-None-Match': '*' }, 'POST')).status).to.equal(412);
      expect((await get('/file.txt', { 'If-None-Match': '"x"' })).status).to.equal(200);
    });

    it('but no pipe, and does not wait for a writer', async () => {
      execFileSync('mkfifo', [join(home, 'pipe')]);
      for (const query of ['', '&tail']) {
        const answer = await askWhole(asked('/pipe', { query }));
        expect(answer.status).to.equal(500);
        expect(answer.headers['content-type']).to.equal('text/plain; charset=utf-8');
        expect(answer.body).to.equal("Can't serve request due to error: not a regular file");
      }
    });

    it('nor a device or a socket', async () => {
      execFileSync('mknod', [join(home, 'zero'), 'c', '1', '5']);
      const socket = createServer().listen(join(home, 'socket'));
      await once(socket, 'listening');
      try {
        for (const path of ['/zero', '/socket']) expect((await get(path)).status).to.equal(500);
      } finally {
        socket.close();
      }
    });

    it('and holds no file open afterwards', async () => {
      await get('/file.txt');
      await get('/');
      await get('/file.txt', { Range: 'bytes=99-' });
      await get('/file.txt', { 'If-None-Match': '*' });
      await eventually(() => (openFilesBelow(home) === 0 ? true : undefined), { what: 'all files closed' });
    });

    it('and many of them to many clients at once, each its own', async () => {
      const names = Array.from({ length: 12 }, (_, index) => `file-${index}.log`);
      for (const [index, name] of names.entries()) await writeContent(name, Buffer.alloc(5000 * (index + 1), name));
      const asking = Array.from({ length: 240 }, (_, index) => names[index % names.length]!);
      const answers = await Promise.all(asking.map((name) => get(`/${name}`)));
      for (const [index, { body }] of answers.entries()) {
        const size = 5000 * ((index % names.length) + 1);
        expect(body === Buffer.alloc(size, asking[index]).toString(), asking[index]).to.equal(true);
      }
    });

    it('as it is at that moment, however often it was asked for', async () => {
      for (let count = 0; count < 20; count += 1) {
        await writeContent('file.txt', `version ${count}`);
        expect((await get('/file.txt')).body).to.equal(`version ${count}`);
        const part = await get('/file.txt', { Range: 'bytes=8-' });
        expect([part.status, part.body]).to.deep.equal([206, String(count)]);
        expect((await get('/file.txt', {}, 'HEAD')).headers['content-length']).to.equal(
          `version ${count}`.length.toString(),
        );
      }
      await rm(join(home, 'file.txt'));
      expect((await get('/file.txt')).status).to.equal(404);
    });

    it('to a client that reads late, unharmed by what others get meanwhile', async () => {
      await writeContent('one', '1'.repeat(60_000));
      await writeContent('two', '2'.repeat(60_000));
      const late = connect(server.directoryServerPort, '127.0.0.1');
      await once(late, 'connect');
      late.pause();
      // More than the kernel takes before somebody reads.
      const requests = 120;
      for (let count = 1; count <= requests; count += 1) {
        const connection = count < requests ? 'keep-alive' : 'close';
        late.write(`GET ${signedPath('/one')} HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\n\r\n`);
        expect((await get('/two')).body === '2'.repeat(60_000)).to.equal(true);
      }
      const chunks: Buffer[] = [];
      for await (const chunk of late) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const bodies = text.split(/HTTP\/1\.1 200 OK.*?\r\n\r\n/s).slice(1);
      expect(bodies).to.have.length(requests);
      expect(bodies.filter((body) => body !== '1'.repeat(60_000)).length).to.equal(0);
    });

    it('and lets it go when the client leaves in the middle', async () => {
      await writeContent('large', Buffer.alloc(50_000_000));
      const response = await ask(asked('/large'));
      await once(response, 'readable');
      expect(openFilesBelow(home)).to.equal(1);
      response.destroy();
      await eventually(() => (openFilesBelow(home) === 0 ? true : undefined), { what: 'the file closed' });
    });

    it('and cuts the connection when the file becomes shorter meanwhile', async () => {
      const path = await writeContent('large', Buffer.alloc(50_000_000));
      const response = await ask(asked('/large'));
      await once(response, 'readable');
      await truncate(path, 1000);
      expect(await rejectionOf(drain(response))).to.have.property('code', 'ECONNRESET');
    });
  });

  describe('tails a file', () => {
    const log = () => join(home, 'staging.log');

    beforeEach(() => writeFile(log(), '-----> one\n'));

    /** A tail with what has come so far, and how it ended. */
    async function tail(query: string, of = server) {
      const response = await ask({
        port: of.directoryServerPort,
        path: `${signedPath('/staging.log', of)}&tail${query}`,
      });
      const received = { response, text: '', end: undefined as 'complete' | 'cut' | undefined };
      response.on('data', (chunk: Buffer) => {
        received.text += chunk.toString();
      });
      response.on('end', () => {
        received.end = 'complete';
      });
      response.on('error', () => {
        received.end = 'cut';
      });
      return received;
    }

    const until = (what: string, condition: () => boolean) =>
      eventually(() => (condition() ? true : undefined), { what });

    it('from an offset, and goes on with what is added', async () => {
      const received = await tail('&tail_offset=0');
      expect(received.response.statusCode).to.equal(200);
      expect(received.response.headers).to.include({
        'transfer-encoding': 'chunked',
        'content-type': 'text/plain; charset=utf-8',
      });
      await until('the first line', () => received.text === '-----> one\n');
      await appendFile(log(), '-----> two\n');
      await until('the second line', () => received.text === '-----> one\n-----> two\n');
      const later = await tail('&tail_offset=11');
      await until('the second line alone', () => later.text === '-----> two\n');
      received.response.destroy();
      later.response.destroy();
    });

    it('from its end without an offset, with no type as there is nothing to tell it by', async () => {
      const received = await tail('');
      expect(received.response.headers).to.not.have.property('content-type');
      await appendFile(log(), 'new\n');
      await until('what was added', () => received.text === 'new\n');
      received.response.destroy();
    });

    it('brings what is added without delay', async () => {
      const received = await tail('');
      const startedMs = performance.now();
      await appendFile(log(), 'new\n');
      await until('what was added', () => received.text === 'new\n');
      expect(performance.now() - startedMs).to.be.lessThan(500);
      received.response.destroy();
    });

    it('from beyond its end only when it has grown so far', async () => {
      const received = await tail('&tail_offset=15');
      await appendFile(log(), 'abc');
      await appendFile(log(), 'def');
      await until('what is beyond', () => received.text === 'ef');
      received.response.destroy();
    });

    for (const end of ['removed', 'renamed', 'replaced'] as const) {
      it(`to an orderly end when it is ${end}, with all that was written`, async () => {
        const received = await tail('&tail_offset=0');
        await appendFile(log(), 'last words\n');
        if (end === 'removed') await rm(log());
        else await rename(log(), `${log()}.1`);
        if (end === 'replaced') await writeFile(log(), 'a new file');
        await until('the end', () => received.end !== undefined);
        expect([received.end, received.text]).to.deep.equal(['complete', '-----> one\nlast words\n']);
      });
    }

    it('on over the renaming of a neighbour', async () => {
      const received = await tail('&tail_offset=0');
      await writeFile(join(home, 'other'), '');
      await rename(join(home, 'other'), join(home, 'other.1'));
      await appendFile(log(), 'more\n');
      await until('what was added', () => received.text.endsWith('more\n'));
      expect(received.end).to.equal(undefined);
      received.response.destroy();
    });

    it('from the new beginning after a truncation', async () => {
      const received = await tail('&tail_offset=0');
      await until('the first line', () => received.text === '-----> one\n');
      await truncate(log(), 0);
      await appendFile(log(), 'anew\n');
      await until('the new line', () => received.text === '-----> one\nanew\n');
      received.response.destroy();
    });

    it('until nothing happens for too long, then cuts the connection', async () => {
      const impatient = await start({ streamingTimeoutMs: 300 });
      const received = await tail('&tail_offset=0', impatient);
      const startedMs = performance.now();
      await until('the end', () => received.end !== undefined);
      expect([received.end, received.text]).to.deep.equal(['cut', '-----> one\n']);
      expect(performance.now() - startedMs).to.be.within(150, 2000);
    });

    it('as long as something happens, whatever the limit', async () => {
      const impatient = await start({ streamingTimeoutMs: 400 });
      const received = await tail('', impatient);
      for (let lines = 1; lines <= 8; lines += 1) {
        await appendFile(log(), 'x');
        await until(`line ${lines}`, () => received.text.length === lines);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(received.end).to.equal(undefined);
      received.response.destroy();
    });

    for (const query of [
      '&tail_offset=-1',
      '&tail_offset=',
      '&tail_offset',
      '&tail_offset=1.5',
      '&tail_offset=x&tail_offset=1',
    ]) {
      it(`not for ${query}`, async () => {
        const answer = await askWhole(asked('/staging.log', { query: `&tail${query}` }));
        expect(answer.status).to.equal(500);
        expect(answer.headers['content-type']).to.equal('text/plain; charset=utf-8');
        expect(answer.body).to.equal("Can't serve request due to error: Tail offset must be a positive integer.");
      });
    }

    it('only when asked by that very name', async () => {
      for (const query of ['&tail_offset=3', '&Tail', '&tails=1']) {
        expect((await askWhole(asked('/staging.log', { query }))).body).to.equal('-----> one\n');
      }
    });

    it('regardless of ranges and conditions', async () => {
      const response = await ask(
        asked('/staging.log', {
          query: '&tail=1&tail_offset=0',
          headers: { Range: 'bytes=0-1', 'If-None-Match': '*' },
        }),
      );
      expect(response.statusCode).to.equal(200);
      response.destroy();
    });

    it('with headers alone for HEAD', async () => {
      const answer = await askWhole(asked('/staging.log', { query: '&tail&tail_offset=0', method: 'HEAD' }));
      expect([answer.status, answer.headers['content-type'], answer.body]).to.deep.equal([
        200,
        'text/plain; charset=utf-8',
        '',
      ]);
    });

    it('without chunks to clients that know none', async () => {
      const socket = connect(server.directoryServerPort, '127.0.0.1');
      socket.write(`GET ${signedPath('/staging.log')}&tail&tail_offset=0 HTTP/1.0\r\n\r\n`);
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      await until('the line', () => text.endsWith('\r\n\r\n-----> one\n'));
      expect(text.toLowerCase()).to.not.include('transfer-encoding');
      await rm(log());
      await once(socket, 'close');
    });

    it('and lets it go when the client leaves', async () => {
      const received = await tail('&tail_offset=0');
      expect(openFilesBelow(home)).to.equal(1);
      received.response.destroy();
      await until('the file closed', () => openFilesBelow(home) === 0);
    });

    it('until the server stops', async () => {
      const received = await tail('&tail_offset=0');
      await server.stop();
      await until('the end', () => received.end !== undefined);
      expect(openFilesBelow(home)).to.equal(0);
    });
  });

  it('follows no link that was swapped in after the agent had looked', async () => {
    // The swap goes on all the time: whatever is served must be the container's, never what the link leads to.
    const outside = await mkdtemp(join(tmpdir(), 'outside-'));
    await writeFile(join(outside, 'file'), 'SECRET');
    await mkdir(join(home, 'dir'));
    await writeFile(join(home, 'dir', 'file'), 'harmless');
    await symlink(outside, join(home, 'link'));
    let isSwapping = true;
    const swapping = (async () => {
      while (isSwapping) {
        await rename(join(home, 'dir'), join(home, 'aside'));
        await rename(join(home, 'link'), join(home, 'dir'));
        await rename(join(home, 'dir'), join(home, 'link'));
        await rename(join(home, 'aside'), join(home, 'dir'));
      }
    })();
    const answers: Answer[] = [];
    try {
      for (let count = 0; count < 300; count += 1) answers.push(await get('/dir/file'));
    } finally {
      isSwapping = false;
      await swapping;
      await rm(outside, { recursive: true });
    }
    expect(answers.filter(({ body }) => body.includes('SECRET'))).to.deep.equal([]);
    expect(new Set(answers.map(({ status }) => status))).to.include(200);
  });

  it('says which port is taken, and holds none of the others then', async () => {
    const second = make({
      directoryServer: { host: '127.0.0.1', port: 0 },
      fileApi: { port: server.fileApiPort },
    });
    const error = await rejectionOf(second.start());
    expect(error.message).to.include(`EADDRINUSE`).and.include(String(server.fileApiPort));
    expect(() => second.directoryServerPort).to.throw('not listening');
  });

  it('can leave the directory server to another process', async () => {
    const external = await start({ directoryServer: { host: '127.0.0.1', port: 3456, isExternal: true } });
    expect(external.directoryServerPort).to.equal(3456);
    expect((await askWhole({ port: external.fileApiPort, path: signedPath('/', external) })).status).to.equal(200);
    expect(await rejectionOf(askWhole({ port: 3456, path: '/' }))).to.have.property('code', 'ECONNREFUSED');
  });

  it('stops twice, and before it was started', async () => {
    await server.stop();
    await server.stop();
    await make().stop();
  });
});

async function drain(response: IncomingMessage): Promise<void> {
  for await (const _chunk of response);
}

/** Files below a directory that this process holds open. */
function openFilesBelow(directory: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
    } catch {
      return false;
    }
  }).length;
}
