import { once } from 'node:events';
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { completeBbsConfig, type RunningBbs, startBbs } from '../../support/bbs.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { bodyOf } from '../../support/http-server.js';
import { type RecordedLine, recordingLogger } from '../../support/recording-logger.js';

/** docs/protocol/bbs.md §24: an allow-list by names in certificates */
describe('a board that not everybody may ask', () => {
  let authority: CertificateAuthority;
  let board: RunningBbs;
  let lines: RecordedLine[];
  let own: Certificate;

  before(async () => {
    authority = CertificateAuthority.create();
    own = authority.issue({ commonName: 'bbs', alternativeNames: 'IP:127.0.0.1' });
    const recorded = recordingLogger();
    lines = recorded.lines;
    board = await startBbs({
      logger: recorded.logger,
      config: {
        ...{ require_ssl: true, ca_file: authority.certFile, cert_file: own.certFile, key_file: own.keyFile },
        allowed_clients: { organizational_units: ['diego'], common_names: ['rep'] },
      },
    });
  });

  after(async () => {
    await board?.stop();
    authority.remove();
  });

  async function open({ cert, key }: Certificate, version: SecureVersion, session?: Buffer): Promise<TLSSocket> {
    const socket = connect({
      ...{ host: '127.0.0.1', port: board.bbs.port, ca: authority.cert, cert, key },
      ...{ minVersion: version, maxVersion: version, ...(session && { session }) },
    });
    await once(socket, 'secureConnect');
    return socket;
  }

  /** The beginning of the answer; the connection stays. */
  async function ask(socket: TLSSocket, path: string): Promise<string> {
    socket.write(`POST ${path} HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\n\r\n`);
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    return chunk.toString('latin1');
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`answers who has one of the names, also when a session is resumed, with ${version}`, async () => {
      const allowed = [
        authority.issue({ commonName: 'rep' }),
        authority.issue({ commonName: 'x', organizationalUnits: ['diego'] }),
        authority.issue({ commonName: 'y', organizationalUnits: ['app:guid', 'diego'] }),
      ];
      for (const certificate of allowed) {
        const first = await open(certificate, version);
        let session: Buffer | undefined = first.getSession();
        first.on('session', (newer: Buffer) => {
          session = newer;
        });
        expect(await ask(first, '/v1/ping')).to.match(/^HTTP\/1\.1 200 /);
        first.destroy();
        const second = await open(certificate, version, session);
        expect(second.isSessionReused()).to.equal(true);
        expect(await ask(second, '/v1/ping')).to.match(/^HTTP\/1\.1 200 /);
        second.destroy();
      }
    });

    it(`refuses who has none of them, on every path, whatever the session, with ${version}`, async () => {
      const refused = [
        authority.issue({ commonName: 'diego' }),
        authority.issue({ commonName: 'x', organizationalUnits: ['rep', 'Diego', 'diego2'] }),
        own,
      ];
      for (const certificate of refused) {
        const first = await open(certificate, version);
        let session: Buffer | undefined = first.getSession();
        first.on('session', (newer: Buffer) => {
          session = newer;
        });
        for (const path of ['/v1/ping', '/v1/events/lrp_instances.r1', '/v1/domains/list', '/nowhere']) {
          expect(await ask(first, path), path).to.match(/^HTTP\/1\.1 403 Forbidden\r\n/);
        }
        first.destroy();
        const second = await open(certificate, version, session);
        expect(await ask(second, '/v1/ping')).to.match(/^HTTP\/1\.1 403 /);
        second.destroy();
      }
    });
  }

  it('says in a line for each connection who that was', async () => {
    lines.length = 0;
    const socket = await open(
      authority.issue({ commonName: 'app', organizationalUnits: ['app:1', 'space:2'] }),
      'TLSv1.3',
    );
    await ask(socket, '/v1/ping');
    socket.write('POST /v1/ping HTTP/1.1\r\nHost: bbs\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    await bodyOf(socket);
    const refused = lines.filter(({ message }) => message === 'bbs.client.not-allowed');
    expect(refused.map(({ level, data }) => [level, data])).to.deep.equal([
      ['warn', { remote_address: '127.0.0.1', common_names: ['app'], organizational_units: ['app:1', 'space:2'] }],
    ]);
  });

  it('needs TLS, and somebody whom it allows', () => {
    const database = { database_driver: 'sqlite3', database_connection_string: 'bbs.db' };
    const files = { ca_file: 'ca', cert_file: 'cert', key_file: 'key' };
    const units = { organizational_units: ['diego'] };
    const faults = {
      'allowed_clients: needs require_ssl': { allowed_clients: units },
      'allowed_clients: nobody could ask': { ...files, require_ssl: true, allowed_clients: {} },
    };
    for (const [fault, keys] of Object.entries(faults)) {
      expect(() => completeBbsConfig({ ...database, ...keys })).to.throw(fault);
    }
  });
});
