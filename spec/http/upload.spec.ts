import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { UploadError, type UploadOptions, uploadBlob } from '../../lib/http/upload.js';
import { eventually } from '../support/eventually.js';
import { bodyOf, type HttpServer, refusingUrl, startHttpServer } from '../support/http-server.js';
import { rejectionOf } from '../support/rejection.js';

const content = randomBytes(300_000);

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

describe('uploadBlob', () => {
  let directory: string;
  let file: string;
  let server: HttpServer;
  let handlePost: Handler;
  let handlePoll: Handler;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'upload-'));
    file = join(directory, 'built.tgz');
    await writeFile(file, content);
    handlePost = (_request, response) => void response.end();
    handlePoll = (_request, response) => void response.writeHead(404).end();
    server = await startHttpServer(async (request, response) => {
      if (request.method === 'GET') return handlePoll(request, response);
      return handlePost(request, response);
    });
  });

  afterEach(async () => {
    await server.stop();
    await rm(directory, { recursive: true });
  });

  const upload = (options: Partial<UploadOptions> = {}) =>
    uploadBlob({ url: `${server.url}/upload`, file, filename: 'droplet.tgz', pollIntervalMs: 1, ...options });

  async function failure(options: Partial<UploadOptions> = {}): Promise<UploadError> {
    const error = await rejectionOf(upload(options));
    expect(error).to.be.instanceOf(UploadError);
    return error as UploadError;
  }

  const job = (status: unknown, url: unknown = `${server.url}/staging/jobs/g`.replace('//', '//u:p%40@')) =>
    JSON.stringify({ metadata: { guid: 'g', created_at: '2015-06-30T13:52:36Z', url }, entity: { guid: 'g', status } });

  const accept = (answer: string, status = 200): Handler =>
    async function accepting(request, response) {
      await bodyOf(request);
      response.writeHead(status).end(answer);
    };

  /** Lets the job go through these states, one per poll; the last one stays. */
  function pollStates(...states: unknown[]): void {
    let polls = 0;
    handlePost = accept(job('queued'));
    handlePoll = (_request, response) => {
      response.end(job(states[Math.min(polls, states.length - 1)]));
      polls += 1;
    };
  }

  const polls = () => server.requests.filter((request) => request.startsWith('GET')).length;

  it('posts one part with its length, its MD5 and the fields that the Cloud Controller reads', async () => {
    let headers: IncomingMessage['headers'] = {};
    let body: Buffer = Buffer.alloc(0);
    handlePost = async (request, response) => {
      ({ headers } = request);
      body = await bodyOf(request);
      response.end();
    };
    await upload();

    const boundary = /^multipart\/form-data; boundary=(multipart-boundary-[0-9a-f-]{36})$/.exec(
      headers['content-type']!,
    )![1];
    const expected = Buffer.concat([
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="upload[droplet]"; filename="droplet.tgz"\r\n` +
          'Content-Type: application/octet-stream\r\n\r\n',
      ),
      content,
      Buffer.from(`\r\n--${boundary}--\n`),
    ]);
    expect(body.equals(expected)).to.equal(true);
    expect(headers['content-length']).to.equal(String(expected.length));
    expect(headers).to.not.have.property('transfer-encoding');
    expect(headers['content-md5']).to.equal(createHash('md5').update(content).digest('base64'));
    expect((await readFile(file)).equals(content), 'the file is left alone').to.equal(true);
  });

  it('posts an empty file', async () => {
    await writeFile(file, '');
    let length = 0;
    handlePost = async (request, response) => {
      length = (await bodyOf(request)).length;
      response.end();
    };
    await upload();
    expect(length).to.be.greaterThan(100);
  });

  it('puts async=true before the query of the URI', async () => {
    await upload({ url: `${server.url}/upload?digest=a%2Fb&x` });
    await upload();
    expect(server.requests).to.deep.equal(['POST /upload?async=true&digest=a%2Fb&x', 'POST /upload?async=true']);
  });

  it('sends the percent-decoded user and password of the URL', async () => {
    let authorization: string | undefined;
    handlePost = (request, response) => {
      ({ authorization } = request.headers);
      response.end();
    };
    await upload({ url: `${server.url}/upload`.replace('//', '//us%3Aer:s%40cret@') });
    expect(authorization).to.equal(`Basic ${Buffer.from('us:er:s@cret').toString('base64')}`);
  });

  for (const [status, answer] of [
    [200, ''],
    [201, '{"guid":"x"}'],
    [204, ''],
  ] as const) {
    it(`is done when ${status} comes with ${answer || 'no body'}`, async () => {
      handlePost = accept(answer, status);
      await upload();
      expect(polls()).to.equal(0);
    });
  }

  for (const status of [302, 400, 401, 500]) {
    it(`fails with the status ${status}`, async () => {
      handlePost = async (request, response) => {
        await bodyOf(request);
        response.writeHead(status, { Location: '/elsewhere' }).end('no');
      };
      const error = await failure({ url: `${server.url}/upload`.replace('//', '//u:secret@') });
      expect(error.message).to.equal(`Error uploading: (Upload failed - status ${status})`);
      expect(error.data).to.deep.equal({ uri: `${server.url}/upload`, status });
      expect(server.requests).to.have.length(1);
    });
  }

  it('fails when nobody listens', async () => {
    const url = await refusingUrl();
    expect((await failure({ url })).message).to.equal(
      `Error uploading: (Upload failed - status 0; error: ECONNREFUSED (${new URL(url).host}))`,
    );
  });

  it('fails when the connection is cut while it sends', async () => {
    handlePost = (request) => {
      request.once('data', () => request.destroy());
    };
    expect((await failure()).message).to.match(
      /^Error uploading: \(Upload failed - status 0; error: (ECONNRESET|EPIPE) \(127\.0\.0\.1:\d+\)\)$/,
    );
  });

  it('fails when the answer does not come in time', async () => {
    handlePost = (request) => void request.resume();
    expect((await failure({ inactivityTimeoutMs: 150 })).message).to.include('status 0; error: ETIMEDOUT');
  });

  it('fails when the other side stops reading', async () => {
    await writeFile(file, Buffer.alloc(20_000_000));
    handlePost = (request) => void request.pause();
    expect((await failure({ inactivityTimeoutMs: 300 })).message).to.include('status 0; error: ETIMEDOUT');
  });

  it('fails when all of it takes too long, though the other side never stops reading', async () => {
    await writeFile(file, Buffer.alloc(50_000_000));
    handlePost = (request) => {
      request.pause();
      const timer = setInterval(() => request.read(1000), 20);
      request.on('close', () => clearInterval(timer));
    };
    expect((await failure({ timeoutMs: 500 })).message).to.include('status 0; error: ETIMEDOUT');
  });

  it('tells the status of who refuses it without reading it', async () => {
    await writeFile(file, Buffer.alloc(20_000_000));
    handlePost = (_request, response) => void response.writeHead(413, { Connection: 'close' }).end('too much');
    expect((await failure()).message).to.equal('Error uploading: (Upload failed - status 413)');
  });

  it('passes on what the file system says', async () => {
    const error = await rejectionOf(upload({ file: join(directory, 'missing') }));
    expect(error).to.have.property('code', 'ENOENT');
  });

  it('fails on a URL that is none, without telling its password', async () => {
    expect((await failure({ url: 'ftp://u:secret@host' })).message)
      .to.match(/^Error uploading: \(invalid URL .*\)$/)
      .and.not.include('secret');
  });

  it('ends with the reason of its signal while it sends', async () => {
    handlePost = (request) => void request.resume();
    const abort = new AbortController();
    const reason = new Error('task stopped');
    const outcome = rejectionOf(upload({ signal: abort.signal }));
    await eventually(() => (server.requests.length > 0 ? true : undefined));
    abort.abort(reason);
    expect(await outcome).to.equal(reason);
  });

  describe('answered by a job', () => {
    it('polls until the job is finished', async () => {
      pollStates('queued', 'running', 'queued', 'finished');
      await upload();
      expect(polls()).to.equal(4);
    });

    it('polls with the user and password of the job, at once and then in intervals', async () => {
      const seen: { authorization: string | undefined; atMs: number }[] = [];
      handlePost = accept(job('queued'));
      handlePoll = (request, response) => {
        seen.push({ authorization: request.headers.authorization, atMs: performance.now() });
        response.end(job(seen.length === 2 ? 'finished' : 'queued'));
      };
      const startedMs = performance.now();
      await upload({ pollIntervalMs: 400 });
      expect(seen.map(({ authorization }) => authorization)).to.deep.equal(
        Array(2).fill(`Basic ${Buffer.from('u:p@').toString('base64')}`),
      );
      expect(seen[0]!.atMs - startedMs).to.be.lessThan(350);
      expect(seen[1]!.atMs - seen[0]!.atMs).to.be.within(350, 2000);
    });

    it('goes on while the state is anything else', async () => {
      pollStates('bogus', null, 7, undefined, 'finished');
      await upload();
      expect(polls()).to.equal(5);
    });

    it('fails when the job fails', async () => {
      pollStates('running', 'failed');
      expect((await failure()).message).to.equal('Error uploading: (Staging upload failed.)');
    });

    it('gives up after so many polls', async () => {
      pollStates('running');
      expect((await failure()).message).to.equal('Error uploading: (Job took too long)');
      expect(polls()).to.equal(300);
    });

    it('fails when a poll is refused', async () => {
      handlePost = accept(job('queued'));
      expect((await failure()).message).to.equal('Error uploading: (Polling failed - status 404)');
    });

    it('follows redirects of a poll', async () => {
      handlePost = accept(job('queued'));
      handlePoll = (request, response) => {
        if (request.url === '/staging/jobs/g') response.writeHead(302, { Location: '/moved' }).end();
        else response.end(job('finished'));
      };
      await upload();
      expect(polls()).to.equal(2);
    });

    it('fails when nobody listens at the job', async () => {
      const url = await refusingUrl();
      handlePost = accept(job('queued', `${url}/jobs/g`));
      expect((await failure()).message).to.equal(
        `Error uploading: (Polling failed - status 0; error: ECONNREFUSED (${new URL(url).host}))`,
      );
    });

    it('takes a poll that times out as one to be repeated', async () => {
      let count = 0;
      handlePost = accept(job('queued'));
      handlePoll = (_request, response) => {
        count += 1;
        if (count > 2) response.end(job('finished'));
      };
      await upload({ inactivityTimeoutMs: 100 });
      expect(count).to.equal(3);
    });

    for (const [answer, reason] of [
      ['{"metadata": {"url"', 'invalid json'],
      ['an url, but no json', 'invalid json'],
      ['"url"', 'invalid json'],
      ['{"metadata":{"url":7}}', 'invalid json'],
      ['{"url":"http://h/x"}', 'invalid json'],
      ['{"metadata":{"url":"::nonsense"}}', 'invalid URL "::nonsense" is no http or https URL'],
    ] as const) {
      it(`fails when the job is ${answer}`, async () => {
        handlePost = accept(answer);
        expect((await failure()).message).to.equal(`Error uploading: (${reason})`);
      });
    }

    for (const answer of ['', '}{', '"finished"', 'null']) {
      it(`fails when a poll answers ${answer || 'nothing'}`, async () => {
        handlePost = accept(job('queued'));
        handlePoll = (_request, response) => void response.end(answer);
        expect((await failure()).message).to.equal('Error uploading: (polling invalid json)');
      });
    }

    it('ends with the reason of its signal between two polls', async () => {
      pollStates('running');
      const abort = new AbortController();
      const reason = new Error('task stopped');
      const outcome = rejectionOf(upload({ signal: abort.signal, pollIntervalMs: 60_000 }));
      await eventually(() => (polls() === 1 ? true : undefined));
      abort.abort(reason);
      expect(await outcome).to.equal(reason);
    });
  });
});
