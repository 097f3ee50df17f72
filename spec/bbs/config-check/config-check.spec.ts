import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkConfigFile } from '../../../lib/bbs/config-check/config-check.js';
import { type RunningBbs, startBbs } from '../../support/bbs.js';
import { BbsProgram } from '../../support/bbs-program.js';
import { boardDatabases } from '../../support/board-databases.js';
import { sampleDesiredLrp } from '../../support/board-load.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { takePorts } from '../../support/host-share.js';
import { bodyOf, startHttpServer } from '../../support/http-server.js';
import { makeIdentity, startLocket } from '../../support/locket.js';

type Keys = Record<string, unknown>;

describe('the check of bbs.yml', function () {
  this.timeout(30_000);
  let directory: string;
  let authority: CertificateAuthority;
  let own: Certificate;
  let auctioneer: Awaited<ReturnType<typeof startHttpServer>>;
  let sound: Keys;

  before(async () => {
    authority = CertificateAuthority.create();
    own = authority.issue({ commonName: 'bbs', alternativeNames: 'IP:127.0.0.1', days: 90 });
    auctioneer = await startHttpServer(async (request, response) => {
      await bodyOf(request);
      response.end();
    });
  });

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bbs-check-'));
    sound = {
      uuid: 'board-1',
      // Ports that the system chooses cannot be taken.
      listen_address: '127.0.0.1:0',
      health_address: '127.0.0.1:0',
      ca_file: authority.certFile,
      cert_file: own.certFile,
      key_file: own.keyFile,
      active_key_label: 'key-1',
      encryption_keys: { 'key-1': 'a passphrase' },
      auctioneer_address: auctioneer.url,
      ...(await boardDatabases.SQLite(directory)),
    };
  });

  afterEach(() => rm(directory, { recursive: true }));

  after(async () => {
    authority.remove();
    await auctioneer?.stop();
  });

  async function write(file: Keys | string): Promise<string> {
    const path = join(directory, 'bbs.yml');
    await writeFile(path, typeof file === 'string' ? file : JSON.stringify({ ...sound, ...file }));
    return path;
  }

  /** The lines of the report, without those that only say what is well. */
  async function faults(changes: Keys | string): Promise<string[]> {
    const path = await write(changes);
    const { text, isFit } = await checkConfigFile(path);
    const lines = text.split('\n').slice(1);
    expect(isFit).to.equal(!lines.some((line) => line.startsWith('  error')), text);
    expect(text.startsWith(`${path}: ${isFit ? 'ok' : ''}`), text).to.equal(true);
    return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('note'));
  }

  /** Of a board that has run on the database, and is stopped. */
  async function used(database: Awaited<ReturnType<(typeof boardDatabases)['SQLite']>>): Promise<void> {
    const board = await startBbs({ database });
    await board.client.call('DesireDesiredLRP', { desiredLrp: sampleDesiredLrp('p') });
    await board.stop();
  }

  it('finds nothing wrong with a good one, and makes no file', async () => {
    const { text, isFit } = await checkConfigFile(await write({}));
    const file = join(directory, 'bbs.db');
    expect(text).to.equal(
      `${join(directory, 'bbs.yml')}: ok\n` +
        `  note     database_connection_string: ${file} is not there yet: it will be made\n`,
    );
    expect([isFit, existsSync(file)]).to.deep.equal([true, false]);
  });

  it('is what the program does with --check, with its status', async () => {
    const run = async (changes: Keys) =>
      execFileSync('bin/bbs', [await write(changes), '--check'], { encoding: 'utf8', stdio: 'pipe' });
    expect(await run({})).to.match(/bbs\.yml: ok\n/);
    let failure: { status?: number; stdout?: string } = {};
    try {
      await run({ cert_file: '/nowhere' });
    } catch (cause) {
      failure = cause as typeof failure;
    }
    expect(failure.status).to.equal(1);
    expect(failure.stdout).to.include('  error    cert_file: not found\n');
  });

  it('names every mistake of the file at once, and keys that may be misspelt', async () => {
    expect(await faults({ uuid: '', lock_ttl: 'soon', convergence_worker: 3 })).to.have.members([
      'error    uuid: Too small: expected string to have >=1 characters',
      'error    lock_ttl: expected seconds, or a duration such as 30s or 2m',
      'warning  convergence_worker: unknown key (did you mean convergence_workers?)',
    ]);
    expect((await faults('no: [yaml'))[0]).to.match(/^error {4}.*bbs\.yml: /);
  });

  it('knows the keys of upstream’s file that mean nothing here', async () => {
    const { text } = await checkConfigFile(
      await write({ update_workers: 1000, loggregator: { loggregator_use_v2_api: true } }),
    );
    expect(text).to.include('  note     update_workers: of no effect here\n').and.not.to.include('unknown key');
  });

  it('says which certificates are of no use', async () => {
    const [expired, other, soon] = [authority.issue({ days: -1 }), authority.issue(), authority.issue({ days: 5 })];
    const elliptic = join(directory, 'elliptic');
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=x'],
        ...['-days', '90', '-keyout', `${elliptic}.key`, '-out', `${elliptic}.crt`],
      ],
      { stdio: 'ignore' },
    );
    const rep = (cert: string, key: string) => ({
      rep_ca_cert: authority.certFile,
      rep_client_cert: cert,
      rep_client_key: key,
    });
    const all = async (changes: Keys) => (await faults(changes)).join('\n');
    expect(await all({ key_file: other.keyFile })).to.include(
      `error    key_file: is not the key of the certificate in ${own.certFile}`,
    );
    expect(await all(rep(expired.certFile, expired.keyFile))).to.match(/^error {4}rep_client_cert: has expired on /m);
    expect(await all(rep(soon.certFile, soon.keyFile))).to.match(/^warning {2}rep_client_cert: expires on /m);
    expect(await all({ ca_file: own.keyFile })).to.match(/^error {4}ca_file: is no PEM file of the right kind/m);
    expect(await all({ cert_file: `${elliptic}.crt`, key_file: `${elliptic}.key` })).to.equal(
      'error    cert_file: has a key of the kind ec; it must be rsa',
    );
    expect(await all({ sql_ca_cert_file: '/nowhere' })).to.equal('error    sql_ca_cert_file: not found');
  });

  for (const [name, create] of Object.entries(boardDatabases)) {
    it(`tells of the database what it is, and whether the keys are its own, on ${name}`, async () => {
      const database = await create(directory);
      const report = async (changes: Keys = {}) =>
        (await checkConfigFile(await write({ ...database, ...changes }))).text;
      if (name !== 'SQLite') expect(await report()).to.include(', without tables: they will be made');
      await used(database);
      expect(await report()).to.match(
        /^ {2}note {5}database_connection_string: (?:sqlite3 3\.|mysql \d+\.\d+.*MariaDB|postgres \d+\.).*, with tables of version 1772581987$/m,
      );
      expect(await faults({ ...database })).to.deep.equal([]);
      const keys = { 'key-1': 'a passphrase', 'key-2': 'another one' };
      expect(await faults({ ...database, active_key_label: 'key-2', encryption_keys: keys })).to.deep.equal([
        'warning  active_key_label: rows have the key key-1; the next start encrypts them anew',
      ]);
      const [wrongPassphrase] = await faults({ ...database, encryption_keys: { 'key-1': 'a wrong one' } });
      expect(wrongPassphrase).to.match(/^error {4}encryption_keys: no row of the database can be read: /);
      const wrongLabel = { active_key_label: 'key-9', encryption_keys: { 'key-9': 'a passphrase' } };
      expect(await faults({ ...database, ...wrongLabel })).to.deep.equal([
        'error    database_connection_string: Existing encryption key version (key-1) is not among the known keys',
      ]);
    });
  }

  it('says that the database is away, or is no database, without its password', async () => {
    const { start: port } = takePorts(1);
    const of = (driver: string, text: string) =>
      faults({ database_driver: driver, database_connection_string: text }).then((lines) => lines.join('\n'));
    expect(await of('mysql', `board:secret@tcp(127.0.0.1:${port})/board`)).to.equal(
      `error    database_connection_string: no connection to the database: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
    const postgres = await of('postgres', `postgres://board:secret@127.0.0.1:${port}/board`);
    expect(postgres).to.include('ECONNREFUSED').and.not.to.include('secret');
    expect(await of('sqlite3', '/nowhere/bbs.db')).to.equal(
      'error    database_connection_string: /nowhere/bbs.db cannot be made in its directory (ENOENT)',
    );
    const text = join(directory, 'text');
    await writeFile(text, 'this is no database, and long enough to be looked at. '.repeat(20));
    expect(await of('sqlite3', text)).to.equal(`error    database_connection_string: ${text}: file is not a database`);
  });

  it('says which ports are taken or given twice, and which files cannot be written', async () => {
    const taken = new URL(auctioneer.url).host;
    const { start: port } = takePorts(1);
    expect(
      await faults({
        listen_address: taken,
        health_address: `127.0.0.1:${port}`,
        embedded_locket_address: `0.0.0.0:${port}`,
        access_log_path: '/nowhere/access.log',
      }),
    ).to.deep.equal([
      'error    access_log_path: /nowhere/access.log cannot be written to (ENOENT)',
      `error    listen_address: ${taken} is taken by another program`,
      `error    embedded_locket_address: ${port} is also health_address`,
    ]);
    expect(await faults({ listen_address: '192.0.2.1:8889' })).to.deep.equal([
      'error    listen_address: 192.0.2.1 is no address of this machine',
    ]);
  });

  it('leaves the ports of a board that runs alone', async () => {
    const program = await BbsProgram.create({ directory, config: await boardDatabases.SQLite(directory) });
    await program.start();
    try {
      const { text, isFit } = await checkConfigFile(program.configPath);
      expect(isFit, text).to.equal(true);
      expect(text).to.include('  warning  health_address: a board answers there; ports were not tried out\n');
      expect((await program.client.call('Ping')).available).to.equal(true);
    } finally {
      await program.dispose();
    }
  });

  it('says which peers do not answer, and who has the lock', async () => {
    const { start: port } = takePorts(1);
    const identity = makeIdentity();
    const locket = await startLocket({ identity });
    const { caFile, certFile, keyFile } = identity.files;
    const files = { locket_ca_cert_file: caFile, locket_client_cert_file: certFile, locket_client_key_file: keyFile };
    let board: RunningBbs | undefined;
    try {
      const away = { ...files, locket_address: `127.0.0.1:${port}`, auctioneer_address: `http://127.0.0.1:${port}` };
      const [auctions, locks] = await faults(away);
      expect(auctions).to.equal(`warning  auctioneer_address: 127.0.0.1:${port} does not answer (ECONNREFUSED)`);
      expect(locks).to.match(/^warning {2}locket_address: Locket: .*; without it the board stays passive$/);
      const there = { ...files, locket_address: `127.0.0.1:${locket.port}` };
      const report = async () => (await checkConfigFile(await write(there))).text;
      expect(await report()).to.include('  note     locket_address: answers; nobody has the lock\n');
      board = await startBbs({ config: { ...there, uuid: 'somebody' } });
      expect(await report()).to.include('  note     locket_address: answers; somebody has the lock\n');
    } finally {
      await board?.stop();
      await locket.stop();
      identity.remove();
    }
  });
});
