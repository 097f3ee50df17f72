import { createServer, type Socket } from 'node:net';
import { Server, type sendUnaryData, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { LocketClient, LocketRefusal } from '../../../lib/locks/client/locket-client.js';
import { EmbeddedLockStore } from '../../../lib/locks/embedded/embedded-store.js';
import { LockCollision, LocksUnavailable } from '../../../lib/locks/lock-store.js';
import { MutualTls } from '../../../lib/locks/server/mutual-tls.js';
import { locketService } from '../../../lib/locks/wire/service.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../../support/locket.js';
import { freeTcpPort } from '../../support/nats.js';
import { rejectionOf } from '../../support/rejection.js';
import { lock, presence } from '../store-contract.js';

describe('LocketClient', () => {
  let identity: TestIdentity;
  let locket: RunningLocket;
  let client: LocketClient;

  before(async () => {
    identity = makeIdentity();
    locket = await startLocket({ identity });
    client = locket.client();
  });

  after(async () => {
    await locket.stop();
    identity.remove();
  });

  it('takes, renews, lists, fetches and releases', async () => {
    const { token } = await client.acquire(lock('a', 'one', 'väl'), 15_000);
    expect(token).to.be.a('number').greaterThan(0);
    expect(await client.acquire(lock('a', 'one', 'väl'), 15_000)).to.deep.equal({ token });
    await client.acquire(presence('p', 'one'), 15_000);
    expect(await client.list('lock')).to.deep.equal([lock('a', 'one', 'väl')]);
    expect(await client.list('presence')).to.deep.equal([presence('p', 'one')]);
    expect(await client.fetch('a')).to.deep.equal(lock('a', 'one', 'väl'));
    await client.release('a', 'one');
    expect(await client.fetch('a')).to.equal(undefined);
  });

  it('tells collisions, refusals and what cannot be asked from each other', async () => {
    await client.acquire(lock('b', 'one'), 15_000);
    expect(await rejectionOf(client.acquire(lock('b', 'two'), 15_000))).to.be.instanceOf(LockCollision);
    expect(await rejectionOf(client.release('b', 'two'))).to.be.instanceOf(LockCollision);
    const refusal = await rejectionOf(client.acquire(lock('c', ''), 15_000));
    expect(refusal).to.be.instanceOf(LocketRefusal).and.to.include({ code: status.INVALID_ARGUMENT });
    expect(refusal.message).to.match(/^Locket: invalid-owner \(request [0-9a-f-]{36}\)$/);
    expect(await rejectionOf(client.acquire(lock('c', 'one'), 1500))).to.be.instanceOf(RangeError);
  });

  it('goes without tokens where an upstream Locket grants', async () => {
    const server = new Server();
    server.addService(
      { Lock: locketService.Lock },
      { Lock: (_call: unknown, answer: sendUnaryData<object>) => answer(null, {}) },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', new MutualTls(identity), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    const upstream = new LocketClient({ address: `127.0.0.1:${port}`, identity });
    try {
      expect(await upstream.acquire(lock('a', 'one'), 15_000)).to.deep.equal({ token: undefined });
      expect(await rejectionOf(upstream.list('lock'))).to.include({ code: status.UNIMPLEMENTED });
    } finally {
      await upstream.stop();
      server.forceShutdown();
    }
  });

  it('believes only a server of the name that it asks for', async () => {
    const named = locket.client({ address: `localhost:${locket.port}`, serverName: 'locket.service.cf.internal' });
    expect(await named.list('lock')).to.be.an('array');
    const mistaken = locket.client({ serverName: 'bbs.service.cf.internal', timeoutMs: 500 });
    expect(await rejectionOf(mistaken.list('lock'))).to.be.instanceOf(LocksUnavailable);
  });

  it('believes no server of another authority, and is not believed', async () => {
    const stranger = makeIdentity();
    try {
      const mistrusting = locket.client({ identity: { ...identity, ca: stranger.ca }, timeoutMs: 500 });
      expect(await rejectionOf(mistrusting.list('lock'))).to.be.instanceOf(LocksUnavailable);
      const unknown = locket.client({ identity: { ...stranger, ca: identity.ca }, timeoutMs: 500 });
      expect(await rejectionOf(unknown.list('lock'))).to.be.instanceOf(LocksUnavailable);
    } finally {
      stranger.remove();
    }
  });

  it('comes back when the server does, and meanwhile says in time that it is away', async () => {
    const store = new EmbeddedLockStore();
    const port = await freeTcpPort();
    // The store outlives its servers, as a database does.
    const kept = Object.assign(Object.create(store) as EmbeddedLockStore, {
      start: async () => {},
      stop: async () => {},
    });
    for (const name of ['acquire', 'list', 'release', 'fetch'] as const)
      Object.assign(kept, { [name]: store[name].bind(store) });
    await store.start();
    const first = await startLocket({ identity, store: kept, port });
    const lasting = new LocketClient({ address: `127.0.0.1:${port}`, identity, timeoutMs: 5000 });
    try {
      const { token } = await lasting.acquire(lock('a', 'one'), 15_000);
      await first.stop();
      const away = await rejectionOf(lasting.acquire(lock('a', 'one'), 15_000, { timeoutMs: 300 }));
      expect(away).to.be.instanceOf(LocksUnavailable);
      const second = await startLocket({ identity, store: kept, port });
      expect(await lasting.acquire(lock('a', 'one'), 15_000)).to.deep.equal({ token });
      await second.stop();
    } finally {
      await lasting.stop();
      await store.stop();
    }
  });

  it('does not wait longer than its limit for a server that accepts and says nothing', async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const waiting = new LocketClient({ address: `127.0.0.1:${port}`, identity, timeoutMs: 200 });
    try {
      expect(await rejectionOf(waiting.list('lock'))).to.be.instanceOf(LocksUnavailable);
    } finally {
      await waiting.stop();
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });
});
