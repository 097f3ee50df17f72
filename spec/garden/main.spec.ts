import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { dump as toYaml } from 'js-yaml';
import { ConfigError, loadConfig } from '../../lib/config/load.js';
import { engineTag } from '../../lib/containers/oci/tag.js';
import { addressesOf, gardenConfigSchema, idMapOf, unusedKeys } from '../../lib/garden/config.js';
import { loadSettings } from '../../lib/garden/settings.js';
import { runCommand } from '../../lib/process/command.js';
import { callGarden, freePort, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { thingsOfEngine } from '../support/leaks.js';
import { rejectionOf } from '../support/rejection.js';
import { builtProgram } from '../support/typescript.js';

describe('bin/garden', function () {
  this.timeout(120_000);
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'garden-config-'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  const loadGardenConfig = (path: string) => loadConfig(path, gardenConfigSchema);
  const configFile = async (config: unknown) => {
    const path = join(directory, 'garden.yml');
    await writeFile(path, typeof config === 'string' ? config : toYaml(config));
    return path;
  };
  const runGarden = async (...args: string[]) => {
    const child = spawn(process.execPath, [...builtProgram('lib/garden/main.ts'), ...args]);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    if (child.exitCode === null) await once(child, 'exit');
    return { status: child.exitCode, stdout, stderr };
  };

  it('checks a configuration, and explains itself', async () => {
    const checked = await runGarden('--check', 'config/garden.yml');
    expect(checked).to.include({ status: 0, stderr: '' });
    expect(checked.stdout).to.match(/^config\/garden\.yml: ok\n/);
    expect((await runGarden('--help')).stdout).to.match(/^Usage: garden <config path>/);
    expect((await runGarden()).status).to.equal(1);
    const { status, stderr } = await runGarden('--check', await configFile({ depot: 5 }));
    expect(status).to.equal(1);
    expect(stderr).to.match(/^ERROR: Failed loading config: .*depot: /);
  });

  it('takes times as seconds or with a unit, and listens where it is told to', async () => {
    const config = loadGardenConfig(
      await configFile({
        default_grace_time: '30m',
        read_header_timeout: '500ms',
        bind_ip: '127.0.0.1',
        bind_port: 7777,
      }),
    );
    expect(config).to.include({ default_grace_time: 1_800_000, read_header_timeout: 500 });
    expect(addressesOf(config)).to.deep.equal([{ kind: 'tcp', host: '127.0.0.1', port: 7777 }]);
    const plain = loadGardenConfig(await configFile({ default_grace_time: 5 }));
    expect(plain.default_grace_time).to.equal(5_000);
    expect(addressesOf(plain)).to.deep.equal([{ kind: 'unix', path: '/tmp/garden.sock', mode: 0o660 }]);
    expect(unusedKeys(plain)).to.deep.equal([]);
    expect(idMapOf(plain)).to.equal(undefined);
    const mapped = loadGardenConfig(await configFile({ uid_map_start: 100_000, gid_map_length: 5 }));
    expect(idMapOf(mapped)).to.deep.equal({
      users: { start: 100_000, length: 4_294_867_294 },
      groups: { start: 1, length: 5 },
    });
  });

  it('names the key of every fault', async () => {
    const faults: Record<string, unknown> = {
      bind_socket: 'relative',
      bind_socket_mode: 777,
      bind_socket_group: 'no such group',
      warden_socket_group: -1,
      read_header_timeout: 'soon',
      depot: '/proc/depot',
      runtime: 'docker',
      spares: -1,
      default_grace_time: '5 minutes',
      destroy_containers_on_startup: 'yes please',
      disable_privileged_containers: 1,
      network_pool: '10.0.0.0',
      deny_networks: ['everything'],
      dns_servers: ['ns.example'],
      external_ip: 'here',
      mtu: 1,
      port_pool_start: 70_000,
      port_pool_size: 65_535,
      max_containers: -1,
      tag: 'ab',
      cpu_quota_per_share: -1,
      tcp_keepalive_time: 40_000,
      tcp_retries2: 256,
      no_new_privs: 'no',
      additional_host_entries: ['10.0.0.1'],
      uid_map_start: 0,
      uid_map_length: -1,
      gid_map_length: 4_294_967_294,
      'logging.level': 'loud',
    };
    for (const [key, value] of Object.entries(faults)) {
      const config = key
        .split('.')
        .reverse()
        .reduce<unknown>((inner, part) => ({ [part]: inner }), value);
      const path = await configFile(config);
      expect(() => loadGardenConfig(path), key).to.throw(new RegExp(`: ${key}(\\[0\\])?: `));
    }
    for (const [key, meant] of [
      ['deny_network', 'deny_networks'],
      ['dns_server', 'dns_servers'],
      ['logging.lvel', 'level'],
    ] as const) {
      const [outer, inner] = key.split('.');
      const path = await configFile({ [outer!]: inner === undefined ? [] : { [inner]: 'info' } });
      expect(() => loadSettings(path)).to.throw(ConfigError, `: ${key}: unknown key (did you mean ${meant}?)`);
    }
    const halves = await configFile({ bind_ip: '127.0.0.1' });
    expect(() => loadGardenConfig(halves)).to.throw('bind_port: missing key');
    const empty = await configFile('- a list');
    expect(() => loadGardenConfig(empty)).to.throw('expected a mapping');
  });

  it('has every key in the file that explains them, and those alone', async () => {
    const text = await readFile('config/garden.yml', 'utf8');
    const named = [...text.matchAll(/^#? ?([a-z][a-z0-9_]+):/gm)].map(([, key]) => key);
    expect(named.sort()).to.deep.equal(Object.keys(gardenConfigSchema.shape).sort());
  });

  it('gives containers the processor time, TCP settings and privileges of the file', async () => {
    const garden = await startGarden({
      cpu_quota_per_share: 50,
      tcp_keepalive_interval: 33,
      tcp_retries2: 7,
      no_new_privs: true,
    });
    try {
      const client = new GardenClient(garden.socket);
      await client.create({ handle: 'c', limits: { cpu_limits: { weight: 100 } } });
      const files = ['tcp_keepalive_intvl', 'tcp_retries2', 'tcp_retries1'].map((name) => `/proc/sys/net/ipv4/${name}`);
      const retries = await readFile('/proc/sys/net/ipv4/tcp_retries1', 'utf8');
      expect(await client.read('c', `cat ${files.join(' ')}`)).to.equal(`33\n7\n${retries}`);
      expect(await client.read('c', 'grep NoNewPrivs /proc/self/status')).to.equal('NoNewPrivs:\t1\n');
      const group = `isthmus-${engineTag(garden.depot)}/c`;
      const [one, two] = [`/sys/fs/cgroup/cpu/${group}/cpu.cfs_quota_us`, `/sys/fs/cgroup/${group}/cpu.max`];
      expect(await readFile(existsSync(one) ? one : two, 'utf8')).to.match(/^5000( 100000)?\n$/);
    } finally {
      await garden.stop();
    }
  });

  it('tells what is wrong with the configuration of a Warden by the key, too', async () => {
    const server = { container_rootfs_path: '/rootfs', container_depot_path: '/depot' };
    const faults: [object, string][] = [
      [{ server: { ...server, unix_domain_permissions: 'rw' } }, 'server.unix_domain_permissions'],
      [{ server, network: { mtu: 1 } }, 'network.mtu'],
      [{ server, logging: { level: 'loud' } }, 'logging.level'],
      [{ server: 5 }, 'server'],
    ];
    for (const [document, key] of faults) {
      const path = await configFile(document);
      expect(() => loadSettings(path), key).to.throw(ConfigError, `${path}: ${key}: `);
    }
    const path = await configFile({ server: { ...server, container_grace_time: null } });
    expect(loadSettings(path)).to.have.nested.property('warden.graceTimeMs', null);
    expect(loadSettings(path)).not.to.have.property('garden');
  });

  it('tells its figures where it is told to, and nothing else there', async () => {
    const port = await freePort();
    const garden = await startGarden({ debug_bind_ip: '127.0.0.1', debug_bind_port: port });
    try {
      await callGarden(garden.socket, 'POST', '/containers', { handle: 'counted' });
      const vars = (await (await fetch(`http://127.0.0.1:${port}/debug/vars`)).json()) as Record<string, number>;
      expect(vars).to.include({ containers: 1, garden_connections: 0, warden_connections: 0 });
      expect(vars.garden_requests).to.be.at.least(2);
      expect(vars.resident_bytes).to.be.above(10_000_000);
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      expect(metrics)
        .to.match(/^isthmus_containers 1\n/)
        .and.to.match(/\nisthmus_loop_delay_p99_seconds [\d.e-]+\n$/);
      expect((await fetch(`http://127.0.0.1:${port}/containers`)).status).to.equal(404);
      expect((await fetch(`http://127.0.0.1:${port}/metrics`, { method: 'DELETE' })).status).to.equal(405);
    } finally {
      await garden.stop();
    }
  });

  it('gives its sockets to the group of the file, by name or number, and to nobody else', async () => {
    const garden = await startGarden({ bind_socket_group: 'daemon', warden_socket_group: 12_345 });
    try {
      await chmod(dirname(garden.socket), 0o711);
      const daemon = Number(/^daemon:[^:]*:(\d+):/m.exec(await readFile('/etc/group', 'utf8'))?.[1]);
      for (const [socket, gid] of [
        [garden.socket, daemon],
        [garden.wardenSocket, 12_345],
      ] as const) {
        const status = await stat(socket);
        expect({ uid: status.uid, gid: status.gid, mode: status.mode & 0o777 }).to.deep.equal({
          uid: 0,
          gid,
          mode: 0o660,
        });
        const asMember = (group: number) =>
          runCommand('setpriv', [
            ...['--reuid', '65534', '--regid', String(group), '--clear-groups'],
            ...['socat', '-u', 'OPEN:/dev/null', `UNIX-CONNECT:${socket}`],
          ]);
        await asMember(gid);
        expect(String(await rejectionOf(asMember(65_534)))).to.include('Permission denied');
      }
    } finally {
      await garden.stop();
    }
  });

  it('destroys what it finds, makes its socket open to all and keeps grace times, when that is configured', async () => {
    const garden = await startGarden({
      destroy_containers_on_startup: true,
      bind_socket_mode: '0777',
      default_grace_time: '45s',
    });
    try {
      expect((await stat(garden.socket)).mode & 0o777).to.equal(0o777);
      await callGarden(garden.socket, 'POST', '/containers', { handle: 'old' });
      const { json } = await callGarden(garden.socket, 'GET', '/containers/old/properties/garden.grace-time');
      expect(json).to.deep.equal({ value: '45000000000' });
      await garden.restart();
      expect((await callGarden(garden.socket, 'GET', '/containers')).text).to.equal('{"Handles":[]}\n');
    } finally {
      await garden.stop();
    }
  });

  it('does not work in the depot of another that runs, and leaves it alone', async () => {
    const garden = await startGarden({ spares: 0 });
    try {
      const client = new GardenClient(garden.socket);
      await client.create({ handle: 'c' });
      const before = thingsOfEngine(garden.depot);
      const socket = join(directory, 'other.sock');
      const other = await configFile({ bind_socket: socket, depot: garden.depot });
      const { status, stderr } = await runGarden(other);
      expect(status).to.equal(1);
      expect(stderr).to.include(`the depot ${garden.depot} is in use by process ${garden.pid}`);
      expect(thingsOfEngine(garden.depot)).to.deep.equal(before);
      expect(await client.read('c', 'echo lives')).to.equal('lives\n');
      // A claim that was left by the dead, or damaged, is none.
      await garden.kill();
      await garden.start();
      await garden.kill();
      await writeFile(join(garden.depot, '@run/@engine'), 'nonsense');
      await garden.start();
      expect(await client.read('c', 'echo lives')).to.equal('lives\n');
    } finally {
      await garden.stop();
    }
  });

  it('does not take the place of another that listens', async () => {
    const garden = await startGarden();
    try {
      const depot = join(directory, 'depot');
      const { status, stderr } = await runGarden(await configFile({ bind_socket: garden.socket, depot }));
      expect(status).to.equal(1);
      expect(stderr).to.include('another server listens there');
      const file = join(directory, 'precious');
      await writeFile(file, 'content');
      for (const [path, reason] of [
        [file, 'exists and is no socket'],
        [join(directory, 'none/garden.sock'), `there is no directory ${join(directory, 'none')}`],
      ] as const) {
        const refused = await runGarden(await configFile({ bind_socket: path, depot }));
        expect(refused.status, path).to.equal(1);
        expect(refused.stderr).to.include(reason);
      }
      expect(await readFile(file, 'utf8')).to.equal('content');
      expect((await callGarden(garden.socket, 'GET', '/ping')).status).to.equal(200);
    } finally {
      await garden.stop();
    }
  });
});
