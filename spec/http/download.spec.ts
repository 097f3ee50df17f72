import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { DownloadError, type DownloadOptions, downloadToFile } from '../../lib/http/download.js';
import { eventually } from '../support/eventually.js';
import { type HttpServer, refusingUrl, startHttpServer } from '../support/http-server.js';
import { rejectionOf } from '../support/rejection.js';

const content = randomBytes(300_000);
const sha1 = createHash('sha1').update(content).digest('hex');

describe('downloadToFile', () => {
  let directory: string;
  let path: string;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  let server: HttpServer;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'download-'));
    path = join(directory, 'droplet.tgz');
    handler = (_request, response) => response.end(content);
    server = await startHttpServer((request, response) => handler(request, response));
  });

  afterEach(async () => {
    await server.stop();
    await rm(directory, { recursive: true });
  });

  const download = (options: Partial<DownloadOptions> = {}) =>
    downloadToFile({ url: `${server.url}/blob`, path, ...options });

  async function failure(options: Partial<DownloadOptions> = {}): Promise<DownloadError> {
    const error = await rejectionOf(download(options));
    expect(error).to.be.instanceOf(DownloadError);
    expect(await readdir(directory), 'files left behind').to.deep.equal([]);
    return error as DownloadError;
  }

  const credentialUrl = (target: string) => target.replace('//', '//us%3Aer:s%40cret@');
  const wantedAuthorization = `Basic ${Buffer.from('us:er:s@cret').toString('base64')}`;

  it('stores the content and tells its SHA-1 and length', async () => {
    expect(await download({ mode: 0o744 })).to.deep.equal({ sha1, bytes: content.length });
    expect((await readFile(path)).equals(content)).to.equal(true);
    expect((await stat(path)).mode & 0o777).to.equal(0o744);
    expect(await readdir(directory)).to.deep.equal(['droplet.tgz']);
  });

  it('stores an empty blob', async () => {
    handler = (_request, response) => response.end();
    expect((await download()).bytes).to.equal(0);
    expect((await readFile(path)).length).to.equal(0);
  });

  it('accepts a matching SHA-1 in any case', async () => {
    await download({ expectedSha1: sha1.toUpperCase() });
    expect(await readdir(directory)).to.deep.equal(['droplet.tgz']);
  });

  it('sends the percent-decoded user and password of the URL', async () => {
    let authorization: string | undefined;
    handler = (request, response) => {
      ({ authorization } = request.headers);
      response.end('x');
    };
    await download({ url: credentialUrl(`${server.url}/blob`) });
    expect(authorization).to.equal(wantedAuthorization);
  });

  for (const status of [404, 500, 204, 201, 304]) {
    it(`fails with the status ${status}`, async () => {
      handler = (_request, response) => response.writeHead(status).end();
      const error = await failure({ url: credentialUrl(`${server.url}/blob`) });
      expect(error.message).to.equal(`Error downloading: HTTP status: ${status}`);
      expect(error.data).to.deep.equal({ uri: `${server.url}/blob`, status });
    });
  }

  it('fails when nobody listens, naming errno and host but not the password', async () => {
    const url = await refusingUrl();
    const error = await failure({ url: credentialUrl(`${url}/blob`) });
    expect(error.message).to.equal(
      `Error downloading: Response status: unknown, Error: ECONNREFUSED (${new URL(url).host})`,
    );
    expect(error.data).to.deep.equal({ uri: `${url}/blob` });
  });

  it('fails when the host has no name', async () => {
    const error = await failure({ url: 'http://no-such-host.invalid/blob' });
    expect(error.message).to.match(
      /^Error downloading: Response status: unknown, Error: (ENOTFOUND|EAI_AGAIN) \(no-such-host\.invalid\)$/,
    );
  });

  it('fails on a URL that is none', async () => {
    for (const url of ['', 'nonsense', 'ftp://u:secret@host/x']) {
      expect((await failure({ url })).message)
        .to.match(/^Error downloading: Response status: unknown, Error: .* is no http or https URL$/)
        .and.not.include('secret');
    }
  });

  it('fails on the wrong content, telling both SHA-1s', async () => {
    const expected = '0'.repeat(40);
    const error = await failure({ url: credentialUrl(`${server.url}/blob`), expectedSha1: expected });
    expect(error.message).to.equal('Error downloading: SHA1 mismatch');
    expect(error.data).to.deep.equal({ uri: `${server.url}/blob`, status: 200, expected, actual: sha1 });
  });

  it('fails when the connection is cut before the announced length', async () => {
    handler = (_request, response) => {
      response.writeHead(200, { 'Content-Length': content.length });
      response.write(content.subarray(0, 100_000), () => response.destroy());
    };
    expect((await failure()).message).to.equal(
      `Error downloading: Response status: unknown, Error: ECONNRESET (127.0.0.1:${server.port})`,
    );
  });

  it('fails when a chunked answer is cut', async () => {
    handler = (_request, response) => {
      response.write(content.subarray(0, 100_000), () => response.destroy());
    };
    expect((await failure()).message).to.include('Error: ECONNRESET');
  });

  it('fails when the headers do not come in time', async () => {
    handler = () => {};
    expect((await failure({ inactivityTimeoutMs: 150 })).message).to.include('unknown, Error: ETIMEDOUT');
  });

  it('fails when the content stops coming', async () => {
    handler = (_request, response) => {
      response.write(content.subarray(0, 10));
    };
    expect((await failure({ inactivityTimeoutMs: 150 })).message).to.include('unknown, Error: ETIMEDOUT');
  });

  it('takes content that comes slowly, however long it takes altogether', async () => {
    handler = (_request, response) => {
      let sent = 0;
      const timer = setInterval(() => {
        response.write('x');
        sent += 1;
        if (sent < 6) return;
        clearInterval(timer);
        response.end();
      }, 100);
    };
    expect((await download({ inactivityTimeoutMs: 400 })).bytes).to.equal(6);
  });

  it('fails when all of it takes too long, though it never stops coming', async () => {
    handler = (_request, response) => {
      const timer = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(timer));
    };
    expect((await failure({ timeoutMs: 300 })).message).to.include('unknown, Error: ETIMEDOUT (127.0.0.1:');
  });

  it('fails when the content is longer than allowed', async () => {
    expect((await failure({ maxBytes: 1000 })).message).to.equal('Error downloading: more than 1000 bytes');
  });

  it('ends with the reason of its signal, leaving nothing behind', async () => {
    handler = (_request, response) => {
      response.write(content.subarray(0, 10));
    };
    const abort = new AbortController();
    const reason = new Error('task stopped');
    const outcome = rejectionOf(download({ signal: abort.signal }));
    await eventually(async () => ((await readdir(directory)).length > 0 ? true : undefined));
    abort.abort(reason);
    expect(await outcome).to.equal(reason);
    expect(await readdir(directory)).to.deep.equal([]);
  });

  it('requests nothing when its signal has already given up', async () => {
    const reason = new Error('task stopped');
    expect(await rejectionOf(download({ signal: AbortSignal.abort(reason) }))).to.equal(reason);
    expect(server.requests).to.deep.equal([]);
  });

  it('keeps the old file when the new content does not arrive', async () => {
    await download();
    handler = (_request, response) => response.writeHead(500).end();
    await rejectionOf(download());
    expect((await readFile(path)).equals(content)).to.equal(true);
  });

  it('passes on what the file system says', async () => {
    const error = await rejectionOf(download({ path: join(directory, 'missing', 'x') }));
    expect(error).to.have.property('code', 'ENOENT');
  });

  describe('redirected', () => {
    function redirectChain(length: number, status = 302): void {
      handler = (request, response) => {
        const step = Number(new URL(request.url!, server.url).searchParams.get('step'));
        if (step >= length) response.end(content);
        else response.writeHead(status, { Location: `/blob?step=${step + 1}` }).end('elsewhere');
      };
    }

    for (const status of [301, 302, 303, 307, 308]) {
      it(`follows a ${status}`, async () => {
        redirectChain(1, status);
        expect((await download()).sha1).to.equal(sha1);
      });
    }

    it('follows five redirects and not a sixth', async () => {
      redirectChain(5);
      expect((await download()).sha1).to.equal(sha1);
      await rm(path);
      redirectChain(6);
      expect((await failure()).message).to.equal('Error downloading: HTTP status: 302');
      expect(server.requests).to.have.length(6 + 6);
    });

    it('fails on a redirect that leads nowhere', async () => {
      for (const location of [undefined, 'ftp://host/x', 'http://:bad']) {
        handler = (_request, response) => response.writeHead(302, location === undefined ? {} : { location }).end();
        expect((await failure()).message).to.equal('Error downloading: HTTP status: 302');
      }
    });

    it('keeps the credentials on the same host', async () => {
      const seen: (string | undefined)[] = [];
      handler = (request, response) => {
        seen.push(request.headers.authorization);
        if (request.url === '/blob') response.writeHead(302, { Location: '/other' }).end();
        else response.end('x');
      };
      await download({ url: credentialUrl(`${server.url}/blob`) });
      expect(seen).to.deep.equal([wantedAuthorization, wantedAuthorization]);
    });

    it('takes them to no other host, but uses those that the redirect names', async () => {
      const seen: (string | undefined)[] = [];
      const store = await startHttpServer((request, response) => {
        seen.push(request.headers.authorization);
        response.end('x');
      });
      try {
        for (const location of [`${store.url}/x`, store.url.replace('//', '//own:word@')]) {
          handler = (_request, response) => response.writeHead(302, { location }).end();
          await download({ url: credentialUrl(`${server.url}/blob`) });
        }
      } finally {
        await store.stop();
      }
      expect(seen).to.deep.equal([undefined, `Basic ${Buffer.from('own:word').toString('base64')}`]);
    });
  });
});
