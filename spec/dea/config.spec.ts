import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { load as parseYaml } from 'js-yaml';
import { ConfigError, ConfigFileError } from '../../lib/config/load.js';
import {
  type DeaConfig,
  defaultHealthCheckTimeout,
  engineKind,
  legacyProtocols,
  loadDeaConfig,
  natsServers,
} from '../../lib/dea/config.js';

const seedPath = 'spec/fixtures/config/seed-dea.yml';

describe('dea.yml', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'dea-config-'));
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  function load(change: (file: Record<string, unknown>) => void): DeaConfig {
    const file = parseYaml(readFileSync('config/dea.yml', 'utf8')) as Record<string, unknown>;
    change(file);
    const path = join(directory, 'dea.yml');
    writeFileSync(path, JSON.stringify(file));
    return loadDeaConfig(path);
  }

  function problems(change: (file: Record<string, unknown>) => void): string[] {
    try {
      load(change);
    } catch (error) {
      expect(error).to.be.instanceOf(ConfigError);
      return (error as ConfigError).problems;
    }
    throw new Error('the file was accepted');
  }

  it('accepts the sample file', () => {
    expect(natsServers(loadDeaConfig('config/dea.yml'))).to.deep.equal(['nats://127.0.0.1:4222']);
  });

  it('accepts a file of 2013 as it stands', () => {
    const config = loadDeaConfig(seedPath);
    expect(natsServers(config)).to.deep.equal(['nats://localhost:4222/']);
    expect(config.stacks.map(({ name }) => name)).to.deep.equal(['lucid64']);
    expect(config.directory_server.protocol).to.equal('http');
    expect(engineKind(config)).to.equal('warden');
  });

  it('speaks every legacy dialect unless told otherwise', () => {
    expect(loadDeaConfig(seedPath).legacy_protocols).to.deep.equal([...legacyProtocols]);
    expect(load((file) => Object.assign(file, { legacy_protocols: ['dea.heartbeat'] })).legacy_protocols).to.deep.equal(
      ['dea.heartbeat'],
    );
  });

  it('fills in the defaults of a section that is given in part', () => {
    const config = load((file) => Object.assign(file, { staging: { enabled: true }, instance: { nproc_limit: 9 } }));
    expect(config.staging).to.include({ cpu_limit_shares: 512, memory_limit_mb: 1024, disk_inode_limit: 200_000 });
    expect(config.instance).to.include({ nproc_limit: 9, memory_to_cpu_share_ratio: 8 });
  });

  it('treats a section without content as absent', () => {
    expect(load((file) => Object.assign(file, { hooks: null })).hooks).to.deep.equal({});
  });

  it('names a missing key with its full path', () => {
    expect(problems((file) => delete file.nats_servers)).to.deep.equal(['nats_servers: missing key']);
    expect(problems((file) => Object.assign(file, { directory_server: { v2_port: 80 } }))).to.deep.equal([
      'directory_server.file_api_port: missing key',
    ]);
  });

  it('names a mistyped key with its full path, also in a list', () => {
    expect(problems((file) => Object.assign(file, { stacks: ['a', { name: 3, package_path: '/x' }] }))).to.deep.equal([
      'stacks[1].name: Invalid input: expected string, received number',
    ]);
  });

  it('reports all faults at once', () => {
    const found = problems((file) => Object.assign(file, { index: 'x', pid_filename: 7 }));
    expect(found.map((line) => line.split(':')[0])).to.have.members(['index', 'pid_filename']);
  });

  it('refuses an interval of zero', () => {
    expect(problems((file) => Object.assign(file, { intervals: { router_register_in_seconds: 0 } }))).to.deep.equal([
      'intervals.router_register_in_seconds: Invalid router register interval',
    ]);
  });

  it('refuses times that no timer can wait for, which would end at once', () => {
    for (const section of [
      { staging: { max_staging_duration: 9_999_999 } },
      { intervals: { heartbeat: 2_147_484 } },
      { intervals: { advertise: 1e10 } },
      { intervals: { router_register_in_seconds: 1e10 } },
      { instance: { health_check_interval_secs: 1e10 } },
    ]) {
      const [[name, keys]] = Object.entries(section) as [[string, object]];
      expect(problems((file) => Object.assign(file, section))).to.deep.equal([
        `${name}.${Object.keys(keys)[0]}: Too big: expected number to be <=2147483`,
      ]);
    }
  });

  it('says which certificate files are missing', () => {
    const ssl = { port: 8443, key_file: '/nowhere/key', cert_file: '/nowhere/cert' };
    expect(problems((file) => Object.assign(file, { ssl }))).to.deep.equal([
      'Invalid SSL Certs: One or more files not found: /nowhere/key, /nowhere/cert',
    ]);
  });

  it('wants a health manager over HTTPS when heartbeats over NATS are off', () => {
    expect(problems((file) => Object.assign(file, { legacy_protocols: 'none' }))).to.deep.equal([
      'hm9000: missing key',
    ]);
  });

  it('takes the sections of older files that have no meaning any more', () => {
    const config = load((file) =>
      Object.assign(file, {
        hm9000: { uri: 'https://hm9000.example.com' },
        only_production_apps: true,
        runtimes: ['ruby19'],
        instance: { cpu_limit_shares: 256 },
        staging: { platform_config: { cache: '/x' }, environment: { PATH: '/bin' } },
      }),
    );
    expect(config.hm9000).to.equal(undefined);
  });

  it('wants whole URLs of HM9000 and the Cloud Controller', () => {
    const hm9000 = { listener_uri: 'hm9000:5335', key_file: '/k', cert_file: '/c', ca_file: '/a' };
    expect(problems((file) => Object.assign(file, { cc_url: 'api.example.com', hm9000 }))).to.have.members([
      'cc_url: must be an http or https URL',
      'hm9000.listener_uri: must be an http or https URL',
    ]);
  });

  it('takes the longest wait of old files as the default health check timeout', () => {
    const config = load((file) => {
      delete file.default_health_check_timeout;
      file.maximum_health_check_timeout = 180;
    });
    expect(defaultHealthCheckTimeout(config)).to.equal(180);
  });

  it('wants networks with their prefix, denied and allowed ones alike', () => {
    for (const key of ['deny_networks', 'allow_networks']) {
      expect(
        problems((file) => Object.assign(file, { containers: { [key]: ['10.0.0.0/8', '10.0.0.1'] } })),
      ).to.deep.equal([`containers.${key}[1]: must be an IPv4 network such as 10.254.0.0/22`]);
    }
  });

  it('wants host and port of the loggregator router', () => {
    const router = (text: string) => (file: Record<string, unknown>) =>
      Object.assign(file, { loggregator: { router: text } });
    expect(problems(router('127.0.0.1'))).to.deep.equal(['loggregator.router: must be host:port']);
    expect(load(router('127.0.0.1:3457')).loggregator).to.deep.equal({
      router: { host: '127.0.0.1', port: 3457 },
      emit_app_output: true,
    });
  });

  it('refuses what is no mapping, and a file that is not there', () => {
    const path = join(directory, 'list.yml');
    writeFileSync(path, '- 1\n');
    expect(() => loadDeaConfig(path)).to.throw(ConfigFileError, 'expected a mapping');
    expect(() => loadDeaConfig(join(directory, 'none.yml'))).to.throw(ConfigFileError, 'ENOENT');
  });
});
