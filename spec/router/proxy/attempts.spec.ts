import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { runCommand } from '../../../lib/process/command.js';
import { eventually } from '../../support/eventually.js';
import { type HttpServer, refusingUrl, startHttpServer } from '../../support/http-server.js';
import { type RawBackend, RouterRig, startRawBackend } from '../../support/router.js';

const badGateway = '502 Bad Gateway: Registered endpoint failed to handle the request.\n';

describe('the router, when an instance fails,', function () {
  this.timeout(20_000);
  let rig: RouterRig;
  const servers: { stop(): Promise<void> }[] = [];

  async function answering(text = 'alive'): Promise<HttpServer> {
    const server = await startHttpServer((_request, response) => void response.end(text));
    servers.push(server);
    return server;
  }

  async function raw(handle: (socket: Socket) => void): Promise<RawBackend> {
    const server = await startRawBackend(handle);
    servers.push(server);
    return server;
  }

  const refusingPort = async () => Number(new URL(await refusingUrl()).port);

  /** Asks until every instance's turn has come. */
  async function askAll(count: number, options: Parameters<RouterRig['ask']>[1] = {}) {
    const answers = [];
    for (let asked = 0; asked < count; asked += 1) answers.push(await rig.ask('/', options));
    return answers;
  }

  afterEach(async () => {
    await rig.stop();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  describe('without TLS,', () => {
    beforeEach(async () => {
      rig = await RouterRig.start({ endpoint_timeout: 0.5, endpoint_dial_timeout: 0.3 });
    });

    it('tries the next one when a connection is refused, whatever the method, and leaves it out for a time', async () => {
      const alive = await answering();
      await rig.register(alive.port);
      await rig.register(await refusingPort());
      const answers = await askAll(6, { method: 'POST', body: 'x' });
      expect(answers.map(({ body }) => body)).to.deep.equal(Array(6).fill('alive'));
      expect(rig.logged('backend-endpoint-failed')).to.have.lengthOf(1);
    });

    it('tries at most three, and then tells what the last one said', async () => {
      for (let count = 0; count < 4; count += 1) await rig.register(await refusingPort());
      const { status, headers, body } = await rig.ask('/');
      expect([status, body]).to.deep.equal([502, badGateway]);
      expect(headers['x-cf-routererror']).to.match(
        /^endpoint_failure \(dial tcp 127\.0\.0\.1:\d+: connect: connection refused\)$/,
      );
      expect(headers).not.to.have.property('x-vcap-request-id');
      expect(rig.logged('backend-endpoint-failed')).to.have.lengthOf(3);
    });

    it('comes back to instances that were left out when all were', async () => {
      const port = await refusingPort();
      await rig.register(port);
      expect((await rig.ask('/')).status).to.equal(502);
      const back = await startServerOn(port);
      servers.push(back);
      expect((await rig.ask('/')).status).to.equal(200);
    });

    it('tries the next one after an end without an answer only if the request may be repeated', async () => {
      const ending = await raw((socket) => socket.end());
      const alive = await answering();
      await rig.register(ending.port);
      await rig.register(alive.port);
      const repeatable = await askAll(4);
      expect(repeatable.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
      const asked = ending.connections;
      expect(asked).to.be.greaterThan(0);
      const unrepeatable = await askAll(4, { method: 'POST', body: 'x' });
      expect(unrepeatable.map(({ status }) => status)).to.have.members([200, 200, 502, 502]);
      expect(unrepeatable.find(({ status }) => status === 502)!.headers['x-cf-routererror']).to.equal(
        'endpoint_failure (EOF)',
      );
      expect(ending.connections - asked).to.equal(2);
      const marked = await askAll(4, { method: 'POST', headers: { 'Idempotency-Key': '1', 'Content-Length': '0' } });
      expect(marked.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
    });

    it('does not repeat a request after a reset, and leaves the instance out', async () => {
      const resetting = await raw((socket) => void socket.resetAndDestroy());
      const alive = await answering();
      await rig.register(resetting.port);
      await rig.register(alive.port);
      const answers = await askAll(6);
      expect(answers.filter(({ status }) => status === 502)).to.have.lengthOf(1);
      const failed = answers.find(({ status }) => status === 502)!;
      expect(failed.headers['x-cf-routererror']).to.match(
        /^endpoint_failure \(read tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: read: connection reset by peer\)$/,
      );
      expect(resetting.connections).to.equal(1);
    });

    it('does not repeat a request after an answer that is none', async () => {
      const garbage = await raw((socket) => socket.end('SSH-2.0-nonsense\r\n\r\n'));
      await rig.register(garbage.port);
      const { status, headers, body } = await rig.ask('/');
      expect([status, body]).to.deep.equal([502, badGateway]);
      expect(headers['x-cf-routererror']).to.match(/^endpoint_failure \(/);
      expect(garbage.connections).to.equal(1);
    });

    it('does not let an app change the protocol when nobody asked', async () => {
      const changing = await raw((socket) =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello'),
      );
      await rig.register(changing.port);
      const { status, body } = await rig.ask('/');
      expect([status, body]).to.deep.equal([502, badGateway]);
      expect(changing.connections).to.equal(1);
    });

    it('gives up after the total time, without repeating', async () => {
      const silent = await raw(() => {});
      await rig.register(silent.port);
      const { status, headers } = await rig.ask('/');
      expect([status, headers['x-cf-routererror']]).to.deep.equal([
        502,
        'endpoint_failure (context deadline exceeded)',
      ]);
      expect(silent.connections).to.equal(1);
    });

    it('cuts an answer that takes longer than the total time', async () => {
      const slow = await raw((socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin'));
      await rig.register(slow.port);
      const error = await rig.ask('/').then(
        () => undefined,
        (reason: NodeJS.ErrnoException) => reason,
      );
      expect(error?.code).to.equal('ECONNRESET');
    });

    it('survives registrations that no request can be made of', async () => {
      const alive = await answering();
      await rig.register(alive.port, { private_instance_id: 'a\r\nX-Forged: 1', app: '\u{1F4A5}' });
      expect((await rig.ask('/')).status).to.equal(502);
      await rig.register(alive.port, { private_instance_id: 'i' });
      await eventually(async () => ((await rig.ask('/')).status === 200 ? true : undefined));
    });
  });

  it('lets go of the instance, without asking another, when the client leaves', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'router-'));
    const file = join(directory, 'access.log');
    rig = await RouterRig.start({ access_log: { file } });
    try {
      let closed = 0;
      const handle = (socket: Socket) => void socket.once('close', () => (closed += 1));
      const silent = [await raw(handle), await raw(handle)];
      for (const { port } of silent) await rig.register(port);
      const client = rig.connect();
      client.write('GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n');
      await eventually(() => silent.some(({ connections }) => connections > 0) || undefined);
      client.destroy();
      await eventually(() => closed || undefined);
      const line = await eventually(async () => (await readFile(file, 'utf8')) || undefined);
      expect(line).to.match(/ 499 0 0 .*x_cf_routererror:"endpoint_failure \(context canceled\)"/);
      expect(silent[0]!.connections + silent[1]!.connections).to.equal(1);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  describe('with TLS,', () => {
    let directory: string;
    let authority: string;
    const certificate = (name: string) => readFile(join(directory, name), 'utf8');

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'router-tls-'));
      const openssl = (...args: string[]) => runCommand('openssl', args, { cwd: directory });
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
      const own = (name: string) =>
        openssl(
          'req',
          '-x509',
          ...key,
          '-days',
          '2',
          '-subj',
          `/CN=${name}`,
          '-keyout',
          `${name}.key`,
          '-out',
          `${name}.crt`,
          '-addext',
          `subjectAltName=DNS:${name}`,
        );
      await own('authority');
      await own('stranger');
      await openssl(
        'req',
        ...key,
        '-subj',
        '/CN=instance',
        '-keyout',
        'instance.key',
        '-out',
        'instance.csr',
        '-addext',
        'subjectAltName=DNS:instance',
      );
      await openssl(
        'x509',
        '-req',
        '-in',
        'instance.csr',
        '-CA',
        'authority.crt',
        '-CAkey',
        'authority.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-copy_extensions',
        'copy',
        '-out',
        'instance.crt',
      );
      authority = await certificate('authority.crt');
    });

    after(async () => {
      await rm(directory, { recursive: true });
    });

    beforeEach(async () => {
      rig = await RouterRig.start({ ca_certs: authority });
    });

    async function encrypted(name: string, options: object = {}): Promise<number> {
      const server = createHttpsServer(
        { key: await certificate(`${name}.key`), cert: await certificate(`${name}.crt`), ...options },
        (_request, response) => void response.end('encrypted'),
      );
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      servers.push({
        async stop() {
          const closed = once(server, 'close');
          server.close();
          server.closeAllConnections();
          await closed;
        },
      });
      return (server.address() as AddressInfo).port;
    }

    it('asks an instance that proves its name', async () => {
      const port = await encrypted('instance');
      await rig.register(1, { tls_port: port, server_cert_domain_san: 'instance' });
      expect((await rig.ask('/')).body).to.equal('encrypted');
    });

    const failures: [what: string, name: string, san: string, options: object, status: number, body: string][] = [
      ['has another name', 'instance', 'other', {}, 503, '503 Service Unavailable\n'],
      ['nobody vouches for', 'stranger', 'stranger', {}, 526, '526 Invalid SSL Certificate\n'],
      [
        'wants a certificate of the router',
        'instance',
        'instance',
        { requestCert: true, rejectUnauthorized: true },
        496,
        '496 SSL Certificate Required\n',
      ],
    ];
    for (const [what, name, san, options, status, body] of failures) {
      it(`answers ${status} for an instance that ${what}, and drops it`, async () => {
        const port = await encrypted(name, options);
        await rig.register(1, { tls_port: port, server_cert_domain_san: san });
        const answer = await rig.ask('/');
        expect([answer.status, answer.body]).to.deep.equal([status, body]);
        expect(answer.headers['x-cf-routererror']).to.match(/^endpoint_failure \(/);
        expect((await rig.ask('/')).status).to.equal(404);
      });
    }

    it('answers 525 for an instance that does not speak TLS, and drops it', async () => {
      const plain = await answering();
      await rig.register(1, { tls_port: plain.port, server_cert_domain_san: 'instance' });
      const { status, reason, headers, body } = await rig.ask('/');
      expect([status, reason, body]).to.deep.equal([525, 'status code 525', '525 SSL Handshake Failed\n']);
      expect(headers['x-cf-routererror']).to.equal(
        'endpoint_failure (tls: first record does not look like a TLS handshake)',
      );
      expect((await rig.ask('/')).status).to.equal(404);
    });

    it('tries the next one after a failed handshake, whatever the method, and drops one that is gone', async () => {
      const plain = await answering();
      const alive = await encrypted('instance');
      const tls = (port: number) => rig.register(1, { tls_port: port, server_cert_domain_san: 'instance' });
      await tls(plain.port);
      await tls(await refusingPort());
      await tls(alive);
      const answers = await askAll(6, { method: 'POST', body: 'x' });
      expect(answers.map(({ body }) => body)).to.deep.equal(Array(6).fill('encrypted'));
      const left = (await rig.routes())['app.example.com']!.map(({ address }) => address);
      expect(left).to.deep.equal([`127.0.0.1:${alive}`]);
    });
  });
});

/** An HTTP server that comes back at a port that was refused. */
async function startServerOn(port: number): Promise<{ stop(): Promise<void> }> {
  const server = createServer((_request, response) => void response.end('back'));
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
