import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { runCommand } from '../../../lib/process/command.js';
import { eventually } from '../../support/eventually.js';
import { bodyOf, refusingUrl, startHttpServer } from '../../support/http-server.js';
import { RouterRig, startRawBackend } from '../../support/router.js';

const keys = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
const certified = ['-x509', '-days', '2', '-subj', '/CN=instance', '-addext', 'subjectAltName=DNS:instance'];

describe('the router, given a request with a body,', function () {
  this.timeout(20_000);
  let rig: RouterRig;
  const servers: { stop(): Promise<void> }[] = [];

  const refusingPort = async () => Number(new URL(await refusingUrl()).port);

  /** An app that answers with the length of what it was sent. */
  async function counting() {
    const server = await startHttpServer(async (request, response) => {
      response.end(String((await bodyOf(request)).length));
    });
    servers.push(server);
    return server;
  }

  async function raw(handle: (socket: Socket, head: string) => void) {
    const server = await startRawBackend(handle);
    servers.push(server);
    return server;
  }

  afterEach(async () => {
    await rig.stop();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  it('sends all of it to the next instance when a connection is refused', async () => {
    rig = await RouterRig.start();
    const app = await counting();
    await rig.register(app.port);
    await rig.register(await refusingPort());
    for (const size of [1, 3_000_000]) {
      const body = Buffer.alloc(size, 'x');
      for (let asked = 0; asked < 2; asked += 1) {
        expect((await rig.ask('/', { method: 'PUT', body })).body).to.equal(String(size));
      }
    }
    expect(rig.logged('backend-endpoint-failed')).to.have.lengthOf(1);
  });

  describe('and a client that waits to be asked for it,', () => {
    const head = (connection = 'close') =>
      `POST / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: ${connection}\r\n\r\n`;

    /** Sends the head, the body only when asked to, and gives all that came until the end. */
    async function talk(request = head()): Promise<string> {
      const client = rig.connect();
      client.write(request);
      let text = '';
      let isSent = false;
      client.on('data', (chunk) => {
        text += chunk.toString('latin1');
        if (isSent || !text.startsWith('HTTP/1.1 100 ')) return;
        isSent = true;
        client.write('data');
      });
      await once(client, 'close', { signal: AbortSignal.timeout(8000) });
      return text;
    }

    it('asks for it when the app does, and once only', async () => {
      rig = await RouterRig.start();
      const app = await counting();
      await rig.register(app.port);
      await rig.register(await refusingPort());
      for (let asked = 0; asked < 2; asked += 1) {
        const text = await talk();
        expect(text.match(/HTTP\/1.1 \d+/g)).to.deep.equal(['HTTP/1.1 100', 'HTTP/1.1 200']);
        expect(text).to.match(/\r\n\r\n4$/);
      }
    });

    it('asks for it when the app says nothing', async () => {
      rig = await RouterRig.start();
      const app = await raw((socket, text) => {
        expect(text).to.match(/\r\n\r\n$/);
        socket.on('data', (chunk) => {
          if (chunk.toString() === 'data') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        });
      });
      await rig.register(app.port);
      expect((await talk()).match(/HTTP\/1.1 \d+/g)).to.deep.equal(['HTTP/1.1 100', 'HTTP/1.1 200']);
    });

    it('spares it the body when the app refuses, and closes the connection that the body is still missing on', async () => {
      rig = await RouterRig.start();
      const app = await raw((socket) => {
        socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
      });
      await rig.register(app.port);
      const text = await talk(head('keep-alive'));
      expect(text).to.match(/^HTTP\/1.1 401 .*\r\nConnection: close\r\n.*\r\nno$/s);
      expect(app.received[0]).to.match(/\r\n\r\n$/);
    });

    it('asks for it when the client would like another protocol, too', async () => {
      rig = await RouterRig.start();
      await rig.register((await counting()).port);
      const text = await talk(head('Upgrade\r\nUpgrade: h2c'));
      expect(text.match(/HTTP\/1.1 \d+/g)).to.deep.equal(['HTTP/1.1 100', 'HTTP/1.1 200']);
      expect(text).to.match(/\r\n\r\n4$/);
    });

    it('spares it the body when there is no route, and closes', async () => {
      rig = await RouterRig.start();
      expect(await talk(head('keep-alive'))).to.match(/^HTTP\/1.1 404 .*\r\nConnection: close\r\n/s);
    });
  });

  describe('and an instance with TLS,', () => {
    let directory: string;
    let key: string;
    let cert: string;

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'router-upload-'));
      await runCommand('openssl', ['req', ...keys, ...certified, '-keyout', 'key', '-out', 'cert'], { cwd: directory });
      key = await readFile(join(directory, 'key'), 'utf8');
      cert = await readFile(join(directory, 'cert'), 'utf8');
    });

    after(async () => {
      await rm(directory, { recursive: true });
    });

    beforeEach(async () => {
      rig = await RouterRig.start({ ca_certs: cert, endpoint_timeout: 3 });
    });

    const registerTls = (port: number) => rig.register(1, { tls_port: port, server_cert_domain_san: 'instance' });

    it('never sends a part of it for the whole when the handshake is refused late', async () => {
      const app = await counting();
      await rig.register(app.port);
      const server = createHttpsServer({ key, cert, requestCert: true, rejectUnauthorized: true });
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
      const { port } = server.address() as AddressInfo;
      for (let asked = 0; asked < 6; asked += 1) {
        await registerTls(port);
        const { status, body } = await rig.ask('/', { method: 'POST', body: Buffer.alloc(300_000) });
        // The refusal's words may be lost when its connection is reset under the body.
        expect(['300000', '496', '502'], `${status} ${body}`).to.include(status === 200 ? body : String(status));
      }
      expect(rig.logged('backend-endpoint-failed')).not.to.have.lengthOf(0);
    });

    it('does not repeat it when what an app answers breaks the encryption', async () => {
      const received: string[] = [];
      const server = createTcpServer((socket) => {
        const encrypted = new TLSSocket(socket, {
          isServer: true,
          secureContext: createSecureContext({ key, cert }),
        });
        encrypted.on('error', () => {});
        encrypted.on('data', (chunk) => {
          received.push(chunk.toString());
          if (chunk.toString().endsWith('order')) socket.write('this is no record\r\n\r\n');
        });
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      servers.push({
        async stop() {
          const closed = once(server, 'close');
          server.close();
          await closed;
        },
      });
      const app = await counting();
      await rig.register(app.port);
      await registerTls((server.address() as AddressInfo).port);
      const answers = [];
      for (let asked = 0; asked < 2; asked += 1) {
        answers.push((await rig.ask('/', { method: 'POST', body: 'order' })).status);
      }
      await eventually(() => received.join('').includes('order') || undefined);
      expect(answers.sort()).to.deep.equal([200, 502]);
      expect(app.requests).to.have.lengthOf(1);
    });
  });
});
