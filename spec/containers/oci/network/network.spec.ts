import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ExhaustedError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import { createNetwork, type NetworkOptions } from '../../../../lib/containers/oci/network/network.js';
import type { Network, NetworkLease } from '../../../../lib/containers/oci/ports.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { CommandError, runCommand } from '../../../../lib/process/command.js';
import { eventually } from '../../../support/eventually.js';

/** What a client in a namespace sees: the server's greeting, or why there is none. */
type Answer = string;

describe('the network of containers', () => {
  const mark = process.pid.toString(16).padStart(4, '0').slice(-3);
  const ports = { start: 20_000 + (process.pid % 300) * 40, size: 30 };
  const pool = `10.253.${process.pid % 256}.0/26`;
  const outsideLink = `isth-out-${mark}`;
  const outsideNamespace = `/run/netns/${outsideLink}`;
  const [hostOnOutside, outside] = ['198.51.100.1', '198.51.100.2'];
  const directory = mkdtempSync(join(tmpdir(), 'network-'));
  const networks = new Map<string, Network>();
  const children: ChildProcess[] = [];
  const hostServers: Server[] = [];

  const open = async (tag: string, options: Partial<NetworkOptions> = {}): Promise<Network> => {
    const portStateFile = join(directory, `${tag}.json`);
    const network = createNetwork({ tag, pool, ports, portStateFile, logger: silentLogger, ...options });
    networks.set(tag, network);
    await network.start();
    return network;
  };
  const create = (network: Network, handle: string, rest: Partial<Parameters<Network['create']>[0]> = {}) =>
    network.create({ handle, netIn: [], netOut: [], ...rest });

  /** A server in a namespace that greets with its name and the client's address. */
  const serve = async (namespacePath: string, port: number, name: string): Promise<void> => {
    const program = `require('net').createServer((s) => { s.on('error', () => {}); s.end('${name} ' + s.remoteAddress); }).listen(${port}, '0.0.0.0')`;
    children.push(spawn('nsenter', [`--net=${namespacePath}`, process.execPath, '-e', program], { stdio: 'ignore' }));
    await eventually(async () => ((await ask('127.0.0.1', port, namespacePath)).startsWith(name) ? true : undefined));
  };
  /** Connects from a namespace, or from the host. */
  const ask = async (address: string, port: number, namespacePath?: string): Promise<Answer> => {
    const script = ['bash', '-c', `exec 3<>/dev/tcp/${address}/${port} && cat <&3`];
    const command = namespacePath === undefined ? script : ['nsenter', `--net=${namespacePath}`, ...script];
    try {
      return (await runCommand(command[0]!, command.slice(1), { timeoutMs: 5_000 })).stdout;
    } catch (error) {
      return error instanceof CommandError
        ? (/: ([A-Z][a-z ]+)$/m.exec(error.stderr)?.[1] ?? error.message)
        : String(error);
    }
  };
  const hostListener = async (port: number): Promise<number> => {
    const server = createServer((socket) => socket.end('host'));
    hostServers.push(server);
    await new Promise<void>((resolve) => server.listen(port, '0.0.0.0', resolve));
    const address = server.address();
    return typeof address === 'object' && address ? address.port : 0;
  };
  const thingsOf = (tag: string) => [
    ...readdirSync('/run/netns').filter((name) => name.startsWith(`isth${tag}-`)),
    ...readdirSync('/sys/class/net').filter((name) => name.startsWith(`isth${tag}-`)),
    ...execFileSync('iptables-save', { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`isthmus-${tag}-`) || line.includes(`isth${tag}-`)),
  ];

  before(async () => {
    const batch = [
      `netns add ${outsideLink}`,
      `link add ${outsideLink} type veth peer name eth0 netns ${outsideLink}`,
      `addr add ${hostOnOutside}/24 dev ${outsideLink}`,
      `link set ${outsideLink} up`,
    ];
    await runCommand('ip', ['-batch', '-'], { input: `${batch.join('\n')}\n` });
    const inside = ['link set lo up', `addr add ${outside}/24 dev eth0`, 'link set eth0 up'];
    await runCommand('ip', ['-n', outsideLink, '-batch', '-'], { input: `${inside.join('\n')}\n` });
    await serve(outsideNamespace, 7000, 'outside');
    await serve(outsideNamespace, 7001, 'outside');
  });

  afterEach(async () => {
    for (const server of hostServers.splice(0)) server.close();
    for (const [tag, network] of networks) {
      await network.stop();
      await createNetwork({ tag, pool, ports, portStateFile: join(directory, 'x'), logger: silentLogger }).teardown();
      expect(thingsOf(tag)).to.deep.equal([]);
    }
    networks.clear();
  });

  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await runCommand('ip', ['-force', '-batch', '-'], { input: `netns delete ${outsideLink}\n` });
    await eventually(() => !existsSync(`/sys/class/net/${outsideLink}`) || undefined);
    rmSync(directory, { recursive: true });
  });

  it('answers on mapped ports: from the host, its loopback, from outside, and from containers', async () => {
    const network = await open(`a${mark}`);
    const app = await create(network, 'app', { netIn: [{ containerPort: 8080 }] });
    const other = await create(network, 'other');
    await serve(app.namespacePath, 8080, 'app');
    const { hostPort } = app.mappedPorts[0]!;
    expect(await ask('127.0.0.1', hostPort)).to.equal(`app ${app.hostIp}`);
    expect(await ask(hostOnOutside, hostPort)).to.include('app ');
    expect(await ask(app.externalIp, hostPort)).to.include('app ');
    expect(await ask(app.containerIp, 8080)).to.equal(`app ${app.hostIp}`);
    expect(await ask(hostOnOutside, hostPort, outsideNamespace)).to.equal(`app ${outside}`);
    expect(await ask(hostOnOutside, hostPort, other.namespacePath)).to.include('app ');
    expect(await ask(hostOnOutside, hostPort, app.namespacePath)).to.include('app ');
    expect(await ask(app.hostIp, hostPort, app.namespacePath)).to.include('app ');
  });

  it('lets containers go out under an address of the host', async () => {
    const network = await open(`b${mark}`);
    const app = await create(network, 'app');
    expect(await ask(outside, 7000, app.namespacePath)).to.equal(`outside ${hostOnOutside}`);
  });

  it('closes the host and other containers to containers', async () => {
    const network = await open(`c${mark}`);
    const [app, other] = [await create(network, 'app'), await create(network, 'other')];
    await serve(other.namespacePath, 8080, 'other');
    const port = await hostListener(0);
    expect(await ask('127.0.0.1', port)).to.equal('host');
    for (const address of [hostOnOutside, app.hostIp, other.hostIp]) {
      expect(await ask(address, port, app.namespacePath)).to.equal('No route to host');
    }
    expect(await ask(other.containerIp, 8080, app.namespacePath)).to.equal('No route to host');
    expect(readFileSync(`/proc/sys/net/ipv6/conf/${app.hostInterface}/disable_ipv6`, 'utf8')).to.equal('1\n');
  });

  it('closes containers to the outside but for their mapped ports', async () => {
    const network = await open(`d${mark}`);
    const app = await create(network, 'app');
    await serve(app.namespacePath, 8080, 'app');
    await runCommand('ip', ['-n', outsideLink, 'route', 'add', pool, 'via', hostOnOutside]);
    try {
      expect(await ask(app.containerIp, 8080, outsideNamespace)).to.equal('No route to host');
    } finally {
      await runCommand('ip', ['-n', outsideLink, 'route', 'delete', pool]);
    }
  });

  it('opens the host when it is told to', async () => {
    const network = await open(`e${mark}`, { allowHostAccess: true });
    const app = await create(network, 'app');
    expect(await ask(hostOnOutside, await hostListener(0), app.namespacePath)).to.equal('host');
  });

  it('passes only what egress rules allow when all networks are denied', async () => {
    const network = await open(`f${mark}`, { denyNetworks: ['0.0.0.0/0'] });
    const networksOf = (address: string) => [{ start: address, end: address }];
    const rule = {
      protocol: 'tcp' as const,
      networks: networksOf(outside),
      ports: [{ start: 7000, end: 7000 }],
      log: true,
    };
    const [app, open7000] = [
      await create(network, 'app', { netIn: [{ containerPort: 8080 }] }),
      await create(network, 'open', { netOut: [rule] }),
    ];
    expect(await ask(outside, 7000, app.namespacePath)).to.equal('Connection refused');
    expect(await ask(outside, 7000, open7000.namespacePath)).to.include('outside');
    expect(await ask(outside, 7001, open7000.namespacePath)).to.equal('Connection refused');

    const changed = await network.netOut(app, [{ ...rule, ports: [{ start: 7001, end: 7001 }] }]);
    expect(changed.netOut).to.have.length(1);
    expect(await ask(outside, 7001, app.namespacePath)).to.include('outside');
    expect(await ask(outside, 7000, app.namespacePath)).to.equal('Connection refused');
    await network.netOut(changed, [{ protocol: 'all', networks: [{ start: '198.51.100.0', end: '198.51.100.9' }] }]);
    expect(await ask(outside, 7000, app.namespacePath)).to.include('outside');
    await serve(app.namespacePath, 8080, 'app');
    expect(await ask(hostOnOutside, app.mappedPorts[0]!.hostPort, outsideNamespace)).to.include('app');
  });

  it('gives the same number inside and out, and a chosen one, when asked', async () => {
    const network = await open(`1${mark}`);
    const app = await create(network, 'app', { netIn: [{}, { hostPort: 19_999 }] });
    expect(app.mappedPorts).to.deep.equal([
      { hostPort: ports.start, containerPort: ports.start },
      { hostPort: 19_999, containerPort: 19_999 },
    ]);
    const more = await network.netIn(app, { hostPort: 19_998, containerPort: 80 });
    expect(more.mappedPorts).to.deep.equal([...app.mappedPorts, { hostPort: 19_998, containerPort: 80 }]);
  });

  it('passes over host ports that somebody listens on, and keeps mapped ones from others', async () => {
    await hostListener(ports.start);
    const [one, other] = [await open(`2${mark}`), await open(`3${mark}`)];
    const first = await create(one, 'first', { netIn: [{}] });
    const second = await create(other, 'second', { netIn: [{}] });
    expect(first.mappedPorts[0]!.hostPort).to.equal(ports.start + 1);
    expect(second.mappedPorts[0]!.hostPort).to.equal(ports.start + 2);
  });

  it('goes on in the port pool after a restart', async () => {
    const one = await open(`4${mark}`);
    const app = await create(one, 'app', { netIn: [{}, {}] });
    await one.release(app);
    await one.stop();
    const next = await create(await open(`4${mark}`), 'next', { netIn: [{}] });
    expect(next.mappedPorts[0]!.hostPort).to.equal(ports.start + 2);
  });

  it('never takes a subnet that another engine has', async () => {
    const engines = await Promise.all([open(`5${mark}`), open(`6${mark}`)]);
    const handles = ['a', 'b', 'c', 'd'];
    const leases = await Promise.all(engines.flatMap((engine) => handles.map((handle) => create(engine, handle))));
    expect(new Set(leases.map((lease) => lease.containerIp)).size).to.equal(8);
  });

  it('says that the pool is used up, and leaves nothing behind of the attempt', async () => {
    const network = await open(`7${mark}`, { pool: '10.253.255.0/30', spares: 0, subnetRestMs: 300 });
    const app = await create(network, 'app');
    const failure = await create(network, 'other').catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(ExhaustedError);
    await network.release(app);
    const releasedAt = Date.now();
    expect((await create(network, 'other')).containerIp).to.equal(app.containerIp);
    expect(Date.now() - releasedAt).to.be.at.least(290);
  });

  it('undoes a creation whose rules are wrong', async () => {
    const tag = `8${mark}`;
    const network = await open(tag, { spares: 0 });
    const before = thingsOf(tag);
    const wrong = create(network, 'app', {
      netIn: [{}],
      netOut: [{ protocol: 'all', ports: [{ start: 1, end: 2 }] }],
    });
    expect(await wrong.catch((error: unknown) => error)).to.be.instanceOf(InvalidSpecError);
    expect(thingsOf(tag)).to.deep.equal(before);
    await hostListener(ports.start);
  });

  it('releases twice without harm to who came after', async () => {
    const network = await open(`9${mark}`, { pool: '10.253.254.0/30', spares: 0, subnetRestMs: 0 });
    const app = await create(network, 'app', { netIn: [{}] });
    await network.release(app);
    await network.release(app);
    const next = await create(network, 'next', { netIn: [{}] });
    await network.release(app);
    await serve(next.namespacePath, 8080, 'next');
    expect(await ask(next.containerIp, 8080)).to.include('next');
  });

  it('survives the death of the engine: containers answer, the next engine adopts them and clears up', async () => {
    const tag = `a${mark}`;
    const dead = await open(tag, { spares: 2 });
    const kept = await create(dead, 'kept', { netIn: [{ containerPort: 8080 }], netOut: [{ protocol: 'all' }] });
    const lost = await create(dead, 'lost', { netIn: [{}], netOut: [{ protocol: 'all' }] });
    await serve(kept.namespacePath, 8080, 'kept');
    await eventually(
      () => readdirSync('/run/netns').filter((name) => name.startsWith(`isth${tag}-`)).length >= 4 || undefined,
    );

    const next = await open(tag, { spares: 0 });
    const { hostPort } = kept.mappedPorts[0]!;
    expect(await ask('127.0.0.1', hostPort)).to.include('kept');
    const lease: NetworkLease = JSON.parse(JSON.stringify(kept));
    expect(await next.adopt(lease)).to.equal(true);
    expect(await next.adopt({ ...lease, hostInterface: `isth${tag}-99`, subnetIndex: 99 })).to.equal(false);
    await next.reclaim([lease]);
    expect(readdirSync('/run/netns').filter((name) => name.startsWith(`isth${tag}-`))).to.deep.equal([
      lease.hostInterface,
    ]);
    expect(thingsOf(tag).join('\n')).to.not.include(`dport ${lost.mappedPorts[0]!.hostPort} `);
    expect(await ask('127.0.0.1', hostPort)).to.include('kept');
    const another = await create(next, 'another', { netIn: [{}] });
    expect(another.containerIp).to.not.equal(kept.containerIp);
    expect(another.mappedPorts[0]!.hostPort).to.be.above(hostPort);
    await next.release(lease);
    await eventually(async () => !(await ask('127.0.0.1', hostPort)).includes('kept') || undefined);
    await dead.stop();
  });

  it('repairs rules that somebody flushed', async () => {
    const network = await open(`b${mark}`);
    const [app, other] = [
      await create(network, 'app', { netIn: [{ containerPort: 8080 }] }),
      await create(network, 'other', { netIn: [{}] }),
    ];
    await serve(app.namespacePath, 8080, 'app');
    await runCommand('iptables', ['-w', '-t', 'nat', '-F', `isthmus-b${mark}-mapped`]);
    expect(await ask('127.0.0.1', app.mappedPorts[0]!.hostPort)).to.not.include('app');
    await network.release(other);
    await eventually(async () => (await ask('127.0.0.1', app.mappedPorts[0]!.hostPort)).includes('app') || undefined);
  });

  it('limits bandwidth in both directions', async () => {
    const network = await open(`c${mark}`);
    const app = await create(network, 'app', { netIn: [{ containerPort: 8080 }] });
    await network.limitBandwidth(app, { rate: 400_000, burst: 20_000 });
    const program =
      "require('net').createServer((s) => { s.on('error', () => {}); s.write(Buffer.alloc(300000)); let n = 0; s.on('data', (d) => { n += d.length; if (n >= 300000) s.end(); }); }).listen(8080)";
    children.push(
      spawn('nsenter', [`--net=${app.namespacePath}`, process.execPath, '-e', program], { stdio: 'ignore' }),
    );
    const transfer = (direction: string) =>
      runCommand('bash', ['-c', `exec 3<>/dev/tcp/${app.containerIp}/8080 && ${direction}`]);
    await eventually(async () => {
      await transfer('true');
      return true;
    });
    for (const direction of ['head -c 300000 <&3 >/dev/null', 'head -c 300000 /dev/zero >&3 && cat <&3 >/dev/null']) {
      const begunAt = Date.now();
      await transfer(direction);
      expect(Date.now() - begunAt, direction).to.be.at.least(500);
    }
  });

  it('makes and releases ten at once', async () => {
    const network = await open(`d${mark}`);
    const handles = Array.from({ length: 10 }, (_, number) => `c${number}`);
    const leases = await Promise.all(
      handles.map((handle) => create(network, handle, { netIn: [{}], netOut: [{ protocol: 'all' }] })),
    );
    expect(new Set(leases.map((lease) => lease.containerIp)).size).to.equal(10);
    expect(new Set(leases.map((lease) => lease.mappedPorts[0]!.hostPort)).size).to.equal(10);
    await Promise.all(leases.map((lease) => network.release(lease)));
    await network.stop();
    expect(thingsOf(`d${mark}`).filter((thing) => /^isth[^m]/.test(thing) || thing.includes('dport'))).to.deep.equal(
      [],
    );
  });

  it('refuses a pool that the host is attached to', async () => {
    const network = createNetwork({
      tag: 'e',
      pool: '198.51.100.0/24',
      ports,
      portStateFile: join(directory, 'y'),
      logger: silentLogger,
    });
    const failure = await network.start().catch((error: Error) => error.message);
    expect(failure).to.include('198.51.100.0/24').and.include(outsideLink);
  });
});
