import { createServer } from 'node:net';
import { expect } from 'chai';
import { Hm9000Client } from '../../../lib/dea/health-manager/hm9000-client.js';
import { CertificateAuthority } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { type HealthManager, startHealthManager } from '../../support/health-manager.js';
import { refusingUrl } from '../../support/http-server.js';
import { type RecordedLine, recordingLogger } from '../../support/recording-logger.js';

describe('heartbeats to HM9000', () => {
  let authority: CertificateAuthority;
  let manager: HealthManager;
  let client: Hm9000Client;
  let lines: RecordedLine[];
  let results: boolean[];

  before(() => {
    authority = CertificateAuthority.create();
  });

  after(() => authority.remove());

  beforeEach(async () => {
    manager = await startHealthManager(authority);
    results = [];
  });

  afterEach(async () => {
    await client?.stop();
    await manager.stop();
  });

  function connect(config: Partial<HealthManager['config']> = {}, timeoutMs = 1000): void {
    const recording = recordingLogger();
    lines = recording.lines;
    client = Hm9000Client.create({
      config: { ...manager.config, ...config },
      heartbeatIntervalMs: 10_000,
      timeoutMs,
      onResult: (isAccepted) => void results.push(isAccepted),
      logger: recording.logger,
    });
  }

  const send = (dea: string) => client.send(() => ({ dea, droplets: [] }));
  const outcome = (count = 1) =>
    eventually(() => (results.length >= count ? results : undefined), { timeoutMs: 15_000, what: `${count} results` });

  it('posts them with its certificate, on one connection', async () => {
    connect();
    for (const dea of ['one', 'two', 'three']) {
      send(dea);
      await eventually(() => (results.length === manager.heartbeats.length && results.length > 0 ? true : undefined));
    }
    await outcome(3);
    expect(manager.heartbeats.map(({ body }) => body)).to.deep.equal(
      ['one', 'two', 'three'].map((dea) => ({ dea, droplets: [] })),
    );
    expect(manager.heartbeats[0]).to.include({ path: '/dea/heartbeat', contentType: 'application/json' });
    expect(manager.connections).to.equal(1);
    expect(lines.map(({ message }) => message)).to.deep.equal(Array(3).fill('hm9000.heartbeat.accepted'));
  });

  it('puts its path in place of the one of the URI', async () => {
    connect({ listener_uri: `${manager.url}/some/where` });
    send('one');
    await outcome();
    expect(manager.heartbeats[0]!.path).to.equal('/dea/heartbeat');
  });

  it('logs what the health manager answers instead of 202', async () => {
    manager.answer = (_request, response) => void response.writeHead(500).end(`no ${'x'.repeat(100_000)}`);
    connect();
    send('one');
    expect(await outcome()).to.deep.equal([false]);
    expect(lines[0]).to.deep.include({ level: 'warn', message: 'hm9000.heartbeat.failed' });
    expect(lines[0]!.data).to.include({ destination: `${manager.url}/dea/heartbeat`, http_status: 500 });
    expect(lines[0]!.data.http_response)
      .to.match(/^no x+$/)
      .and.have.lengthOf(1024);
  });

  it('follows no redirect', async () => {
    manager.answer = (_request, response) => void response.writeHead(302, { Location: `${manager.url}/x` }).end();
    connect();
    send('one');
    expect(await outcome()).to.deep.equal([false]);
    expect(manager.heartbeats).to.have.lengthOf(1);
  });

  it('has one request under way at most, and sends the newest of those that waited', async () => {
    const held: (() => void)[] = [];
    manager.answer = (_request, response) => void held.push(() => response.writeHead(202).end());
    connect({}, 10_000);
    for (let number = 0; number < 1000; number += 1) send(`${number}`);
    await eventually(() => (held.length > 0 ? true : undefined));
    for (let number = 1000; number < 2000; number += 1) send(`${number}`);
    expect(manager.open).to.equal(1);
    held.shift()!();
    await eventually(() => (held.length > 0 ? true : undefined));
    held.shift()!();
    await outcome(2);
    const sent = manager.heartbeats.map(({ body }) => body.dea);
    expect(sent).to.have.lengthOf(2);
    expect(sent[1]).to.equal('1999');
  });

  it('gives a hanging health manager up, and goes on with the newest state', async () => {
    manager.answer = () => {};
    connect({}, 500);
    send('one');
    await eventually(() => (manager.heartbeats.length === 1 ? true : undefined));
    send('two');
    manager.answer = (_request, response) => void response.writeHead(202).end();
    expect(await outcome(2)).to.deep.equal([false, true]);
    expect(lines[0]).to.deep.include({ level: 'error', message: 'hm9000.heartbeat.failed' });
    expect(lines[0]!.data.error).to.equal('ETIMEDOUT');
    expect(manager.heartbeats.at(-1)!.body.dea).to.equal('two');
  });

  it('gives up an answer that drips without end', async () => {
    const timers: NodeJS.Timeout[] = [];
    manager.answer = (_request, response) => {
      response.writeHead(202);
      timers.push(setInterval(() => response.write('x'), 50));
    };
    connect({}, 500);
    send('one');
    expect(await outcome()).to.deep.equal([false]);
    for (const timer of timers) clearInterval(timer);
  });

  it('goes on after refused connections and refused certificates', async () => {
    connect({ listener_uri: (await refusingUrl()).replace('http:', 'https:') });
    send('one');
    expect(await outcome()).to.deep.equal([false]);
    expect(lines[0]!.data.error).to.equal('ECONNREFUSED');
    await client.stop();

    results = [];
    const foreign = CertificateAuthority.create();
    try {
      const stranger = foreign.issue({ commonName: 'stranger' });
      connect({ key_file: stranger.keyFile, cert_file: stranger.certFile });
      send('one');
      expect(await outcome()).to.deep.equal([false]);
      await client.stop();

      results = [];
      connect({ ca_file: foreign.certFile });
      send('one');
      expect(await outcome()).to.deep.equal([false]);
      expect(lines[0]!.data.error).to.match(/CERT|SIGNATURE/);
    } finally {
      foreign.remove();
    }
    expect(manager.heartbeats).to.deep.equal([]);
  });

  it('gives up a server that takes connections and says nothing', async () => {
    const mute = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as { port: number };
    connect({ listener_uri: `https://127.0.0.1:${port}` }, 500);
    send('one');
    expect(await outcome()).to.deep.equal([false]);
    await client.stop();
    await new Promise((resolve) => mute.close(resolve));
  });

  it('stops with a request under way, and sends nothing afterwards', async () => {
    manager.answer = () => {};
    connect({}, 10_000);
    send('one');
    await eventually(() => (manager.heartbeats.length === 1 ? true : undefined));
    send('two');
    await client.stop();
    send('three');
    await eventually(() => (manager.open === 0 ? true : undefined));
    expect(manager.heartbeats).to.have.lengthOf(1);
    expect(results).to.deep.equal([]);
  });
});
