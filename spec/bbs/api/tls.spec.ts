import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { BbsClient } from '../../../lib/bbs/client/bbs-client.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { bodyOf } from '../../support/http-server.js';

/** docs/protocol/bbs.md §1, TLS */
describe('the API over TLS', () => {
  let authority: CertificateAuthority;
  let strangers: CertificateAuthority;
  let own: Certificate;
  let other: Certificate;
  let stranger: Certificate;
  let expired: Certificate;
  let board: RunningBbs;
  let accessLog: string;

  before(async () => {
    authority = CertificateAuthority.create();
    strangers = CertificateAuthority.create();
    own = authority.issue({ commonName: 'bbs', alternativeNames: 'IP:127.0.0.1' });
    other = authority.issue({ commonName: 'anybody' });
    stranger = strangers.issue();
    expired = authority.issue({ days: -1 });
    const files = { ca_file: authority.certFile, cert_file: own.certFile, key_file: own.keyFile };
    accessLog = join(authority.directory, 'access.log');
    board = await startBbs({ config: { require_ssl: true, ...files, access_log_path: accessLog } });
  });

  after(async () => {
    await board?.stop();
    authority.remove();
    strangers.remove();
  });

  /** With the right certificate, unless a spec says otherwise. */
  const client = (options: ConnectionOptions = {}): ConnectionOptions => ({
    ...{ ca: authority.cert, cert: own.cert, key: own.key },
    ...options,
  });

  /** What is read of the answer to a ping; or the text of the error. */
  async function ping(options: ConnectionOptions): Promise<string> {
    const socket: TLSSocket = connect({ host: '127.0.0.1', port: board.bbs.port, ...options });
    socket.write('POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    try {
      return (await bodyOf(socket)).toString('latin1').split('\r\n')[0]!;
    } catch (error) {
      return (error as Error).message;
    } finally {
      socket.destroy();
    }
  }

  it('answers who has a certificate of the authority, whoever that is', async () => {
    const url = `https://127.0.0.1:${board.bbs.port}`;
    for (const { cert, key } of [own, other]) {
      const bbs = BbsClient.create({ url, tls: { ca: authority.cert, cert, key }, attempts: 1 });
      expect((await bbs.call('Ping')).available).to.equal(true);
      bbs.stop();
    }
  });

  for (const [version, suite] of [
    ['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
    ['TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'],
    ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
  ] as const) {
    it(`speaks ${version} with ${suite}`, async () => {
      const options = client({ minVersion: version, maxVersion: version, ciphers: suite });
      expect(await ping(options)).to.equal('HTTP/1.1 200 OK');
    });
  }

  for (const suite of [
    'ECDHE-RSA-CHACHA20-POLY1305',
    'DHE-RSA-AES256-GCM-SHA384',
    'AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-SHA384',
    'ECDHE-RSA-AES128-SHA',
  ]) {
    it(`refuses TLS 1.2 with ${suite}`, async () => {
      expect(await ping(client({ maxVersion: 'TLSv1.2', ciphers: suite }))).to.match(/alert handshake failure/);
    });
  }

  it('refuses TLS 1.1', async () => {
    // Only so does the client offer it at all.
    const old = client({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    expect(await ping(old)).to.match(/alert protocol version/);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`refuses who has no certificate, or one of another authority, with ${version}`, async () => {
      const range = { minVersion: version, maxVersion: version };
      const nobody = await ping({ ca: authority.cert, ...range });
      expect(nobody).to.match(version === 'TLSv1.3' ? /alert certificate required/ : /alert handshake failure/);
      // These are looked at after the handshake: the connection just ends.
      for (const { cert, key } of [stranger, expired]) {
        expect(await ping(client({ cert, key, ...range }))).to.match(/^$|ECONNRESET/);
      }
    });
  }

  it('writes down who has asked what', async () => {
    const { cert, key } = other;
    const bbs = BbsClient.create({
      ...{ url: `https://127.0.0.1:${board.bbs.port}`, tls: { ca: authority.cert, cert, key }, attempts: 1 },
    });
    await bbs.call('UpsertDomain', { domain: 'd' }, { requestId: 'trace' });
    bbs.stop();
    const line = await eventually(async () => {
      const lines = (await readFile(accessLog, 'utf8')).split('\n').slice(0, -1);
      return lines.map((text) => JSON.parse(text)).find(({ request_id }) => request_id === 'trace');
    });
    expect(line).to.include({ method: 'POST', request: '/v1/domains/upsert', status: 200, peer: 'anybody' });
    expect(line.remote_addr).to.match(/^127\.0\.0\.1:\d+$/);
    expect(line.duration_ms).to.be.a('number');
  });

  it('offers nothing newer than HTTP/1.1', async () => {
    const socket = connect({ host: '127.0.0.1', port: board.bbs.port, ...client(), ALPNProtocols: ['h2', 'http/1.1'] });
    await once(socket, 'secureConnect');
    expect(socket.alpnProtocol).not.to.equal('h2');
    socket.destroy();
  });

  it('tells who speaks plain HTTP that this is the wrong port', async () => {
    const socket = connectTcp(board.bbs.port, '127.0.0.1');
    socket.write('POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n');
    expect((await bodyOf(socket)).toString()).to.equal(
      'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n',
    );
  });

  it('closes the connection of who speaks something else, and goes on', async () => {
    const socket = connectTcp(board.bbs.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(Buffer.alloc(100, 0xff));
    await once(socket, 'close');
    expect(await ping(client())).to.equal('HTTP/1.1 200 OK');
  });
});
