import { expect } from 'chai';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, RawConnection, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';
import { expectNoContainerLeft } from '../support/leaks.js';

const most = { uint8: 255, uint16: 65_535, uint32: 4_294_967_295 };
const long = (length: number) => 'x'.repeat(length);
const deep = (depth: number) => `${'{"limits":'.repeat(depth)}1${'}'.repeat(depth)}`;

/** A member of a body, with a value that has the right type and cannot be. */
type Fault = [member: string, value: unknown];

const containerFaults: Fault[] = [
  ...['a/b', '../up', '.', '..', '@run', 'a b', 'a\nb', 'a\0b', 'ü', '$(id)', long(201), long(1_000_000)].map(
    (handle): Fault => ['handle', handle],
  ),
  ['grace_time', -1],
  ['rootfs', '/no/such/directory'],
  ['rootfs', 'relative'],
  ['rootfs', '/dev/null'],
  ['rootfs', `/${long(5_000)}`],
  ['rootfs', '/a\0b'],
  ['image', { uri: 'ftp://host/image' }],
  ['image', { uri: 'oci:///no/such/layout:tag' }],
  ['image', { uri: 'docker://127.0.0.1:1/no/such#tag' }],
  ['image', { uri: 'docker:///UPPER CASE' }],
  ['image', { uri: 'preloaded+layer:/no/such?layer=file:///etc/passwd&layer_path=/&layer_digest=00' }],
  ['image', { uri: long(1_000_000) }],
  ['bind_mounts', [{ src_path: '/no/such', dst_path: '/x' }]],
  ['bind_mounts', [{ src_path: 'relative', dst_path: '/x' }]],
  ['bind_mounts', [{ src_path: '/etc/hostname', dst_path: 'relative' }]],
  ['bind_mounts', [{ src_path: '/etc/hostname', dst_path: '' }]],
  ['bind_mounts', [{}]],
  ['bind_mounts', [{ src_path: '/etc\0', dst_path: '/x' }]],
  ...['nonsense', '10.0.0.0/33', '999.1.1.1', '0.0.0.0/0', '::1/64', '10.1.2.5/-1', long(100_000)].map(
    (network): Fault => ['network', network],
  ),
  ['env', ['NO_EQUALS']],
  ['env', ['=x']],
  ['env', ['']],
  ['env', ['A=b\0c']],
  ['limits', { disk_limits: { byte_hard: 1 } }],
  ['limits', { memory_limits: { limit_in_bytes: Number.MAX_SAFE_INTEGER + 1 } }],
  ['limits', { memory_limits: { limit_in_bytes: 1 } }],
  ['limits', { cpu_limits: { weight: 1 } }],
  ['limits', { cpu_limits: { weight: 262_145 } }],
  ['limits', { disk_limits: { byte_hard: Number.MAX_SAFE_INTEGER + 1 } }],
  ['limits', { pid_limits: { max: Number.MAX_SAFE_INTEGER + 1 } }],
  ['netin', [{ host_port: 65_536 }]],
  ['netin', [{ host_port: most.uint32, container_port: 1 }]],
  ['netin', [{ container_port: 70_000 }]],
  ['netout_rules', [{ protocol: 9 }]],
  ['netout_rules', [{ protocol: 4 }]],
  ['netout_rules', [{ protocol: 0, ports: [{ start: 1, end: 2 }] }]],
  ['netout_rules', [{ protocol: 1, ports: [{ start: 2, end: 1 }] }]],
  ['netout_rules', [{ protocol: 1, networks: [{ start: 'here' }] }]],
  ['netout_rules', [{ protocol: 1, networks: [{ start: '1.2.3.4;reboot' }] }]],
];

const processFaults: Fault[] = [
  ...['a/b', '..', 'a b', 'a\0b', long(129), long(1_000_000)].map((id): Fault => ['id', id]),
  ['path', ''],
  ['path', 'a\0b'],
  ['path', '/etc'],
  ['path', '/etc/passwd'],
  ['path', `/${long(10_000)}`],
  ['args', ['a\0b']],
  ['env', ['NO_EQUALS']],
  ['env', ['A=b\0']],
  ['dir', 'relative'],
  ['dir', '/etc/passwd'],
  ['dir', '/a\0b'],
  ['dir', `/${long(10_000)}`],
  ...['nobody-here', '-1', '4294967296', 'root:nogroup-here', ':', 'a\nb', 'root\0', long(100_000)].map(
    (user): Fault => ['user', user],
  ),
  ['rlimits', { nofile: Number.MAX_SAFE_INTEGER + 1 }],
  ['rlimits', { nofile: 1e12 }],
  ['tty', { window_size: { columns: -1, rows: 5 } }],
  ['tty', { window_size: { columns: 70_000, rows: 5 } }],
  ['image', { uri: '/no/such' }],
  ['image', { uri: long(100_000) }],
  ['bind_mounts', [{ src_path: '/etc', dst_path: '/x' }]],
];

