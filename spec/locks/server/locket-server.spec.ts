import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import type { LockStore } from '../../../lib/locks/lock-store.js';
import { fetchAllRequest, lockRequest, typeCodes, type WireResource } from '../../../lib/locks/wire/messages.js';
import { CertificateAuthority, type CertificateOptions } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../../support/locket.js';
import { type RawAnswer, RawGrpc } from '../../support/raw-grpc.js';
import { recordingLogger } from '../../support/recording-logger.js';

/** All of them as upstream's clients send them, byte by byte (docs/protocol/edge.md §6.1). */
describe('LocketServer', () => {
  const log = recordingLogger();
  let identity: TestIdentity;
  let locket: RunningLocket;
  let peer: RawGrpc;

  before(async () => {
    identity = makeIdentity();
    locket = await startLocket({ identity, logger: log.logger });
    peer = new RawGrpc(locket.port, { ca: identity.ca, cert: identity.cert, key: identity.key });
  });

  afterEach(async () => {
    for (const type of ['lock', 'presence'] as const) {
      for (const { key, owner } of await locket.store.list(type)) await locket.store.release(key, owner);
    }
  });

  after(async () => {
    peer.close();
    await locket.stop();
    identity.remove();
  });

  function resource(fields: Partial<WireResource> = {}): WireResource {
    return { key: 'a', owner: 'owner1', value: '', type: 'lock', typeCode: typeCodes.lock, ...fields };
  }

  function lock(fields: Partial<WireResource> = {}, ttlInSeconds = 15n): Promise<RawAnswer> {
    return peer.call('/models.Locket/Lock', lockRequest.encode({ resource: resource(fields), ttlInSeconds }));
  }

  function outcome({ trailers }: RawAnswer): [number, string] {
    return [Number(trailers['grpc-status']), decodeURIComponent(String(trailers['grpc-message'] ?? ''))];
  }

  describe('on the wire', () => {
    it('takes a Lock as bytes of the protocol’s table, answers with an empty message and a token in the trailer', async () => {
      // resource {1: "bbs", 2: "vm-1", 3: "v", 4: "lock", 5: 1}, 2: 15
      const bytes = Buffer.from('0a160a036262731204766d2d311a017622046c6f636b2801100f', 'hex');
      const { headers, trailers, message } = await peer.call('/models.Locket/Lock', bytes, { uuid: 'request-7' });
      expect(headers).to.include({ ':status': 200, 'content-type': 'application/grpc+proto' });
      expect(message).to.deep.equal(Buffer.alloc(0));
      expect(trailers['grpc-status']).to.equal('0');
      expect(trailers['isthmus-fence']).to.match(/^[1-9]\d{15}$/);
      expect(await locket.store.fetch('bbs')).to.deep.equal({ key: 'bbs', owner: 'vm-1', value: 'v', type: 'lock' });
    });

    it('answers FetchAll with resources that carry their type in both forms', async () => {
      await locket.store.acquire({ key: 'cell-1', owner: 'o', value: '{}', type: 'presence' }, 60_000);
      await locket.store.acquire({ key: 'bbs', owner: 'o', value: '', type: 'lock' }, 60_000);
      const { message } = await peer.call('/models.Locket/FetchAll', Buffer.from('1002', 'hex'));
      // resources {1: "cell-1", 2: "o", 3: "{}", 4: "presence", 5: 2}
      expect(message?.toString('hex')).to.equal('0a1b0a0663656c6c2d3112016f1a027b7d220870726573656e63652802');
    });

    it('answers Fetch with the resource, and Release with an empty message', async () => {
      await locket.store.acquire({ key: 'bbs', owner: 'o', value: 'v', type: 'lock' }, 60_000);
      const fetched = await peer.call('/models.Locket/Fetch', Buffer.from('0a03626273', 'hex'));
      expect(fetched.message?.toString('hex')).to.equal('0a130a0362627312016f1a017622046c6f636b2801');
      const released = await peer.call('/models.Locket/Release', Buffer.from('0a080a0362627312016f', 'hex'));
      expect([outcome(released), released.message?.length]).to.deep.equal([[0, 'OK'], 0]);
      expect(await locket.store.fetch('bbs')).to.equal(undefined);
    });

    it('knows requests in its log by the name that the client gave them', async () => {
      let tags: Record<string, unknown> = {};
      const child = log.logger.child;
      log.logger.child = (given) => {
        tags = given;
        return log.logger;
      };
      await peer.call('/models.Locket/Fetch', Buffer.from('0a0161', 'hex'), { uuid: 'request-8' });
      log.logger.child = child;
      expect(tags).to.deep.equal({ request: 'Fetch', request_uuid: 'request-8' });
    });
  });

  describe('answers as upstream does', () => {
    it('to a second owner: lock-collision, for Lock and Release; the first may release twice', async () => {
      expect(outcome(await lock())).to.deep.equal([0, 'OK']);
      expect(outcome(await lock({ owner: 'owner2' }))).to.deep.equal([status.ALREADY_EXISTS, 'lock-collision']);
      const release = (owner: string) =>
        peer.call('/models.Locket/Release', lockRequest.encode({ resource: resource({ owner }), ttlInSeconds: 0n }));
      expect(outcome(await release('owner2'))).to.deep.equal([status.ALREADY_EXISTS, 'lock-collision']);
      expect(outcome(await release('owner1'))).to.deep.equal([0, 'OK']);
      expect(outcome(await release('owner1'))).to.deep.equal([0, 'OK']);
    });

    it('to requests that are wrong, checking type, ttl and owner in this order', async () => {
      const invalid = {
        type: [status.NOT_FOUND, 'invalid-type'],
        ttl: [3, 'invalid-ttl'],
        owner: [3, 'invalid-owner'],
      };
      expect(outcome(await lock({}, 0n))).to.deep.equal(invalid.ttl);
      expect(outcome(await lock({}, -1n))).to.deep.equal(invalid.ttl);
      expect(outcome(await lock({ owner: '' }))).to.deep.equal(invalid.owner);
      expect(outcome(await lock({ owner: '' }, 0n))).to.deep.equal(invalid.ttl);
      expect(outcome(await lock({ owner: '', type: '', typeCode: 0 }, 0n))).to.deep.equal(invalid.type);
      expect(outcome(await lock({ type: 'sandwich', typeCode: 0 }))).to.deep.equal(invalid.type);
      expect(outcome(await lock({ type: 'lock', typeCode: 7 }))).to.deep.equal(invalid.type);
      const all = await peer.call('/models.Locket/FetchAll', fetchAllRequest.encode({ type: '', typeCode: 0 }));
      expect(outcome(all)).to.deep.equal(invalid.type);
    });

    it('to types of all ages: a known code wins, and without one the name counts', async () => {
      expect(outcome(await lock({ key: 'old', type: 'presence', typeCode: 0 }))).to.deep.equal([0, 'OK']);
      expect(outcome(await lock({ key: 'new', type: '', typeCode: 2 }))).to.deep.equal([0, 'OK']);
      expect(outcome(await lock({ key: 'odd', type: 'presence', typeCode: 1 }))).to.deep.equal([0, 'OK']);
      const keys = async (type: 'lock' | 'presence') => (await locket.store.list(type)).map(({ key }) => key).sort();
      expect([await keys('lock'), await keys('presence')]).to.deep.equal([['odd'], ['new', 'old']]);
    });

    it('to a key that nobody has: resource-not-found', async () => {
      const answer = await peer.call('/models.Locket/Fetch', Buffer.from('0a046e6f6e65', 'hex'));
      expect(outcome(answer)).to.deep.equal([status.NOT_FOUND, 'resource-not-found']);
      const impossible = await peer.call('/models.Locket/Fetch', Buffer.from('0a0100', 'hex'));
      expect(outcome(impossible)).to.deep.equal([status.NOT_FOUND, 'resource-not-found']);
    });

    it('to a ttl beyond all numbers of milliseconds', async () => {
      expect(outcome(await lock({}, 2n ** 63n - 1n))).to.deep.equal([0, 'OK']);
      expect((await locket.store.fetch('a'))?.owner).to.equal('owner1');
    });
  });

  describe('survives', () => {
    afterEach(async () => {
      expect(outcome(await lock({ key: 'alive' }))).to.deep.equal([0, 'OK']);
    });

    it('requests without a resource', async () => {
      for (const [method, bytes] of [
        ['Lock', '100f'],
        ['Lock', ''],
        ['Release', ''],
      ] as const) {
        const answer = await peer.call(`/models.Locket/${method}`, Buffer.from(bytes, 'hex'));
        expect(outcome(answer)).to.deep.equal([status.INVALID_ARGUMENT, 'resource: missing']);
      }
    });

    it('texts that no column has room for', async () => {
      for (const [name, limit] of [
        ['key', 255],
        ['owner', 255],
        ['value', 4096],
      ] as const) {
        const expected = [status.INVALID_ARGUMENT, `resource.${name}: longer than ${limit} characters`];
        expect(outcome(await lock({ [name]: 'x'.repeat(limit + 1) }))).to.deep.equal(expected);
        expect(outcome(await lock({ [name]: 'x'.repeat(1024 * 1024) }))).to.deep.equal(expected);
      }
      expect(outcome(await lock({ value: '🚀'.repeat(4096) }))).to.deep.equal([0, 'OK']);
      expect(outcome(await lock({ key: 'a\0b' }))).to.deep.equal([3, 'resource.key: has a NUL character']);
    });

    it('messages larger than gRPC takes', async () => {
      const [code] = outcome(await lock({ value: 'x'.repeat(5 * 1024 * 1024) }));
      expect(code).to.equal(status.RESOURCE_EXHAUSTED);
    });

    it('methods and services that there are not', async () => {
      for (const path of ['/models.Locket/Steal', '/models.Other/Lock', '/']) {
        expect(outcome(await peer.call(path, Buffer.alloc(0)))[0], path).to.equal(status.UNIMPLEMENTED);
      }
    });

    it('bytes that are no message', async () => {
      for (const bytes of ['ff', '0aff', '0a0a0a', '0a050a03ffffff', '0a040a02c328', 'deadbeef'.repeat(64)]) {
        const [code] = outcome(await peer.call('/models.Locket/Lock', Buffer.from(bytes, 'hex')));
        expect(code, bytes).to.equal(status.INTERNAL);
      }
    });

    it('text that is not UTF-8, and says which', async () => {
      const answer = await peer.call('/models.Locket/Lock', Buffer.from('0a080a01611201ff28011001', 'hex'));
      expect(outcome(answer)[0]).to.equal(status.INTERNAL);
      const owner = await peer.call('/models.Locket/Lock', Buffer.from('0a080a01611201ff2801100f', 'hex'));
      expect(outcome(owner)).to.deep.equal([status.INTERNAL, 'the request cannot be read: owner: not UTF-8']);
      expect(await locket.store.fetch('a')).to.equal(undefined);
    });

    it('a peer that speaks neither TLS nor HTTP', async () => {
      const socket = connectTcp(locket.port, '127.0.0.1');
      socket.on('error', () => {});
      const closed = once(socket, 'close');
      socket.write('GET / HTTP/1.0\r\n\r\n');
      await closed;
    });

    it('many calls at a time', async () => {
      const answers = await Promise.all(Array.from({ length: 300 }, (_, index) => lock({ key: `k${index}` })));
      expect(answers.map(outcome)).to.deep.equal(answers.map(() => [0, 'OK']));
    });
  });

  describe('with TLS', () => {
    /** A server of TLS 1.3 looks at the certificate after the client believes to be connected; one that serves greets. */
    async function isServed(options: ConnectionOptions): Promise<boolean> {
      const { ca } = identity;
      const socket = connectTls({ host: '127.0.0.1', port: locket.port, ca, ALPNProtocols: ['h2'], ...options });
      let greeted = false;
      socket.on('error', () => {});
      socket.on('data', () => {
        greeted = true;
        socket.destroy();
      });
      await new Promise((resolve) => socket.once('close', resolve));
      return greeted;
    }

    it('serves nobody without a certificate of its authority', async () => {
      const stranger = makeIdentity();
      try {
        const { cert, key } = identity;
        for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
          expect(await isServed({ maxVersion }), `none, ${maxVersion}`).to.equal(false);
          expect(await isServed({ maxVersion, cert: stranger.cert, key: stranger.key })).to.equal(false);
          expect(await isServed({ maxVersion, cert, key }), `own, ${maxVersion}`).to.equal(true);
        }
      } finally {
        stranger.remove();
      }
    });

    it('speaks only the two suites of TLS 1.2 that all components have', async () => {
      const { cert, key } = identity;
      const speaks = (ciphers: string) => isServed({ maxVersion: 'TLSv1.2', ciphers, cert, key });
      expect(await speaks('ECDHE-RSA-AES256-GCM-SHA384')).to.equal(true);
      expect(await speaks('ECDHE-RSA-AES128-GCM-SHA256')).to.equal(true);
      expect(await speaks('ECDHE-RSA-CHACHA20-POLY1305')).to.equal(false);
      expect(await speaks('AES128-GCM-SHA256')).to.equal(false);
    });
  });

  it('serves only those with one of the names that it was told, where it was told any', async () => {
    const authority = CertificateAuthority.create();
    const { logger, lines } = recordingLogger();
    const as = (options: CertificateOptions) => ({ ca: authority.cert, ...authority.issue(options) });
    const other = await startLocket({
      identity: as({ commonName: 'locket', alternativeNames: 'IP:127.0.0.1' }),
      allowedClients: { organizationalUnits: ['diego'], commonNames: ['cell'] },
      logger,
    });
    const raws: RawGrpc[] = [];
    const ask = async (options: CertificateOptions) => {
      const raw = new RawGrpc(other.port, as(options));
      raws.push(raw);
      return outcome(await raw.call('/models.Locket/FetchAll', Buffer.from('1001', 'hex')));
    };
    try {
      for (const options of [{ commonName: 'cell' }, { organizationalUnits: ['app:1', 'diego'] }]) {
        expect((await ask(options))[0]).to.equal(status.OK);
      }
      expect(await ask({ commonName: 'diego', organizationalUnits: ['cell', 'app:1'] })).to.deep.equal([
        status.PERMISSION_DENIED,
        'this certificate may not ask here',
      ]);
      const refused = lines.filter(({ message }) => message === 'locket.client.not-allowed');
      expect(refused.map(({ data }) => [data.common_names, data.organizational_units])).to.deep.equal([
        [['diego'], ['cell', 'app:1']],
      ]);
    } finally {
      for (const raw of raws) raw.close();
      await other.stop();
      authority.remove();
    }
  });

  it('tells trouble of its store as UNKNOWN with the text, also when that never answers', async () => {
    const hanging = new Promise<never>(() => {});
    const broken: LockStore = Object.assign(Object.create(locket.store) as LockStore, {
      start: async () => {},
      stop: async () => {},
      fetch: () => Promise.reject(new Error('the disk is full')),
      list: () => hanging,
    });
    const other = await startLocket({ identity, store: broken, operationTimeoutMs: 100 });
    const raw = new RawGrpc(other.port, { ca: identity.ca, cert: identity.cert, key: identity.key });
    try {
      const fetched = await raw.call('/models.Locket/Fetch', Buffer.from('0a0161', 'hex'));
      expect(outcome(fetched)).to.deep.equal([status.UNKNOWN, 'the disk is full']);
      const listed = await raw.call('/models.Locket/FetchAll', Buffer.from('1001', 'hex'));
      expect(outcome(listed)).to.deep.equal([status.UNKNOWN, 'no answer within 100 ms']);
    } finally {
      raw.close();
      await other.stop();
    }
  });

  it('ends in order while a client stays connected', async () => {
    const other = await startLocket({ identity });
    await other.client().list('lock');
    const idle = new RawGrpc(other.port, { ca: identity.ca, cert: identity.cert, key: identity.key });
    await idle.call('/models.Locket/FetchAll', Buffer.from('1001', 'hex'));
    await other.stop();
    await eventually(async () => {
      const socket = connectTcp(other.port, '127.0.0.1');
      const [error] = await Promise.race([
        once(socket, 'error'),
        once(socket, 'connect').then(() => [undefined]),
      ]).catch((failure: unknown) => [failure]);
      socket.destroy();
      return error ? true : undefined;
    });
    idle.close();
  });
});
