import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkConfigFile } from '../../../lib/dea/config-check/config-check.js';
import { freePort } from '../../support/cell.js';
import { type Certificate, CertificateAuthority } from '../../support/certificates.js';
import { type HealthManager, startHealthManager } from '../../support/health-manager.js';
import { refusingUrl } from '../../support/http-server.js';
import { stackRootfs } from '../../support/stack.js';

type File = Record<string, unknown>;

describe('the check of dea.yml', function () {
  this.timeout(30_000);
  let directory: string;
  let listener: Server;
  let takenPort: number;
  let sound: File;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'config-check-'));
    // Stands for all peers that answer, and for a port that is taken.
    listener = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    takenPort = (listener.address() as AddressInfo).port;
    sound = {
      base_dir: join(directory, 'base'),
      pid_filename: join(directory, 'dea.pid'),
      index: 0,
      local_ip: '127.0.0.1',
      nats_servers: [`nats://user:secret@127.0.0.1:${takenPort}`],
      logging: { level: 'info' },
      // Ports that the system chooses cannot be taken.
      directory_server: { v2_port: 0, file_api_port: 0, address: '127.0.0.1' },
      stacks: [{ name: 'bookworm', package_path: stackRootfs() }],
      resources: { memory_mb: 1024, disk_mb: 1024 },
      containers: { engine: 'oci' },
    };
  });

  after(async () => {
    rmSync(directory, { recursive: true });
    await new Promise((resolve) => listener.close(resolve));
  });

  function write(file: File | string): string {
    const path = join(directory, 'dea.yml');
    writeFileSync(path, typeof file === 'string' ? file : JSON.stringify(file));
    return path;
  }

  /** The lines of the report below its first, without their indentation. */
  async function findings(changes: File | string): Promise<string[]> {
    const path = write(typeof changes === 'string' ? changes : { ...sound, ...changes });
    const { text, isFit } = await checkConfigFile(path, { triesEngine: false });
    const [head, ...lines] = text.trimEnd().split('\n');
    const errors = lines.filter((line) => line.startsWith('  error'));
    expect(isFit).to.equal(errors.length === 0);
    const count = errors.length === 1 ? '1 error' : `${errors.length} errors`;
    expect(head).to.equal(`${path}: ${isFit ? 'ok' : count}`);
    return lines.map((line) => line.trim().replace(/ +/g, ' '));
  }

  it('has nothing to say of a file that fits', async () => {
    expect(await findings({})).to.deep.equal([]);
  });

  it('tells all mistakes at once, with the full path of each key', async () => {
    const lines = await findings({
      index: 'x',
      staging: { memory_limit_mb: '1' },
      stacks: [{ name: 3, package_path: '/' }],
      nats_servers: undefined,
    });
    expect(lines).to.deep.equal([
      'error index: Invalid input: expected number, received string',
      'error stacks[0].name: Invalid input: expected string, received number',
      'error staging.memory_limit_mb: Invalid input: expected number, received string',
    ]);
  });

  it('says what a misspelt key may have meant, beside the errors', async () => {
    const { base_dir: _, ...rest } = sound;
    const path = write({ ...rest, base_dri: '/x', staging: { max_stagin_duration: 3 }, zzzzzz: 1 });
    const { text } = await checkConfigFile(path, { triesEngine: false });
    expect(text).to.equal(
      [
        `${path}: 1 error`,
        '  error    base_dir: missing key',
        '  warning  base_dri: unknown key (did you mean base_dir?)',
        '  warning  staging.max_stagin_duration: unknown key (did you mean max_staging_duration?)',
        '  warning  zzzzzz: unknown key',
        '',
      ].join('\n'),
    );
  });

  it('explains files that are no configuration', async () => {
    expect((await findings('a: [1'))[0]).to.match(/^error .*dea\.yml: unexpected end/);
    expect((await findings('- 1'))[0]).to.contain('expected a mapping of keys at the top');
    const { text, isFit } = await checkConfigFile(join(directory, 'none.yml'));
    expect(isFit).to.equal(false);
    expect(text).to.contain('ENOENT');
  });

  it('names ports that are taken, and those that the file gives out twice', async () => {
    const port = await freePort();
    expect(
      await findings({ directory_server: { v2_port: takenPort, file_api_port: port, address: '127.0.0.1' } }),
    ).to.deep.equal([`error directory_server.v2_port: 127.0.0.1:${takenPort} is taken by another program`]);
    expect(
      await findings({ directory_server: { v2_port: port, file_api_port: port, address: '127.0.0.1' } }),
    ).to.deep.equal([`error directory_server.v2_port: ${port} is also directory_server.file_api_port`]);
    expect(await findings({ status: { port: takenPort } })).to.deep.equal([
      `error status.port: 127.0.0.1:${takenPort} is taken by another program`,
    ]);
    expect(await findings({ status: { port }, local_ip: '192.0.2.1' })).to.deep.equal([
      'error status.port: 192.0.2.1 is no address of this machine',
    ]);
  });

  it('tries neither ports nor engine of an agent that runs', async () => {
    const pid_filename = join(directory, 'running.pid');
    writeFileSync(pid_filename, `${process.pid}\n`);
    const lines = await findings({ pid_filename, status: { port: takenPort } });
    expect(lines).to.deep.equal([
      `warning pid_filename: its agent runs (pid=${process.pid}); ports and engine were not tried out`,
    ]);
  });

  it('warns of peers that do not answer, without their passwords', async () => {
    const refusing = new URL(await refusingUrl());
    const lines = await findings({
      nats_servers: [`nats://user:secret@${refusing.host}`],
      cc_url: `http://user:secret@${refusing.host}`,
    });
    expect(lines).to.deep.equal([
      `warning nats_servers[0]: ${refusing.host} does not answer (ECONNREFUSED)`,
      `warning cc_url: ${refusing.host} does not answer (ECONNREFUSED)`,
    ]);
  });

  it('names directories and files that are missing or of no use', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    const empty = join(directory, 'stack');
    mkdirSync(join(empty, 'etc'), { recursive: true });
    mkdirSync(join(empty, 'closed'), { mode: 0o700 });
    const lines = await findings({
      base_dir: join(file, 'base'),
      pid_filename: '/nowhere/dea.pid',
      logging: { level: 'info', file: '/nowhere/dea.log' },
      stacks: [
        { name: 'gone', package_path: '/nowhere/stack' },
        { name: 'empty', package_path: empty },
      ],
      bind_mounts: [{ src_path: '/nowhere/mount' }],
      hooks: { before_start: '/nowhere/hook' },
    });
    expect(lines).to.deep.equal([
      `error base_dir: ${file} is no directory`,
      'error pid_filename: /nowhere is no directory',
      'error logging.file: /nowhere is no directory',
      'error stacks[0].package_path: /nowhere/stack is no directory',
      `error stacks[1].package_path: ${empty}/etc/passwd has no user vcap`,
      'error bind_mounts[0].src_path: /nowhere/mount is not there, so no container can be made',
      'error hooks.before_start: /nowhere/hook is not there',
    ]);
    writeFileSync(join(empty, 'etc/passwd'), 'vcap:x:1000:1000::/home/vcap:/bin/bash\n');
    mkdirSync(join(empty, directory), { recursive: true });
    const shut = join(empty, directory, 'shut');
    mkdirSync(shut, { mode: 0o700 });
    expect(
      await findings({
        base_dir: join(directory, 'shut/base'),
        stacks: [{ name: 'empty', package_path: empty }],
      }),
    ).to.deep.equal([`error base_dir: lies below ${directory}/shut, which apps may not enter`]);
  });

  it('warns of a base directory in memory and of capacity that is not there', async () => {
    const lines = await findings({
      base_dir: '/dev/shm/cell',
      resources: { memory_mb: 100_000_000, disk_mb: 1_000_000_000 },
    });
    expect(lines[0]).to.match(/^warning base_dir: \/dev\/shm is in memory/);
    expect(lines[1]).to.match(/^warning resources\.disk_mb: the file system of base_dir has \d+ MB/);
    expect(lines[2]).to.match(/^warning resources\.memory_mb: this machine has \d+ MB/);
  });

  it('wants an answer of the server that makes containers', async () => {
    const { containers: _, ...rest } = sound;
    const asked = async (changes: File) => {
      const path = write({ ...rest, ...changes });
      return (await checkConfigFile(path)).text
        .split('\n')
        .slice(1, -1)
        .map((line) => line.trim());
    };
    expect(await asked({ warden_socket: '/nowhere/warden.sock' })).to.deep.equal([
      'error    warden_socket: /nowhere/warden.sock is not there',
    ]);
    const { host } = new URL(await refusingUrl());
    expect(await asked({ containers: { engine: 'garden', garden_address: host } })).to.deep.equal([
      `error    containers.garden_address: nobody answers at ${host} (ECONNREFUSED)`,
    ]);
    expect(await asked({ containers: { engine: 'garden', garden_address: `127.0.0.1:${takenPort}` } })).to.deep.equal(
      [],
    );
  });

  describe('of certificates', () => {
    let authority: CertificateAuthority;
    let own: Certificate;
    let healthManager: HealthManager;

    before(async () => {
      authority = CertificateAuthority.create();
      own = authority.issue({ commonName: 'dea-0.example.com', days: 365 });
      healthManager = await startHealthManager(authority);
    });

    after(async () => {
      await healthManager.stop();
      authority.remove();
    });

    const ssl = (changes: File = {}) => ({
      ssl: { port: 0, key_file: own.keyFile, cert_file: own.certFile, ...changes },
      service_name: 'dea-0.example.com',
      cc_url: `http://user:secret@127.0.0.1:${takenPort}`,
    });

    it('takes those that fit', async () => {
      expect(await findings(ssl())).to.deep.equal([]);
    });

    it('names files that are missing or of the wrong kind', async () => {
      expect(await findings(ssl({ cert_file: '/nowhere/cert', ca_file: own.keyFile }))).to.deep.equal([
        'error ssl.cert_file: not found',
        'error ssl.ca_file: is no PEM file of the right kind (no certificate)',
      ]);
      const [line] = await findings(ssl({ key_file: own.certFile }));
      expect(line).to.match(/^error ssl\.key_file: is no PEM file of the right kind/);
    });

    it('sees that a key belongs to another certificate', async () => {
      const other = authority.issue({ days: 365 });
      expect(await findings(ssl({ key_file: other.keyFile }))).to.deep.equal([
        `error ssl.key_file: is not the key of the certificate in ${own.certFile}`,
      ]);
    });

    it('sees that a certificate has expired, or soon will, or is for another name', async () => {
      const expired = authority.issue({ commonName: 'dea-0.example.com', days: -1 });
      const [line] = await findings(ssl({ key_file: expired.keyFile, cert_file: expired.certFile }));
      expect(line).to.match(/^error ssl\.cert_file: has expired on /);
      const soon = authority.issue({ commonName: 'x.example.com', days: 3 });
      const lines = await findings(ssl({ key_file: soon.keyFile, cert_file: soon.certFile }));
      expect(lines[0]).to.match(/^warning ssl\.cert_file: expires on /);
      expect(lines[1]).to.equal(
        `warning service_name: the certificate in ${soon.certFile} is not for dea-0.example.com`,
      );
    });

    it('tries the health manager with them', async () => {
      const [notice, ...more] = await findings({ hm9000: healthManager.config });
      // Those of the specs are made for some days only.
      expect(notice).to.match(/^warning hm9000\.cert_file: expires on /);
      expect(more.filter((line) => line.includes('listener_uri'))).to.deep.equal([]);
      const foreign = CertificateAuthority.create();
      try {
        const lines = await findings({ hm9000: { ...healthManager.config, ca_file: foreign.certFile } });
        expect(lines.at(-1)).to.match(/^warning hm9000\.listener_uri: no TLS connection to 127\.0\.0\.1:\d+ \(/);
      } finally {
        foreign.remove();
      }
    });

    it('says which keys belong together', async () => {
      const { service_name: _name, cc_url: _url, ...alone } = ssl();
      expect(await findings({ ...alone, staging: { enabled: true } })).to.deep.equal([
        'warning cc_url: missing, so stagings come over NATS although ssl is given',
        'warning service_name: missing, so Cloud Controllers are told the address of this machine',
      ]);
      expect(await findings({ service_name: 'x' })).to.deep.equal(['warning service_name: of no use without ssl']);
    });
  });

  describe('by bin/dea', () => {
    const run = (...args: string[]) => spawnSync('bin/dea', args, { encoding: 'utf8' });

    it('makes a real container, and leaves nothing', () => {
      const { status, stdout, stderr } = run(write(sound), '--check');
      expect({ status, stdout, stderr }).to.deep.equal({
        status: 0,
        stdout: `${join(directory, 'dea.yml')}: ok\n`,
        stderr: '',
      });
    });

    it('ends with 1 for errors, and with 0 for warnings', () => {
      expect(run('--check', write({ ...sound, index: 'x' }))).to.include({ status: 1, stderr: '' });
      const warned = run('--check', write({ ...sound, zzzzzz: 1 }));
      expect(warned).to.include({ status: 0 });
      expect(warned.stdout).to.contain('zzzzzz: unknown key');
    });

    it('tells a wrong file from one that cannot be read, as upstream does', () => {
      const wrong = run(write({ ...sound, index: 'x' }));
      expect(wrong.status).to.equal(1);
      expect(wrong.stdout).to.match(/^Validation config failed with error .*index: Invalid input.*\n$/);
      expect(wrong.stderr).to.match(/^Encountered error: .*index: Invalid input/);
      const unreadable = run(write('a: [1'));
      expect(unreadable.status).to.equal(1);
      expect(unreadable.stderr).to.match(/^ERROR: Failed loading config: /);
    });
  });
});