describe('bodies that bin/garden cannot make anything of', function () {
  this.timeout(180_000);
  let garden: GardenProcess;
  let client: GardenClient;

  before(async () => {
    garden = await startGarden({ spares: 0 });
    client = new GardenClient(garden.socket);
  });

  after(() => garden.stop());

  afterEach(() => client.destroyAll());

  const named = ([member, value]: Fault) => `${member}: ${JSON.stringify(value).slice(0, 80)}`;
  /** Those faults for which there was no error that can be understood. */
  const acceptedOf = async (path: string, body: object, faults: Fault[]) => {
    const accepted: string[] = [];
    for (const fault of faults) {
      const [member, value] = fault;
      await expectRefused(path, { ...body, [member]: value }, named(fault)).catch((error: Error) => {
        accepted.push(error.message);
      });
    }
    return accepted;
  };
  /** Over a bare connection: an acceptance of Run is no HTTP. */
  const expectRefused = async (path: string, body: unknown, name: string) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const connection = await RawConnection.open(garden.socket);
    try {
      const length = `Content-Length: ${Buffer.byteLength(text)}`;
      connection.send(`POST ${path} HTTP/1.1\r\nHost: api\r\n${length}\r\n\r\n${text}`);
      await connection.until(({ rest }) => rest.endsWith('}\n'), 30_000);
      expect(connection.head, name).to.match(/^HTTP\/1\.1 [45]\d\d /);
      const answer = JSON.parse(connection.rest);
      expect(answer, name).to.have.all.keys('Type', 'Message', 'Handle', 'ProcessID', 'Binary');
      expect(answer.Message, name).to.match(/\S/);
      expect(answer.Message.length, name).to.be.below(5_000);
    } finally {
      connection.close();
    }
  };

  it('make no container, and leave nothing of one, whatever their fault', async () => {
    const accepted = await acceptedOf('/containers', {}, containerFaults);
    expect(accepted).to.deep.equal([]);
    expect(await client.handles()).to.deep.equal([]);
    await expectNoContainerLeft(garden.depot, 20_000);
    expect(await client.create({ handle: 'fine' })).to.equal('fine');
    await client.destroyAll();
  });

  it('start no process, and leave nothing of one, whatever their fault', async () => {
    await client.create({ handle: 'c' });
    const accepted = await acceptedOf('/containers/c/processes', { path: 'true' }, processFaults);
    expect(accepted).to.deep.equal([]);
    expect(await client.info('c')).to.have.property('ProcessIDs', null);
    // What was begun for a refused one may be on its way out.
    await eventually(async () => {
      expect((await client.exec('c', 'ls -d /proc/[0-9]* | wc -l')).stdout).to.equal('4\n');
      return true;
    });
    await client.destroyAll();
  });

  it('end a process at its start when its arguments are more than the kernel takes', async () => {
    await client.create({ handle: 'c' });
    for (const spec of [
      { args: [long(200_000)] },
      { env: [`A=${long(200_000)}`] },
      { args: Array.from({ length: 100_000 }, () => 'argument of some length') },
    ]) {
      const { status, stderr } = await client.exec('c', { path: 'true', ...spec });
      expect(status).to.equal(1);
      expect(stderr).to.match(/argument list too long/i);
    }
  });

  it('are refused when they are too many, too deep or too large, and the next one is answered', async () => {
    const many = <Item>(item: Item) => Array.from({ length: 100_000 }, () => item);
    const large: [string, unknown][] = [
      ['/containers', deep(20_000)],
      ['/containers', { env: many('NO') }],
      ['/containers', { bind_mounts: many({ src_path: '/no', dst_path: '/x' }) }],
      ['/containers', { netout_rules: many({ protocol: 1, networks: [{ start: '1.1.1.1' }] }) }],
      ['/containers', { netin: many({}) }],
      ['/containers', `{"handle":"${long(17 * 1024 * 1024)}"}`],
    ];
    await client.create({ handle: 'c' });
    for (const [path, body] of large) {
      const name = `${path} ${typeof body === 'string' ? body.slice(0, 20) : Object.keys(body as object)}`;
      await expectRefused(path, body, name);
      expect((await client.call('GET', '/ping')).text, name).to.equal('{}\n');
    }
    await client.destroyAll();
    await expectNoContainerLeft(garden.depot, 20_000);
  });
});
