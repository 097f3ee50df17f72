import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { eventually } from '../../support/eventually.js';
import { bodyOf, refusingUrl } from '../../support/http-server.js';
import { type RawBackend, RouterRig, startRawBackend } from '../../support/router.js';

const upgradeHead =
  'GET /socket HTTP/1.1\r\nHost: app.example.com\r\nConnection: keep-alive, UpGrade\r\nUpgrade: WebSocket\r\n\r\n';

describe('the router, asked for another protocol,', function () {
  this.timeout(20_000);
  let rig: RouterRig;
  let directory: string;
  const servers: { stop(): Promise<void> }[] = [];

  async function raw(handle: (socket: Socket, head: string) => void): Promise<RawBackend> {
    const server = await startRawBackend(handle);
    servers.push(server);
    return server;
  }

  async function echo(): Promise<{ port: number; paths: string[] }> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    const paths: string[] = [];
    server.on('connection', (socket, request) => {
      paths.push(request.url!);
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    servers.push({
      async stop() {
        for (const client of server.clients) client.terminate();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    return { port: address.port, paths };
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'router-'));
    rig = await RouterRig.start({ endpoint_timeout: 0.3, access_log: { file: join(directory, 'access.log') } });
  });

  afterEach(async () => {
    await rig.stop();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
    await rm(directory, { recursive: true });
  });

  it('carries WebSocket messages both ways, for longer than a request may take', async () => {
    const app = await echo();
    await rig.register(app.port, { app: 'guid' });
    const client = new WebSocket(`ws://127.0.0.1:${rig.router.port}/socket?a=b`, {
      headers: { Host: 'app.example.com' },
    });
    const [[response]] = await Promise.all([once(client, 'upgrade'), once(client, 'open')]);
    expect(response.headers['x-vcap-request-id']).to.match(/^[\da-f-]{36}$/);
    const startedMs = Date.now();
    const large = 'x'.repeat(1_000_000);
    for (let sent = 0; Date.now() - startedMs < 600; sent += 1) {
      const text = sent === 0 ? large : `message ${sent}`;
      client.send(text);
      const [data] = await once(client, 'message', { signal: AbortSignal.timeout(2000) });
      expect(data.toString()).to.equal(text);
    }
    client.close(1000, 'done');
    const [code] = await once(client, 'close');
    expect(code).to.equal(1000);
    expect(app.paths).to.deep.equal(['/socket?a=b']);
    const line = await eventually(async () => (await readFile(join(directory, 'access.log'), 'utf8')) || undefined);
    expect(line).to.match(/"GET \/socket\?a=b HTTP\/1\.1" 101 \d{7} \d{7} .*app_id:"guid"/);
  });

  it('knows the wish in any spelling, and tells the app in its own', async () => {
    const app = await raw((socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\nfirst bytes'),
    );
    await rig.register(app.port, { private_instance_id: 'i' });
    const answer = await rig.send(upgradeHead);
    expect(app.received[0]).to.match(/^GET \/socket HTTP\/1\.1\r\n/);
    expect(app.received[0]).to.contain('\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n');
    expect(app.received[0]).to.contain('\r\nX-CF-InstanceID: i\r\n');
    expect(answer).to.match(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(answer).to.contain('Connection: Upgrade\r\nUpgrade: WebSocket\r\n');
    expect(answer).to.match(/\r\n\r\nfirst bytes$/);
  });

  it('passes on what the client sends before it has an answer', async () => {
    const app = await raw((socket) =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n'),
    );
    await rig.register(app.port);
    const client = rig.connect();
    client.on('data', () => {});
    client.write(`${upgradeHead}early`);
    await eventually(() => app.received[0]?.endsWith('\r\n\r\nearly') || undefined);
    client.destroy();
  });

  it('passes another answer than the wanted one on, and closes', async () => {
    const app = await raw((socket) =>
      socket.write('HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno'),
    );
    await rig.register(app.port);
    const answer = await rig.send(upgradeHead);
    expect(answer).to.match(/^HTTP\/1\.1 403 Forbidden\r\nContent-Type: text\/plain\r\nContent-Length: 2\r\n/);
    expect(answer).to.match(/\r\n\r\nno$/);
  });

  it('tries the next instance when a connection is refused', async () => {
    const app = await echo();
    await rig.register(app.port);
    await rig.register(Number(new URL(await refusingUrl()).port));
    for (let count = 0; count < 3; count += 1) {
      const client = new WebSocket(`ws://127.0.0.1:${rig.router.port}`, { headers: { Host: 'app.example.com' } });
      await once(client, 'open');
      client.terminate();
    }
    expect(rig.logged('backend-endpoint-failed')).to.have.lengthOf(1);
  });

  it('answers as to any request when there is no route or no instance', async () => {
    expect(await rig.send(upgradeHead)).to.match(
      /^HTTP\/1\.1 404 Not Found\r\n[\s\S]*X-Cf-RouterError: unknown_route\r\n/,
    );
    await rig.register(Number(new URL(await refusingUrl()).port));
    expect(await rig.send(upgradeHead)).to.match(/^HTTP\/1\.1 502 Bad Gateway\r\n[\s\S]*endpoint_failure \(dial tcp/);
    expect(await rig.send('GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n')).to.match(
      /^HTTP\/1\.1 400 Bad Request: missing required Host header\r\n/,
    );
  });

  it('answers 502 without a word to Upgrade: tcp', async () => {
    const app = await raw(() => {});
    await rig.register(app.port);
    const answer = await rig.send(upgradeHead.replace('WebSocket', 'tcp'));
    expect(answer).to.equal('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    expect(app.connections).to.equal(0);
  });

  it('gives those who would rather have HTTP/2 an ordinary answer, bodies included', async () => {
    const app = await raw((socket) => {
      const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
      setImmediate(function wait() {
        if (app.received[0]!.endsWith('\r\n\r\n12345')) socket.end(answer);
        else setImmediate(wait);
      });
    });
    await rig.register(app.port);
    const head =
      'POST / HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n' +
      'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 5\r\n\r\n';
    const client = rig.connect();
    client.write(`${head}12`);
    await eventually(() => app.received[0]?.endsWith('12') || undefined);
    client.write('345');
    const answer = (await bodyOf(client)).toString();
    expect(answer).to.match(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok$/);
    expect(app.received[0]).not.to.match(/h2c|HTTP2-Settings/i);
    expect(app.received[0]).to.contain('\r\nConnection: close\r\n');
  });

  it('closes one end when the other one is gone', async () => {
    let appSocket: Socket | undefined;
    const app = await raw((socket) => {
      appSocket = socket;
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n');
    });
    await rig.register(app.port);
    const client = rig.connect();
    client.on('data', () => {});
    client.on('error', () => {});
    client.write(upgradeHead);
    await eventually(() => appSocket);
    client.destroy();
    await once(appSocket!, 'close', { signal: AbortSignal.timeout(2000) });

    const second = rig.connect();
    let answered = '';
    second.on('data', (chunk: Buffer) => {
      answered += chunk.toString();
    });
    second.write(upgradeHead);
    await eventually(() => answered.includes('101') || undefined);
    appSocket!.destroy();
    await once(second, 'close', { signal: AbortSignal.timeout(2000) });
  });
});
