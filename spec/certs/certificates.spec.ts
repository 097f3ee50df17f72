import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { makeCertificates } from '../../lib/certs/certificates.js';
import { components } from '../../lib/certs/components.js';
import { faultOf } from '../../lib/certs/standing.js';
import { readIdentity, tlsAmongComponents } from '../../lib/http/internal-tls.js';

const names = components.map(({ name }) => name);
const dayMs = 24 * 3600 * 1000;

describe('certificates for development', () => {
  let directory: string;

  const path = (file: string) => join(directory, file);
  const pair = (name: string) => ({
    cert: readFileSync(path(`${name}.crt`), 'utf8'),
    key: readFileSync(path(`${name}.key`), 'utf8'),
  });
  const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' });
  const identity = (name: string) =>
    readIdentity({ caFile: path('ca.crt'), certFile: path(`${name}.crt`), keyFile: path(`${name}.key`) });

  before(async function () {
    this.timeout(60_000);
    directory = mkdtempSync(join(tmpdir(), 'certs-'));
    const made = await makeCertificates({ directory });
    expect(made).to.deep.equal(['ca', ...names].map((name) => ({ name, reason: 'was not there' })));
  });

  after(() => rmSync(directory, { recursive: true }));

  it('are there for every component, with keys that only their owner may read', () => {
    const files = ['ca', ...names].flatMap((name) => [`${name}.crt`, `${name}.key`]);
    expect(readdirSync(directory).sort()).to.deep.equal(files.sort());
    for (const file of files) {
      expect(statSync(path(file)).mode & 0o777, file).to.equal(file.endsWith('.key') ? 0o600 : 0o644);
    }
  });

  it('are of RSA, and openssl takes them for servers and clients', () => {
    for (const name of names) {
      for (const purpose of ['sslserver', 'sslclient']) {
        openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', path('ca.crt'), path(`${name}.crt`));
      }
      const text = openssl('x509', '-noout', '-text', '-in', path(`${name}.crt`));
      expect(text).to.include('Public-Key: (2048 bit)').and.to.include('rsaEncryption');
    }
    openssl('verify', '-x509_strict', '-CAfile', path('ca.crt'), path('ca.crt'));
  });

  it('carry the names that BOSH gives the components, and those of this machine', () => {
    const verify = (name: string, option: string, value: string) =>
      openssl('verify', option, value, '-CAfile', path('ca.crt'), path(`${name}.crt`));
    for (const name of names) {
      verify(name, '-verify_hostname', 'localhost');
      verify(name, '-verify_ip', '127.0.0.1');
      verify(name, '-verify_ip', '::1');
    }
    for (const [name, host] of [
      ['bbs', 'bbs.service.cf.internal'],
      ['bbs', 'database-0.bbs.service.cf.internal'],
      ['locket', 'locket.service.cf.internal'],
      ['auctioneer', 'auctioneer.service.cf.internal'],
      ['cell', 'cell-z1-0.cell.service.cf.internal'],
      ['cc-bridge', 'cc-uploader.service.cf.internal'],
      ['file-server', 'file-server.service.cf.internal'],
      ['metron', 'metron'],
    ] as const) {
      verify(name, '-verify_hostname', host);
    }
    expect(() => verify('bbs', '-verify_hostname', 'locket.service.cf.internal')).to.throw();
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`let two components speak ${version} with each other`, async () => {
      const server = createServer(
        { ...tlsAmongComponents, ...identity('bbs'), requestCert: true },
        (socket: TLSSocket) => {
          socket.end(String(socket.getPeerCertificate().subject.CN));
        },
      );
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const options = { ...tlsAmongComponents, ...identity('cell'), maxVersion: version };
      const socket = connectTls({ ...options, host: '127.0.0.1', port, servername: 'bbs.service.cf.internal' });
      const [data] = (await once(socket, 'data')) as [Buffer];
      expect([data.toString(), socket.authorized, socket.getProtocol()]).to.deep.equal([
        'cell.service.cf.internal',
        true,
        version,
      ]);
      socket.destroy();
      server.close();
      await once(server, 'close');
    });
  }

  it('stay as they are when they are good, but for keys that others may read', async () => {
    const before = pair('bbs');
    execFileSync('chmod', ['644', path('bbs.key')]);
    const made = await makeCertificates({ directory });
    expect(made.filter(({ reason }) => reason !== undefined)).to.deep.equal([]);
    expect(pair('bbs')).to.deep.equal(before);
    expect(statSync(path('bbs.key')).mode & 0o777).to.equal(0o600);
  });

  it('are made anew one by one when they are missing, damaged or mixed up', async () => {
    rmSync(path('bbs.key'));
    writeFileSync(path('cell.crt'), 'no certificate');
    writeFileSync(path('locket.crt'), pair('metron').cert);
    writeFileSync(path('client.crt'), pair('metron').cert);
    writeFileSync(path('client.key'), pair('metron').key);
    writeFileSync(path('metron.crt'), pair('ssh-proxy').cert);
    writeFileSync(path('metron.key'), pair('ssh-proxy').key);
    const made = await makeCertificates({ directory });
    const reasons = Object.fromEntries(
      made.filter(({ reason }) => reason !== undefined).map(({ name, reason }) => [name, reason]),
    );
    expect(reasons.cell).to.match(/^cannot be read/);
    expect({ ...reasons, cell: undefined }).to.deep.equal({
      bbs: 'was not there',
      cell: undefined,
      client: 'is of another component',
      locket: 'the key is not its own',
      metron: 'is not good for metron',
    });
    expect((await makeCertificates({ directory })).every(({ reason }) => reason === undefined)).to.equal(true);
  });

  it('are found to expire a month before they do, and to be of another authority', () => {
    const authority = pair('ca').cert;
    const at = (days: number) => ({ authority, now: new Date(Date.now() + days * dayMs), remainingMs: 30 * dayMs });
    expect(faultOf(pair('bbs'), at(330))).to.equal(undefined);
    expect(faultOf(pair('bbs'), at(340))).to.equal('expires soon');
    expect(faultOf(pair('bbs'), at(366))).to.equal('has expired');
    expect(faultOf(pair('bbs'), at(-1))).to.equal('is not good yet');
    expect(faultOf(pair('bbs'), { ...at(0), authority: pair('cell').cert })).to.equal('is of another authority');
  });

  describe('bin/certs', () => {
    const certs = (...args: string[]) =>
      execFileSync('bin/certs', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

    it('says what it has kept, and makes all anew by force', function () {
      this.timeout(60_000);
      expect(certs(directory)).to.equal(['ca', ...names].map((name) => `${name}: kept\n`).join(''));
      const before = pair('bbs');
      expect(certs('--force', directory)).to.equal(
        ['ca', ...names].map((name) => `${name}: made (asked for)\n`).join(''),
      );
      expect(pair('bbs')).to.not.deep.equal(before);
      openssl('verify', '-CAfile', path('ca.crt'), path('bbs.crt'));
    });

    it('explains itself, and says what it cannot do', () => {
      expect(certs('--help')).to.match(/^Usage: certs \[--force\] DIR\n/);
      for (const args of [[], ['a', 'b'], ['--what'], ['/dev/null/certs']]) {
        expect(() => certs(...args), args.join(' ')).to.throw(/certs: /);
      }
    });
  });
});
