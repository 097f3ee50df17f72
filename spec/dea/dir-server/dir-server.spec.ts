import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { askAgent } from '../../../lib/dea/dir-server/agent-lookup.js';
import { AgentAnswerCutError, AgentUnreachableError } from '../../../lib/dea/files/directory-server.js';
import { FileServer } from '../../../lib/dea/files/file-server.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { freePort } from '../../support/cell.js';
import { type DirServer, runDirServer, untilListening } from '../../support/dir-server.js';
import { ask, askWhole } from '../../support/http-client.js';
import { type HttpServer, startHttpServer } from '../../support/http-server.js';
import { rejectionOf } from '../../support/rejection.js';

describe('bin/dir-server', () => {
  let base: string;
  let configPath: string;
  let agent: HttpServer;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  let port: number;
  let server: DirServer;

  before(async () => {
    base = await mkdtemp(join(tmpdir(), 'dir-server-'));
    configPath = join(base, 'dea.yml');
    agent = await startHttpServer((request, response) => handler(request, response));
    port = await freePort();
    await configure({});
    server = runDirServer([configPath]);
    await untilListening(port);
  });

  after(async () => {
    const status = await server.terminate();
    await agent.stop();
    await rm(base, { recursive: true });
    expect(status, server.standardError()).to.equal(0);
  });

  /** Writes the configuration; like an agent's file it has much that is none of this program's business. */
  async function configure(section: Record<string, unknown>, path = configPath): Promise<void> {
    const directoryServer = {
      v2_port: port,
      file_api_port: agent.port,
      streaming_timeout: 1,
      address: '127.0.0.1',
      logging: { level: 'warn' },
      ...section,
    };
    await writeFile(path, JSON.stringify({ base_dir: 7, nats_servers: null, directory_server: directoryServer }));
  }

  const get = (path = '/instance_paths/i') => askWhole({ port, path });

  function answerPath(path: unknown, headers: Record<string, string> = {}): void {
    handler = (_request, response) => response.writeHead(200, headers).end(JSON.stringify({ instance_path: path }));
  }

  it('asks the agent for the same path and query byte for byte, always by GET and without headers of the client', async () => {
    const seen: IncomingMessage[] = [];
    handler = (request, response) => {
      seen.push(request);
      response.writeHead(404).end();
    };
    const path = '/a/../b//%2e%2E?hmac=x&path&path=%2flogs&tail&x=%zz+"';
    await askWhole({ port, path, method: 'POST', headers: { Cookie: 'secret', Range: 'bytes=0-1' } });
    expect(seen.map(({ method, url }) => [method, url])).to.deep.equal([['GET', path]]);
    expect(seen[0]!.headers).to.not.have.any.keys('cookie', 'range');
  });

  it('passes on what the agent refuses, with all its headers', async () => {
    handler = (_request, response) => {
      response.writeHead(418, [
        ['X-Twice', 'one'],
        ['Content-Type', 'application/json'],
        ['X-Twice', 'two'],
      ]);
      response.end('{"error":"Invalid HMAC"}');
    };
    const answer = await get();
    expect(answer.status).to.equal(418);
    expect(answer.headers).to.include({ 'content-type': 'application/json', 'x-twice': 'one, two' });
    expect(answer.rawHeaders.filter((name) => name === 'X-Twice')).to.have.length(2);
    expect(answer.body).to.equal('{"error":"Invalid HMAC"}');
  });

  it('follows redirects of the agent', async () => {
    await writeFile(join(base, 'redirected'), 'found');
    handler = (request, response) => {
      if (request.url === '/there') response.end(JSON.stringify({ instance_path: join(base, 'redirected') }));
      else response.writeHead(302, { Location: '/there' }).end();
    };
    expect((await get()).body).to.equal('found');
  });

  const textHeaders = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' };

  for (const [what, answer] of [
    ['no JSON', '}{'],
    ['nothing', ''],
    ['no object', '"/etc/passwd"'],
    ['null', 'null'],
    ['no instance_path', '{}'],
    ['an instance_path that is no string', '{"instance_path":["/etc/passwd"]}'],
  ] as const) {
    it(`says so when the agent answers ${what}`, async () => {
      handler = (_request, response) => response.end(answer);
      const { status, headers, body } = await get();
      expect([status, body]).to.deep.equal([500, 'DEA responded with invalid JSON\n']);
      expect(headers).to.include(textHeaders);
    });
  }

  it('says so when the answer of the agent is cut', async () => {
    handler = (_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('{"instance_path":', () => response.destroy());
    };
    const { status, body } = await get();
    expect([status, body]).to.deep.equal([500, 'DEA responded with invalid JSON\n']);
  });

  it('says so when the agent is away', async () => {
    handler = (request) => request.destroy();
    const { status, headers, body } = await get();
    expect([status, body]).to.deep.equal([500, 'DEA is unreachable\n']);
    expect(headers).to.include(textHeaders);
  });

  it('gives up an agent that hangs, before its answer or within', async () => {
    handler = () => {};
    const lookup = { port: agent.port, timeoutMs: 100 };
    expect(await rejectionOf(askAgent('/x', lookup))).to.be.instanceOf(AgentUnreachableError);
    handler = (_request, response) => void response.write('{"instance_path":');
    expect(await rejectionOf(askAgent('/x', lookup))).to.be.instanceOf(AgentAnswerCutError);
  });

  it('outlives an agent that breaks the connection within its answer', async () => {
    handler = (_request, response) => {
      response.write('{"instance_path":', () => response.socket!.resetAndDestroy());
    };
    expect((await get()).body).to.equal('DEA responded with invalid JSON\n');
    expect((await get()).body).to.equal('DEA responded with invalid JSON\n');
  });

  it('serves files, and directories also by way of links, where the agent says so', async () => {
    await mkdir(join(base, 'sub'));
    await writeFile(join(base, 'sub', 'file'), 'content');
    await symlink('sub', join(base, 'link'));
    answerPath(join(base, 'sub', 'file'));
    expect((await get()).body).to.equal('content');
    answerPath(join(base, 'link'));
    expect((await get()).body).to.equal(`${'file'.padEnd(35)}         7B\n`);
  });

  it('finds nothing where a file is gone, a link dangles or a file is spelled as a directory', async () => {
    await writeFile(join(base, 'plain'), '');
    await symlink('nowhere', join(base, 'dangling'));
    for (const path of [join(base, 'gone'), join(base, 'dangling'), join(base, 'plain/')]) {
      answerPath(path);
      const { status, headers, body } = await get();
      expect([status, body]).to.deep.equal([400, 'Entity not found.\n']);
      expect(headers).to.include({ 'content-type': 'text/plain', 'x-cascade': 'pass', 'content-length': '18' });
    }
  });

  it('follows no link in a path that the agent has resolved', async () => {
    await mkdir(join(base, 'real'));
    await writeFile(join(base, 'real', 'file'), 'SECRET');
    await symlink('real', join(base, 'swapped'));
    for (const path of ['swapped/file', 'swapped']) {
      answerPath(join(base, path), { 'X-Resolved-Path': 'true' });
      expect((await get()).status).to.equal(400);
    }
  });

  it('tails for as long as the configuration says', async () => {
    const path = join(base, 'log');
    await writeFile(path, 'line\n');
    answerPath(path);
    const startedMs = performance.now();
    const error = await rejectionOf(get('/instance_paths/i?tail&tail_offset=0'));
    expect(error).to.have.property('code', 'ECONNRESET');
    expect(performance.now() - startedMs).to.be.within(900, 5000);
  });

  describe('with the file API of an agent', () => {
    let files: FileServer | undefined;
    let ownPort: number;
    let own: DirServer;

    beforeEach(async () => {
      await mkdir(join(base, 'home'), { recursive: true });
      await writeFile(join(base, 'home', 'app.log'), 'from the agent');
      const fileApiPort = await freePort();
      await startAgent(fileApiPort);
      ownPort = await freePort();
      const ownConfig = join(base, 'own.yml');
      await configure({ v2_port: ownPort, file_api_port: fileApiPort, streaming_timeout: 60 }, ownConfig);
      own = runDirServer([ownConfig]);
      await untilListening(ownPort);
    });

    afterEach(async () => {
      await own.terminate();
      await files?.stop();
    });

    async function startAgent(fileApiPort: number): Promise<void> {
      files = FileServer.create({
        directoryServer: { host: '127.0.0.1', port: ownPort, isExternal: true },
        fileApi: { port: fileApiPort },
        hostUuid: 'u',
        key: 'k',
        domain: 'd',
        protocol: 'http',
        roots: {
          instanceRoot: () => ({ state: 'ok', root: join(base, 'home') }),
          stagingRoot: () => ({ state: 'unknown' }),
        },
        streamingTimeoutMs: 1000,
        clock: Date.now,
        logger: silentLogger,
      });
      await files.start();
    }

    function signed(): string {
      const { pathname, search } = new URL(files!.instanceFileUrl('i', '/app.log'));
      return pathname + search;
    }

    it('serves what the agent signed, and nothing else', async () => {
      expect((await askWhole({ port: ownPort, path: signed() })).body).to.equal('from the agent');
      expect(await askWhole({ port: ownPort, path: signed().replace('app', 'oth') })).to.include({
        status: 401,
        body: '{"error":"Invalid HMAC"}',
      });
    });

    it('lives through the end of the agent, tails go on, and the next agent is found', async () => {
      const { fileApiPort } = files!;
      const path = signed();
      const tail = await ask({ port: ownPort, path: `${path}&tail` });
      await files!.stop();
      expect((await askWhole({ port: ownPort, path })).body).to.equal('DEA is unreachable\n');
      const news = once(tail, 'data');
      await appendFile(join(base, 'home', 'app.log'), ', and more');
      expect(String((await news)[0])).to.equal(', and more');
      tail.destroy();
      await startAgent(fileApiPort);
      expect((await askWhole({ port: ownPort, path: signed() })).body).to.equal('from the agent, and more');
    });

    it('serves on after a HUP', async () => {
      own.signal('SIGHUP');
      own.signal('SIGHUP');
      expect((await askWhole({ port: ownPort, path: signed() })).body).to.equal('from the agent');
      expect(await own.terminate()).to.equal(0);
    });
  });

  describe('ends with status 2 and says why', () => {
    async function failure(args: string[]): Promise<string> {
      const failed = runDirServer(args);
      expect(await failed.exited).to.equal(2);
      return failed.standardError();
    }

    const broken = () => join(base, 'broken.yml');

    it('when the file cannot be read', async () => {
      expect(await failure([join(base, 'missing.yml')]))
        .to.include('missing.yml')
        .and.include('ENOENT');
    });

    it('when the file has no logging level', async () => {
      await configure({ logging: {} }, broken());
      expect(await failure([broken()])).to.include('directory_server.logging.level');
      await configure({ logging: undefined }, broken());
      expect(await failure([broken()])).to.include('directory_server.logging');
    });

    it('when the port is taken', async () => {
      expect(await failure([configPath]))
        .to.include('EADDRINUSE')
        .and.include(String(port));
    });

    it('when it is called without a file', async () => {
      expect(await failure([])).to.include('Usage: dir-server');
    });
  });
});
