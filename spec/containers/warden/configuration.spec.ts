import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { load } from 'js-yaml';
import { readWardenConfiguration } from '../../../lib/containers/warden/configuration.js';
import { HealthResponder } from '../../../lib/containers/warden/server/health-responder.js';

describe('the configuration of a Warden server', () => {
  const minimal = { server: { container_rootfs_path: '/rootfs', container_depot_path: '/depot' } };

  it('may be a file as servers of old have it', () => {
    const configuration = readWardenConfiguration(
      load(`
server:
  container_klass: Warden::Container::Linux
  container_grace_time: null
  unix_domain_path: /tmp/w.sock
  unix_domain_permissions: 0777
  container_rootfs_path: /rootfs
  container_depot_path: /depot
  container_rlimits: { core: 0, nofile: 8192 }
  job_output_limit: 1000
  quota: { disk_quota_enabled: false }
  syslog_socket: /run/log
  pidfile: /run/warden.pid
health_check_server: { port: 2346 }
logging: { level: debug2 }
network:
  pool_start_address: 10.254.0.0
  pool_size: 256
  allow_networks: [10.1.0.0/16]
  mtu: 1400
  release_delay: 7
port: { pool_start_port: 62000, pool_size: 65000 }
user: { pool_start_uid: 10000, pool_size: 256 }
`),
    );
    expect(configuration).to.deep.equal({
      server: {
        socketPath: '/tmp/w.sock',
        mode: 0o777,
        defaultRootfs: '/rootfs',
        graceTimeMs: null,
        rlimits: { core: 0, nofile: 8192 },
        jobOutputLimit: 1000,
        diskLimits: null,
        syslogSocket: '/run/log',
        allowNetworks: ['10.1.0.0/16'],
      },
      engine: {
        depotDirectory: '/depot',
        networkPool: '10.254.0.0/22',
        portPool: { start: 62_000, size: 3_536 },
        denyNetworks: ['0.0.0.0/0'],
        allowHostAccess: false,
        dnsServers: [],
        mtu: 1400,
        subnetRestMs: 7_000,
      },
      logging: { level: 'debug2' },
      healthPort: 2346,
      pidFile: '/run/warden.pid',
    });
  });

  it('has defaults for all but two paths', () => {
    const { server, engine, healthPort } = readWardenConfiguration(minimal);
    expect(server).to.include({ socketPath: '/tmp/warden.sock', graceTimeMs: 300_000 });
    expect(engine).to.include({ networkPool: '10.254.0.0/24', subnetRestMs: 5_000 });
    expect(healthPort).to.equal(2345);
  });

  it('is refused with the key that is wrong', () => {
    const wrong: [unknown, string][] = [
      [{}, 'server'],
      [{ server: { ...minimal.server, unix_domain_permissions: 'rw' } }, 'server.unix_domain_permissions'],
      [{ server: { ...minimal.server, container_rlimits: { files: 1 } } }, 'server.container_rlimits'],
      [{ server: { ...minimal.server, container_grace_time: -1 } }, 'server.container_grace_time'],
      [{ ...minimal, port: { pool_size: 999 } }, 'port'],
      [{ ...minimal, network: { pool_start_address: 'x' } }, 'network.pool_start_address'],
      [{ ...minimal, network: { release_delay: -1 } }, 'network.release_delay'],
      [{ server: { ...minimal.server, pidfile: 5 } }, 'server.pidfile'],
    ];
    for (const [value, key] of wrong) expect(() => readWardenConfiguration(value)).to.throw(key);
  });
});

describe('the health port of a Warden server', () => {
  it('answers whatever is said, and lets go of those who say nothing when it stops', async () => {
    const responder = new HealthResponder(0);
    await responder.start();
    const socket = connect(responder.port, '127.0.0.1');
    socket.write('x');
    expect(await text(socket)).to.equal('HTTP/1.1 200 OK\r\n');

    const silent = connect(responder.port, '127.0.0.1');
    silent.on('error', () => {});
    await once(silent, 'connect');
    await responder.stop();
    await once(silent.resume(), 'close');
    await responder.stop();
  });
});
