import { expect } from 'chai';
import type { Bus } from '../../lib/bus/bus.js';
import { createNatsBus } from '../../lib/bus/nats-bus.js';
import { describeServer, parseServerAddress } from '../../lib/bus/server-address.js';
import { type LogData, type Logger, silentLogger } from '../../lib/logging/logger.js';
import { redact } from '../../lib/logging/redaction.js';
import { eventually } from '../support/eventually.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { Peer } from '../support/peer.js';

describe('the NATS bus', function () {
  this.timeout(30_000);
  let server: NatsServer;
  let bus: Bus;
  let errors: { message: string; data: LogData | undefined }[];
  const buses: Bus[] = [];

  const logger: Logger = {
    ...silentLogger,
    error: (message, data) => errors.push({ message, data }),
  };

  function makeBus(...servers: string[]): Bus {
    const made = createNatsBus({ servers, logger });
    buses.push(made);
    return made;
  }

  beforeEach(async () => {
    errors = [];
    server = await startNats();
    bus = makeBus(server.url);
    await bus.start();
    await eventually(() => bus.isConnected || undefined);
  });

  afterEach(async () => {
    await Promise.all(buses.splice(0).map((made) => made.stop()));
    await server.stop();
  });

  it('delivers JSON and carries answers back', async () => {
    bus.subscribe('greet', ({ data, reply }) => reply({ hello: (data as { name: string }).name }));
    const other = makeBus(server.url);
    await other.start();
    expect(await other.request('greet', { name: 'Ada' }, { timeoutMs: 2000 })).to.deep.equal([{ hello: 'Ada' }]);
  });

  it('returns what has come when the time is up, and early when all have answered', async () => {
    for (const answer of [1, 2]) bus.subscribe('ask', ({ reply }) => reply(answer));
    const started = Date.now();
    expect(await bus.request('ask', null, { timeoutMs: 5000, maxReplies: 2 })).to.have.members([1, 2]);
    expect(Date.now() - started).to.be.lessThan(2000);
    expect(await bus.request('ask', null, { timeoutMs: 200, maxReplies: 3 })).to.have.members([1, 2]);
    expect(await bus.request('ask', null, { timeoutMs: 200, maxReplies: 0 })).to.deep.equal([]);
  });

  it('streams replies until none comes in time', async () => {
    bus.subscribe('stage', ({ reply }) => {
      reply('first');
      setTimeout(() => reply('second'), 100);
    });
    const replies: unknown[] = [];
    for await (const reply of bus.requestStream('stage', {}, { timeoutMs: 400 })) replies.push(reply);
    expect(replies).to.deep.equal(['first', 'second']);
  });

  it('gives each message to one member of a queue group', async () => {
    const seen: number[] = [];
    for (const member of [1, 2]) bus.subscribe('work', () => void seen.push(member), { queue: 'workers' });
    for (let sent = 0; sent < 20; sent += 1) bus.publish('work', sent);
    await eventually(() => (seen.length >= 20 ? true : undefined));
    expect(seen).to.have.lengthOf(20);
  });

  it('drops garbage and survives a handler that throws', async () => {
    const seen: unknown[] = [];
    bus.subscribe('x', ({ data }) => {
      seen.push(data);
      if (data === 'throw') throw new Error('handler failed');
    });
    const peer = await Peer.connect(server.url);
    for (const text of ['}{', '"throw"', '', '{"a":1}']) peer.publishRaw('x', text);
    await eventually(() => (seen.length === 3 ? true : undefined));
    await peer.close();
    expect(seen).to.deep.equal(['throw', null, { a: 1 }]);
    expect(errors.map(({ message }) => message)).to.deep.equal([
      'nats.subscription.json_error',
      'nats.subscription.error',
    ]);
    expect(errors[1]!.data).to.include({ subject: 'x', error: 'handler failed' });
  });

  it('takes no word of the server itself for a reply', async () => {
    expect(await bus.request('nobody.listens', {}, { timeoutMs: 200, maxReplies: 2 })).to.deep.equal([]);
  });

  it('lives on after payloads made to exhaust its stack or its time', async () => {
    const seen: number[] = [];
    bus.subscribe('hostile', ({ data }) => void seen.push(JSON.stringify(data ?? 0).length));
    bus.subscribe('nested', () => {
      seen.push(-1);
      throw new Error('handler failed');
    });
    const peer = await Peer.connect(server.url);
    peer.publishRaw('nested', `${'['.repeat(400_000)}${']'.repeat(400_000)}`);
    peer.publishRaw('hostile', JSON.stringify('a'.repeat(900_000)));
    await eventually(() => (seen.length === 2 ? true : undefined), { timeoutMs: 5000 });
    await peer.close();
    expect(seen).to.deep.equal([-1, 900_002]);
  });

  it('does not quote a broken payload, which may hold secrets', async () => {
    const peer = await Peer.connect(server.url);
    bus.subscribe('x', () => {});
    await bus.request('x', null, { timeoutMs: 50 });
    peer.publishRaw('x', '{"env":hunter2}');
    await eventually(() => (errors.length > 0 ? true : undefined));
    await peer.close();
    expect(JSON.stringify(errors)).not.to.contain('hunter2');
  });

  it('logs and drops what cannot be published, and goes on', async () => {
    const seen: unknown[] = [];
    bus.subscribe('size', ({ data }) => void seen.push(data));
    bus.publish('size', 'x'.repeat(2_000_000));
    bus.publish('dea.stop {}\r\nPUB size 1\r\n7\r\n', 1);
    bus.publish('size', 'fits');
    await eventually(() => (seen.length === 1 ? true : undefined));
    expect(seen).to.deep.equal(['fits']);
    expect(errors.map(({ message }) => message)).to.deep.equal(['nats.publish.error', 'nats.publish.error']);
  });

  it('keeps one connection when a listener for connections throws', async () => {
    const seen: unknown[] = [];
    const early = makeBus(server.url);
    let called = 0;
    early.onConnect(() => {
      throw new Error('listener failed');
    });
    early.onConnect(() => {
      called += 1;
    });
    early.subscribe('once', ({ data }) => void seen.push(data));
    await early.start();
    await eventually(() => (called === 1 ? true : undefined));
    bus.publish('once', 1);
    bus.publish('once', 'last');
    await eventually(() => (seen.includes('last') ? true : undefined));
    expect(seen).to.deep.equal([1, 'last']);
    expect(errors.map(({ message }) => message)).to.deep.equal(['nats.listener.error']);
  });

  it('loses nothing while the server hangs', async () => {
    const seen: unknown[] = [];
    bus.subscribe('hang', ({ data }) => void seen.push(data));
    server.pause();
    for (let sent = 0; sent < 100; sent += 1) bus.publish('hang', sent);
    server.resume();
    await eventually(() => (seen.length === 100 ? true : undefined));
    expect(seen).to.deep.equal(Array.from({ length: 100 }, (_, position) => position));
  });

  it('restores subscriptions and sends what waited when the server comes back', async () => {
    const seen: unknown[] = [];
    bus.subscribe('after', ({ data }) => void seen.push(data));
    let connections = 0;
    bus.onConnect(() => {
      connections += 1;
    });
    const { port } = server;
    await server.kill();
    await eventually(() => (bus.isConnected ? undefined : true));
    bus.publish('after', 'waited');
    server = await startNats({ port });
    await eventually(() => (connections === 1 ? true : undefined));
    bus.publish('after', 'later');
    await eventually(() => (seen.length === 2 ? true : undefined));
    expect(seen).to.deep.equal(['waited', 'later']);
  });

  it('starts without a server, and joins it when it comes', async () => {
    const { port, url } = server;
    await server.stop();
    const early = makeBus(url);
    const seen: unknown[] = [];
    early.subscribe('early', ({ data }) => void seen.push(data));
    await early.start();
    early.publish('early', 1);
    server = await startNats({ port });
    await eventually(() => (seen.length === 1 ? true : undefined));
  });

  it('uses the server that lives of several, each with credentials of its own', async () => {
    const guarded = await startNats({ user: 'nats', password: 'p@ss:word' });
    try {
      const both = makeBus('nats://other:x@127.0.0.1:1', `nats://nats:p%40ss%3Aword@127.0.0.1:${guarded.port}`);
      await both.start();
      await eventually(() => both.isConnected || undefined, { timeoutMs: 20_000 });
    } finally {
      await Promise.all(buses.splice(0).map((made) => made.stop()));
      await guarded.stop();
    }
  });

  it('stops while it is still trying to connect', async () => {
    const lost = makeBus('nats://127.0.0.1:1');
    await lost.start();
    await lost.stop();
    expect(lost.isConnected).to.equal(false);
  });
});

