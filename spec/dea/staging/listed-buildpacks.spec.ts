import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BuildpackCache } from '../../../lib/cell/buildpack-cache.js';
import { fetchListedBuildpacks } from '../../../lib/dea/staging/listed-buildpacks.js';
import { type LogData, silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { type HttpServer, startHttpServer } from '../../support/http-server.js';
import { zipDirectory } from '../../support/zip.js';

describe('the buildpacks that a Cloud Controller lists', () => {
  let directory: string;
  let server: HttpServer;
  let answerList: (request: IncomingMessage, response: ServerResponse) => void;
  let zip: Buffer;
  const logged: { level: string; message: string; data: LogData | undefined }[] = [];
  const log = (level: string) => (message: string, data?: LogData) => void logged.push({ level, message, data });

  before(async () => {
    zip = await zipDirectory('spec/fixtures/buildpacks/static-buildpack');
  });

  beforeEach(async () => {
    logged.length = 0;
    directory = await mkdtemp(join(tmpdir(), 'listed-'));
    server = await startHttpServer((request, response) => {
      if (request.url === '/internal/buildpacks') answerList(request, response);
      else response.end(zip);
    });
  });

  afterEach(async () => {
    await server.stop();
    await rm(directory, { recursive: true });
  });

  function fetchAll(signal = new AbortController().signal, ccUrl = ccUrlOf('/v2/ignored?x=1')): Promise<void> {
    const logger = { ...silentLogger, warn: log('warn'), error: log('error') };
    const buildpacks = BuildpackCache.create({ directory, logger, retryDelayMs: 1 });
    return fetchListedBuildpacks({ ccUrl, buildpacks, signal, logger });
  }

  const ccUrlOf = (path: string) => server.url.replace('http://', 'http://internal:s%40cret@') + path;

  it('are asked for with the credentials of its URL, and fetched', async () => {
    let authorization: string | undefined;
    answerList = (request, response) => {
      authorization = request.headers.authorization;
      response.end(JSON.stringify(['one', 'two'].map((key) => ({ key, url: `${server.url}/${key}.zip` }))));
    };
    await fetchAll();
    expect(authorization).to.equal(`Basic ${Buffer.from('internal:s@cret').toString('base64')}`);
    expect((await readdir(directory)).sort()).to.deep.equal(['one', 'two']);
    expect(logged).to.deep.equal([]);
  });

  it('are not fetched when it answers with another status, which is a warning', async () => {
    answerList = (_request, response) => response.writeHead(503).end('busy');
    await fetchAll();
    expect(logged).to.deep.equal([
      {
        level: 'warn',
        message: 'buildpacks-request.failed',
        data: { destination: `${server.url}/v2/ignored?x=1`, http_status: 503 },
      },
    ]);
  });

  const faults: [title: string, answer: typeof answerList][] = [
    ['it hangs up', (_request, response) => void response.destroy()],
    ['it answers no JSON', (_request, response) => void response.end('}{')],
    ['it answers no list', (_request, response) => void response.end('{"key":"x"}')],
    ['it answers without end', (_request, response) => void response.end(' '.repeat(2_000_000))],
    ['a buildpack is missing', (_request, response) => void response.end(`[{"key":"x","url":"http://127.0.0.1:1/x"}]`)],
  ];
  for (const [title, answer] of faults) {
    it(`are an error in the log, and nothing else, when ${title}`, async () => {
      answerList = answer;
      await fetchAll();
      expect(logged.at(-1)).to.include({ level: 'error', message: 'buildpacks-request.error' });
      expect(JSON.stringify(logged)).not.to.contain('s%40cret').and.not.to.contain('s@cret');
    });
  }

  it('are an error in the log when the URL is none', async () => {
    await fetchAll(undefined, 'nonsense');
    expect(logged).to.have.lengthOf(1);
  });

  it('are given up at once, without a word', async () => {
    const abort = new AbortController();
    let isAsked = false;
    answerList = () => {
      isAsked = true;
    };
    const fetching = fetchAll(abort.signal);
    await eventually(() => isAsked || undefined);
    abort.abort(new Error('stop'));
    await fetching;
    expect(logged).to.deep.equal([]);
  });
});
