import { execFile as execFileWithCallback } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { HttpApi, type HttpApiOptions } from '../../../lib/dea/http-api/http-api.js';
import { serverTls } from '../../../lib/dea/http-api/server-tls.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import type { Answer } from '../../support/http-client.js';
import { askSecurely, type SecureAsked } from '../../support/https-client.js';
import { rejectionOf } from '../../support/rejection.js';

const execFile = promisify(execFileWithCallback);
const json = { 'Content-Type': 'application/json' };

describe('the HTTPS interface of the agent', () => {
  let authority: CertificateAuthority;
  let own: Certificate;
  let client: Certificate;
  let api: HttpApi | undefined;
  let started: Record<string, unknown>[];
  let staged: Record<string, unknown>[];

  before(() => {
    authority = CertificateAuthority.create();
    own = authority.issue({ alternativeNames: 'IP:127.0.0.1' });
    client = authority.issue({ commonName: 'cloud controller' });
  });

  after(() => authority.remove());

  beforeEach(() => {
    started = [];
    staged = [];
  });

  afterEach(async () => {
    await api?.stop();
    api = undefined;
  });

  async function serve(options: Partial<HttpApiOptions> = {}, caFile?: string): Promise<void> {
    api = new HttpApi({
      host: '127.0.0.1',
      port: 0,
      tls: serverTls({
        port: 0,
        key_file: own.keyFile,
        cert_file: own.certFile,
        ...(caFile !== undefined && { ca_file: caFile }),
      }),
      isAccepting: () => true,
      isStager: true,
      startInstance: (message) => void started.push(message),
      stage: (message) => void staged.push(message),
      logger: silentLogger,
      ...options,
    });
    await api.start();
  }

  const ask = (asked: Partial<SecureAsked> = {}): Promise<Answer> =>
    askSecurely({ port: api!.port, path: '/v1/apps', headers: json, body: '{"droplet":"a"}', ...asked });

  it('accepts a start message with the bare number 202', async () => {
    await serve();
    const answer = await ask({ serverCa: authority.cert });
    expect(answer).to.include({ status: 202, body: '202' });
    expect(answer.headers['content-type']).to.equal('application/json');
    expect(started).to.deep.equal([{ droplet: 'a' }]);
  });

  it('accepts a staging message likewise', async () => {
    await serve();
    expect(await ask({ path: '/v1/stage', body: '{"app_id":"a"}' })).to.include({ status: 202, body: '202' });
    expect(staged).to.deep.equal([{ app_id: 'a' }]);
  });

  it('tolerates a slash behind the path, a query, any Accept, and no Content-Type', async () => {
    await serve();
    for (const asked of [
      { path: '/v1/apps/' },
      { path: '/v1/apps?x=y' },
      { headers: { ...json, Accept: 'text/html' } },
      { headers: {} },
      { headers: { 'Content-Type': 'Application/JSON; charset=utf-8' } },
    ]) {
      expect(await ask(asked), JSON.stringify(asked)).to.include({ status: 202 });
    }
    expect(started).to.have.lengthOf(5);
  });

  it('answers 503 while it takes no work, but to bad JSON still 400', async () => {
    await serve({ isAccepting: () => false });
    for (const path of ['/v1/apps', '/v1/stage']) {
      const answer = await ask({ path });
      expect(answer).to.include({ status: 503, body: '503' });
      expect(answer.headers['content-type']).to.equal('application/json');
      expect((await ask({ path, body: '}{' })).status).to.equal(400);
    }
    expect([started, staged]).to.deep.equal([[], []]);
  });

  it('names what is wrong with a body', async () => {
    await serve();
    for (const path of ['/v1/apps', '/v1/stage']) {
      const unparsable = await ask({ path, body: '}{ "secret"' });
      expect(unparsable.status).to.equal(400);
      expect(JSON.parse(unparsable.body).error)
        .to.contain('message body does not match declared format')
        .and.not.contain('secret');
      expect(await ask({ path, body: '' })).to.include({ status: 400, body: '{"error":"the message body is empty"}' });
      expect(await ask({ path, body: '[1]' })).to.include({ status: 400 });
      expect(await ask({ path, body: 'null' })).to.include({ status: 400 });
      expect(await ask({ path, body: Buffer.from([0x22, 0xff, 0x22]) })).to.include({ status: 400 });
    }
    expect([started, staged]).to.deep.equal([[], []]);
  });

  it('refuses other content types, and reads no forms', async () => {
    await serve();
    const text = await ask({ headers: { 'Content-Type': 'text/plain' } });
    expect(text).to.include({
      status: 415,
      body: `{"error":"The requested content-type 'text/plain' is not supported."}`,
    });
    const form = await ask({ headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'a=b' });
    expect(form).to.include({ status: 400, body: '{"error":"the message body is empty"}' });
  });

  it('fails for an environment that is no list of texts, as upstream does', async () => {
    await serve();
    for (const env of ['FOO=bar', { FOO: 'bar' }, [1]]) {
      expect(await ask({ body: JSON.stringify({ env }) })).to.include({ status: 500, body: 'Internal server error' });
    }
    for (const env of [null, [], ['FOO=bar']]) {
      expect(await ask({ body: JSON.stringify({ env }) })).to.include({ status: 202 });
    }
  });

  it('knows only POST', async () => {
    await serve();
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const answer = await ask({ method, body: '' });
      expect(answer).to.include({ status: 405, body: '{"error":"405 Not Allowed"}' });
      expect(answer.headers.allow).to.equal('OPTIONS, POST');
    }
    const options = await ask({ method: 'OPTIONS', body: '' });
    expect(options).to.include({ status: 204, body: '' });
    expect(options.headers.allow).to.equal('OPTIONS, POST');
    expect(await ask({ method: 'HEAD', body: '' })).to.include({ status: 405, body: '' });
  });

  it('answers 404 with X-Cascade elsewhere', async () => {
    await serve();
    for (const path of ['/', '/v1', '/v2/apps', '/v1/apps/x', '//v1/apps', '/__proto__', '/constructor']) {
      const answer = await ask({ path });
      expect(answer, path).to.include({ status: 404, body: '404 Not Found' });
      expect(answer.headers['x-cascade']).to.equal('pass');
    }
  });

  it('answers 404 to stagings that it could not complete, so that they come over NATS', async () => {
    await serve({ stage: undefined });
    expect(await ask({ path: '/v1/stage' })).to.include({ status: 404 });
  });

  it('sends stagings on to other agents when it does not stage', async () => {
    await serve({ isStager: false });
    expect(await ask({ path: '/v1/stage' })).to.include({ status: 503, body: '503' });
    expect(await ask()).to.include({ status: 202 });
  });

  describe('with client certificates', () => {
    it('takes none, and foreign ones, when it knows no authority', async () => {
      await serve();
      const foreign = CertificateAuthority.create();
      try {
        const { key, cert } = foreign.issue({ commonName: 'stranger' });
        expect(await ask({ key, cert })).to.include({ status: 202 });
        expect(await ask()).to.include({ status: 202 });
      } finally {
        foreign.remove();
      }
    });

    it('asks for one without naming an authority', async () => {
      await serve();
      const said = await execFile('sh', [
        '-c',
        `openssl s_client -connect 127.0.0.1:${api!.port} -tls1_2 </dev/null 2>&1`,
      ]);
      expect(said.stdout).to.contain('No client certificate CA names sent');
      expect(said.stdout).to.contain('Client Certificate Types');
    });

    it('requires one of its authority when it knows one', async () => {
      await serve({}, authority.certFile);
      expect(await ask({ key: client.key, cert: client.cert })).to.include({ status: 202 });
      await rejectionOf(ask());
      const foreign = CertificateAuthority.create();
      try {
        const { key, cert } = foreign.issue({ commonName: 'stranger' });
        await rejectionOf(ask({ key, cert }));
      } finally {
        foreign.remove();
      }
      expect(started).to.have.lengthOf(1);
    });

    it('refuses an expired one of its authority', async () => {
      await serve({}, authority.certFile);
      const { key, cert } = authority.issue({ commonName: 'late', days: -1 });
      await rejectionOf(ask({ key, cert }));
      expect(started).to.deep.equal([]);
    });
  });

  for (const version of ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const) {
    it(`speaks ${version}`, async () => {
      await serve();
      const answer = await ask({ minVersion: version, maxVersion: version, ciphers: 'DEFAULT:@SECLEVEL=0' });
      expect(answer).to.include({ status: 202 });
    });
  }

  describe('with clients that mean harm', () => {
    const limits = { headersMs: 500, requestMs: 1000, connections: 40 };

    async function closed(socket: Socket): Promise<void> {
      socket.on('error', () => {});
      socket.resume();
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
    }

    it('refuses 100 MB without keeping them, and goes on', async function () {
      this.timeout(60_000);
      await serve();
      const before = process.memoryUsage.rss();
      const answer = await ask({ body: Buffer.alloc(100 * 1024 * 1024, 0x20) });
      expect(answer).to.include({ status: 413 });
      expect(JSON.parse(answer.body).error).to.contain('more than 16777216 bytes');
      // The client's own copy is 100 MB.
      expect(process.memoryUsage.rss() - before).to.be.lessThan(220 * 1024 * 1024);
      expect(await ask()).to.include({ status: 202 });
    });

    it('takes a body of many megabytes that is a message', async () => {
      await serve();
      expect(await ask({ body: JSON.stringify({ env: ['x'.repeat(10_000_000)] }) })).to.include({ status: 202 });
    });

    it('cuts off who does not finish the handshake, the headers or the body', async () => {
      await serve({ limits });
      const silent = connectTcp(api!.port, '127.0.0.1');
      const withHeaders = connectTls({ host: '127.0.0.1', port: api!.port, rejectUnauthorized: false });
      withHeaders.on('secureConnect', () => withHeaders.write('POST /v1/apps HTTP/1.1\r\nHost: x\r\n'));
      const withBody = connectTls({ host: '127.0.0.1', port: api!.port, rejectUnauthorized: false });
      withBody.on('secureConnect', () => {
        withBody.write('POST /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{');
      });
      await Promise.all([silent, withHeaders, withBody].map(closed));
      expect(await ask()).to.include({ status: 202 });
      expect(started).to.have.lengthOf(1);
    });

    it('cuts off who drips a body without end', async () => {
      await serve({ limits });
      const socket = connectTls({ host: '127.0.0.1', port: api!.port, rejectUnauthorized: false });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write('POST /v1/apps HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
      const dripping = setInterval(() => socket.write('1\r\n \r\n'), 50);
      await closed(socket);
      clearInterval(dripping);
      expect(await ask()).to.include({ status: 202 });
    });

    it('closes hundreds of connections that say nothing, and goes on', async () => {
      await serve({ limits });
      const idle = Array.from({ length: 300 }, () => connectTcp(api!.port, '127.0.0.1'));
      await Promise.all(idle.map(closed));
      expect(await ask()).to.include({ status: 202 });
    });

    it('answers HTTP on the port, and garbage, with a cut', async () => {
      await serve();
      for (const text of ['GET / HTTP/1.0\r\n\r\n', '\0'.repeat(1000), 'x'.repeat(70_000)]) {
        const socket = connectTcp(api!.port, '127.0.0.1');
        socket.write(text);
        await closed(socket);
      }
      expect(await ask()).to.include({ status: 202 });
    });

    it('stops at once with connections in every phase', async () => {
      await serve();
      const silent = connectTcp(api!.port, '127.0.0.1');
      await once(silent, 'connect');
      const open = connectTls({ host: '127.0.0.1', port: api!.port, rejectUnauthorized: false });
      await once(open, 'secureConnect');
      open.write('POST /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{');
      const cut = Promise.all([silent, open].map(closed));
      await api!.stop();
      await cut;
    });
  });
});
