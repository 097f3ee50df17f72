import { expect } from 'chai';
import { CompiledQuery } from 'kysely';
import { type DatabaseOptions, openDatabase } from '../../lib/database/database.js';
import { DatabaseUnreachable } from '../../lib/database/errors.js';
import { type Certificate, CertificateAuthority } from '../support/certificates.js';
import type { DatabaseServer } from '../support/database-server.js';
import { startMariadb } from '../support/mariadb.js';
import { startPostgres } from '../support/postgres.js';

describe('Database over TLS', () => {
  let authority: CertificateAuthority;
  let stranger: CertificateAuthority;
  let certificate: Certificate;

  before(() => {
    authority = CertificateAuthority.create();
    stranger = CertificateAuthority.create();
    // Of another host than the server's.
    certificate = authority.issue({ commonName: 'db.internal', alternativeNames: 'DNS:db.internal' });
  });

  after(() => {
    authority.remove();
    stranger.remove();
  });

  for (const { driver, start, question, parameter } of [
    {
      driver: 'mysql' as const,
      start: startMariadb,
      question: `SELECT variable_value AS cipher FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'`,
      parameter: '&tls=skip-verify',
    },
    {
      driver: 'postgres' as const,
      start: startPostgres,
      question: 'SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
      parameter: '?sslmode=require',
    },
  ]) {
    describe(`with ${driver}`, () => {
      let server: DatabaseServer & { stop(): Promise<void> };
      let connectionString: string;

      before(async () => {
        server = await start({ certificate });
        connectionString = await server.createDatabase();
      });

      after(() => server.stop());

      async function cipher(options: Partial<DatabaseOptions> = {}): Promise<string> {
        const database = await openDatabase({ driver, connectionString, ...options });
        try {
          const { rows } = await database.kysely.executeQuery<{ cipher: string | null }>(CompiledQuery.raw(question));
          return rows[0]?.cipher ?? '';
        } finally {
          await database.stop();
        }
      }
      const failure = (work: Promise<unknown>) => work.catch((error: unknown) => error);

      it('encrypts when a certificate authority is given, and when the connection string asks for it', async () => {
        expect(await cipher()).to.equal('');
        expect(await cipher({ caCertFile: authority.certFile })).to.match(/^TLS_/);
        expect(await cipher({ connectionString: connectionString + parameter })).to.match(/^TLS_/);
      });

      it('trusts nobody whom the authority has not certified', async () => {
        const error = await failure(cipher({ caCertFile: stranger.certFile }));
        expect(error).to.be.instanceOf(DatabaseUnreachable);
        expect((error as Error).message).to.match(/certificate|self-signed|self signed/);
      });

      it('asks for the name of the server when it is to', async () => {
        const named = connectionString.replace('127.0.0.1', 'localhost');
        const options = { caCertFile: authority.certFile, verifiesIdentity: true };
        const error = await failure(cipher({ connectionString: named, ...options }));
        expect(error).to.be.instanceOf(DatabaseUnreachable);
        expect((error as Error).message).to.match(/localhost.*db\.internal/);
        const byAddress = await failure(cipher({ connectionString, ...options }));
        expect((byAddress as Error).message).to.match(/IP: 127\.0\.0\.1 is not|must have a name/);
      });

      it('names the certificate file that is missing', async () => {
        const error = await failure(cipher({ caCertFile: '/nowhere/ca.crt' }));
        expect((error as Error).message).to.match(/^sql_ca_cert_file: .*nowhere/);
      });
    });
  }
});