describe('the address of a NATS server', () => {
  it('is read with or without scheme, credentials and port', () => {
    expect(parseServerAddress('nats://u:p%40ss%2F@host:4333')).to.deep.equal({
      address: 'host:4333',
      user: 'u',
      password: 'p@ss/',
    });
    expect(parseServerAddress('u:p@host')).to.deep.equal({ address: 'host:4222', user: 'u', password: 'p' });
    expect(parseServerAddress('nats://[::1]:1')).to.deep.equal({ address: '[::1]:1' });
  });

  it('is described without credentials, even when it cannot be read', () => {
    expect(describeServer('nats://user:secret@host:4222')).to.equal('host:4222');
    expect(describeServer('nats://user:secret@host:port')).to.equal('<<uri parse error>>');
    expect(describeServer('')).to.equal('<<uri parse error>>');
  });
});

describe('redaction', () => {
  it('cuts credentials with reserved characters whole', () => {
    expect(redact('see nats://u:p@ss@h:4222/x now')).to.equal('see nats://h:4222/x now');
  });

  it('hides secrets at any depth and cuts credentials out of URLs', () => {
    expect(
      redact({
        start_message: { services: [{ credentials: 'x' }], env: ['A=b'], executableUri: 'http://u:p@h/x', name: 'web' },
        download_uri: 'http://user:secret@h:80/x?y=a@b',
        uris: ['web.example.com'],
      }),
    ).to.deep.equal({
      start_message: { services: '<redacted>', env: '<redacted>', executableUri: '<redacted>', name: 'web' },
      download_uri: 'http://h:80/x?y=a@b',
      uris: ['web.example.com'],
    });
  });
});
