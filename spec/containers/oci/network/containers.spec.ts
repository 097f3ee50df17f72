import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Container, ContainerSpec, NetOutRule } from '../../../../lib/containers/engine.js';
import { ExhaustedError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import { createOciEngine } from '../../../../lib/containers/oci/oci-engine.js';
import { engineTag } from '../../../../lib/containers/oci/tag.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { runCommand } from '../../../../lib/process/command.js';
import { EngineProcess } from '../../../support/engine-process.js';
import { eventually } from '../../../support/eventually.js';
import { takeNetwork } from '../../../support/host-share.js';
import { type HostThings, thingsOfEngine } from '../../../support/leaks.js';
import { makeOciSettings, type OciSettings, type OciSubject, startOciEngine } from '../../../support/oci.js';
import { stackRootfs } from '../../../support/stack.js';
import { failureOf, runToEnd, script } from '../../engine-contract.js';

/** A /16 for the subnets that this spec's containers ask for. */
const base = `10.${randomInt(230, 240)}`;
const tcp = (start: number, end = start): NetOutRule => ({ protocol: 'tcp', ports: [{ start, end }] });

/** Connects from a container: what the server says, or why there is none. */
async function ask(container: Container, address: string, port: number): Promise<string> {
  const text = `exec 3<>/dev/tcp/${address}/${port} && cat <&3`;
  const { status, stdout, stderr } = await runToEnd(container, { path: '/bin/bash', args: ['-c', text] });
  return status === 0 ? stdout : (/: ([A-Z][a-z ]+)$/m.exec(stderr)?.[1] ?? stderr);
}

/** Serves its name on a port of the container, once it listens. */
async function serve(container: Container, port: number): Promise<void> {
  const program = `
import socket
server = socket.create_server(('0.0.0.0', ${port}))
while True:
    client, _ = server.accept()
    client.sendall(b'${container.handle}\\n')
    client.close()`;
  await container.run({ path: 'python3', args: ['-c', program], discardOutput: true });
  await eventually(async () =>
    (await ask(container, '127.0.0.1', port)).includes(container.handle) ? true : undefined,
  );
}

async function askFromHost(address: string, port: number): Promise<string> {
  return (await runCommand('bash', ['-c', `exec 3<>/dev/tcp/${address}/${port} && cat <&3`], { timeoutMs: 5_000 }))
    .stdout;
}

/** What must be as before when containers have come and gone; where the engine keeps its port offset may stay. */
function holdings(depotDirectory: string): Omit<HostThings, 'processes'> {
  const { processes, files, ...things } = thingsOfEngine(depotDirectory);
  return { ...things, files: files.filter((path) => path !== '@network') };
}

describe('the network of real containers', function () {
  this.timeout(120_000);
  let subject: OciSubject;
  const create = (spec: Partial<ContainerSpec> = {}) => subject.engine.create({ rootfs: subject.rootfs, ...spec });
  const start = async (options: Partial<OciSettings> = {}) => {
    subject = await startOciEngine(options);
  };
  const servers: Server[] = [];
  const hostListener = async (): Promise<number> => {
    const server = createServer((socket) => socket.end('host'));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    return (server.address() as { port: number }).port;
  };

  afterEach(async () => {
    for (const server of servers.splice(0)) server.close();
    await subject.dispose();
  });

  it('joins those who ask for one subnet; closes the host and all others to them', async () => {
    await start();
    const [one, other, stranger] = await Promise.all([
      create({ handle: 'one', network: `${base}.1.10/24` }),
      create({ handle: 'other', network: `${base}.1.0/24` }),
      create({ handle: 'stranger' }),
    ]);
    const infos = await Promise.all([one, other].map((container) => container.info()));
    expect(infos.map(({ containerIp, hostIp }) => [containerIp, hostIp])).to.deep.equal([
      [`${base}.1.10`, `${base}.1.1`],
      [`${base}.1.2`, `${base}.1.1`],
    ]);
    const ping = async (from: Container, address: string, user?: string) =>
      (await runToEnd(from, script(`/dev/busybox ping -c 1 -W 2 ${address}`, user === undefined ? {} : { user })))
        .status;
    expect(await ping(one, `${base}.1.2`)).to.equal(0);
    expect(await ping(other, `${base}.1.10`)).to.equal(0);
    await serve(other, 8080);
    expect(await ask(one, `${base}.1.2`, 8080)).to.equal('other\n');
    expect(await ask(stranger, `${base}.1.2`, 8080)).to.equal('No route to host');
    const port = await hostListener();
    const { hostIp, externalIp } = await stranger.info();
    for (const address of [`${base}.1.1`, hostIp, externalIp]) {
      expect(await ask(one, address, port), address).to.equal('No route to host');
      expect(await ask(stranger, address, port), address).to.equal('No route to host');
    }
  });

  it('passes only what egress rules allow where all networks are denied', async () => {
    await start({ denyNetworks: ['0.0.0.0/0'] });
    const target = await create({ handle: 'target', network: `${base}.2.0/24`, netIn: [{ containerPort: 8080 }] });
    await serve(target, 8080);
    // Other containers are reached by their mapped ports, like anything else outside.
    const { hostPort } = (await target.info()).mappedPorts[0]!;
    const { externalIp } = await target.info();
    const closed = await create({ handle: 'closed' });
    expect(await ask(closed, externalIp, hostPort)).to.equal('Connection refused');
    const open = await create({ handle: 'open', netOut: [tcp(8080)] });
    expect(await ask(open, externalIp, hostPort)).to.equal('target\n');
    await closed.netOut([tcp(1), tcp(8080)]);
    expect(await ask(closed, externalIp, hostPort)).to.equal('target\n');
    const failure = await failureOf(closed.netOut([{ protocol: 'all' }, { ...tcp(1), protocol: 'icmp' }]));
    expect(failure).to.be.instanceOf(InvalidSpecError);
    const sibling = await create({ handle: 'sibling', network: `${base}.2.0/24` });
    expect(await ask(sibling, (await target.info()).containerIp, 8080)).to.equal('target\n');
  });

  it('answers on mapped ports, at the external address and at every other one of the host', async () => {
    await start();
    for (const network of ['', `${base}.3.0/24`]) {
      const app = await create({ handle: `app${network.slice(-2, -1)}`, network, netIn: [{}] });
      const { mappedPorts, externalIp, hostIp } = await app.info();
      const [{ hostPort, containerPort }] = mappedPorts as [(typeof mappedPorts)[0]];
      expect(hostPort).to.equal(containerPort);
      expect(hostPort).to.be.within(subject.settings.portPool!.start, subject.settings.portPool!.start + 99);
      await serve(app, containerPort);
      for (const address of [externalIp, '127.0.0.1', hostIp]) {
        expect(await askFromHost(address, hostPort), address).to.equal(`${app.handle}\n`);
      }
    }
  });

  it('lets root alone write the files that name the container and its servers', async () => {
    await start({
      dnsServers: ['192.0.2.53'],
      additionalDnsServers: ['192.0.2.54'],
      additionalHostEntries: ['192.0.2.9 data data.example'],
      mtu: 1400,
    });
    const app = await create({ handle: `a${'b'.repeat(53)}` });
    const { containerIp } = await app.info();
    const read = async (text: string, user = 'root') => runToEnd(app, script(text, { user }));
    expect((await read('cat /etc/hosts')).stdout).to.equal(
      `127.0.0.1 localhost\n${containerIp} ${'b'.repeat(49)}\n192.0.2.9 data data.example\n`,
    );
    expect((await read('cat /etc/resolv.conf')).stdout).to.equal('nameserver 192.0.2.53\nnameserver 192.0.2.54\n');
    expect((await read('cat /sys/class/net/eth0/mtu')).stdout).to.equal('1400\n');
    for (const file of ['/etc/hosts', '/etc/resolv.conf']) {
      const refused = await read(`echo 1.2.3.4 x >> ${file}`, 'vcap');
      expect(refused.status).to.not.equal(0);
      expect(refused.stderr).to.include('Permission denied');
      expect((await read(`echo 1.2.3.4 x >> ${file}; tail -1 ${file}`)).stdout).to.equal('1.2.3.4 x\n');
    }
  });

  it('says what is wrong with a request, and keeps nothing of the container', async () => {
    await start({ spares: 0 });
    await create({ handle: 'first', network: `${base}.4.9/24` });
    const before = holdings(subject.settings.depotDirectory);
    const pool = subject.settings.networkPool!;
    for (const [network, text] of [
      ['nonsense', 'invalid CIDR address: nonsense/30'],
      [`${base}.4.9/24`, 'the requested IP is already allocated'],
      [`${base}.4.0/23`, `the requested subnet (${base}.4.0/23) overlaps an existing subnet (${base}.4.0/24)`],
      [pool, `the requested subnet (${pool}) overlaps the dynamic allocation range (${pool})`],
    ] as const) {
      const failure = await failureOf(create({ handle: 'refused', network }));
      expect(failure).to.be.instanceOf(InvalidSpecError).with.property('message', text);
    }
    const late = await failureOf(create({ handle: 'late', network: `${base}.5.0/24`, netIn: [{ hostPort: 70_000 }] }));
    expect(late).to.be.instanceOf(InvalidSpecError);
    await eventually(() => expect(holdings(subject.settings.depotDirectory)).to.deep.equal(before) && true);
  });

  it('says when subnets and ports are used up, and goes on when they come back', async () => {
    const settings = await makeOciSettings();
    const networkPool = settings.networkPool!.replace('/24', '/30');
    await start({ networkPool, portPool: { start: settings.portPool!.start, size: 1 }, spares: 0 });
    const first = await create({ handle: 'first', netIn: [{}] });
    expect(await failureOf(create({ handle: 'second' }))).to.be.instanceOf(ExhaustedError);
    const portless = await failureOf(create({ handle: 'second', network: `${base}.6.0/24`, netIn: [{}] }));
    expect(portless).to.be.instanceOf(ExhaustedError).with.property('message', 'port pool is exhausted');
    const { containerIp, mappedPorts } = await first.info();
    await subject.engine.destroy('first');
    const next = await (await create({ handle: 'next', netIn: [{}] })).info();
    expect(next).to.deep.include({ containerIp, mappedPorts });
  });

  it('limits bandwidth from the start and while the container lives, and tells it', async () => {
    await start();
    const app = await create({
      limits: { bandwidth: { rate: 125_000, burst: 10_000 } },
      netIn: [{ containerPort: 8080 }],
    });
    expect(await app.limits()).to.deep.include({ bandwidth: { rate: 125_000, burst: 10_000 } });
    const tag = engineTag(subject.settings.depotDirectory);
    const shapes = async () =>
      (await runCommand('tc', ['qdisc', 'show'])).stdout
        .split('\n')
        .filter((line) => line.includes(`isth${tag}-`) && line.includes('tbf'));
    expect((await shapes()).join()).to.include('rate 1Mbit');
    await app.limit({ bandwidth: { rate: 250_000, burst: 20_000 } });
    expect((await shapes()).join()).to.include('rate 2Mbit');
    expect(await app.limits()).to.deep.include({ bandwidth: { rate: 250_000, burst: 20_000 } });
    await subject.restart();
    const adopted = await subject.engine.lookup(app.handle);
    expect(await adopted.limits()).to.deep.include({ bandwidth: { rate: 250_000, burst: 20_000 } });
    expect(await shapes()).to.have.length(1);
    await subject.engine.destroy(app.handle);
    await eventually(async () => (await shapes()).length === 0 || undefined);
  });

  it('counts what containers receive and send', async () => {
    await start();
    const app = await create({ netIn: [{ containerPort: 8080 }], handle: 'counted' });
    await serve(app, 8080);
    const before = (await app.metrics()).network!;
    await askFromHost('127.0.0.1', (await app.info()).mappedPorts[0]!.hostPort);
    const after = (await app.metrics()).network!;
    expect(after.receivedBytes).to.be.above(before.receivedBytes);
    expect(after.sentBytes).to.be.above(before.sentBytes);
  });

  it('leaves links, rules and namespaces as they were when 50 containers go at once', async () => {
    await start({ spares: 0, networkPool: takeNetwork(24) });
    const before = holdings(subject.settings.depotDirectory);
    const handles = Array.from({ length: 50 }, (_, index) => `many-${index}`);
    const networkOf = (index: number) => (index % 3 === 0 ? '' : `${base}.${20 + (index % 5)}.0/24`);
    await Promise.all(
      handles.map((handle, index) =>
        create({ handle, network: networkOf(index), netIn: [{}], netOut: [{ ...tcp(80), log: true }] }),
      ),
    );
    await Promise.all(handles.map((handle) => subject.engine.destroy(handle)));
    await eventually(() => expect(holdings(subject.settings.depotDirectory)).to.deep.equal(before) && true, {
      timeoutMs: 30_000,
    });
  });
});

describe('engines with containers on shared subnets', function () {
  this.timeout(180_000);

  it('leave them alone when they are killed: the next one has addresses, ports and rules as before', async () => {
    const settings = await makeOciSettings();
    const hostPort = settings.portPool!.start + 500;
    const first = await EngineProcess.start(settings);
    const spec = { rootfs: stackRootfs(), network: `${base}.7.0/24` };
    for (const handle of ['a', 'b']) {
      await first.ask({ verb: 'create', spec: { ...spec, handle, netIn: [{}, { hostPort, containerPort: 8080 }] } });
    }
    await first.ask({ verb: 'netIn', handle: 'a' });
    await first.kill();
    const second = await startOciEngine({ settings });
    try {
      const [a, b] = await Promise.all(['a', 'b'].map((handle) => second.engine.lookup(handle)));
      const [one, other] = [await a!.info(), await b!.info()];
      expect([one.containerIp, other.containerIp]).to.deep.equal([`${base}.7.2`, `${base}.7.3`]);
      expect(one.mappedPorts).to.have.length(3);
      for (const { mappedPorts } of [one, other]) {
        expect(mappedPorts).to.deep.include({ hostPort, containerPort: 8080 });
      }
      await serve(a!, 8080);
      expect(await askFromHost('127.0.0.1', hostPort)).to.equal('a\n');
      expect(await ask(b!, one.containerIp, 8080)).to.equal('a\n');
      const third = await second.engine.create({ ...spec, handle: 'c' });
      expect((await third.info()).containerIp).to.equal(`${base}.7.4`);
    } finally {
      await second.dispose();
    }
  });

  it('leave nothing that the next one does not clear up, whenever they are killed', async () => {
    for (const delayMs of [30, 120, 250, 450]) {
      const settings = await makeOciSettings();
      const first = await EngineProcess.start(settings);
      const work = async (name: string) => {
        for (let round = 0; ; round += 1) {
          const handle = `${name}-${round}`;
          const network = `${base}.${30 + (round % 2)}.0/24`;
          await first.ask({
            verb: 'create',
            spec: { handle, network, rootfs: stackRootfs(), netIn: [{}], netOut: [tcp(80)] },
          });
          if (round > 0) await first.ask({ verb: 'destroy', handle: `${name}-${round - 1}` });
        }
      };
      const workers = ['x', 'y'].map((name) => work(name).catch((error: Error) => error.message));
      await delay(delayMs);
      await first.kill();
      expect(await Promise.all(workers)).to.deep.equal(['the engine was killed', 'the engine was killed']);
      const second = await startOciEngine({ settings });
      for (const container of await second.engine.list()) {
        expect((await runToEnd(container, script('echo alive'))).stdout).to.equal('alive\n');
      }
      await second.dispose();
    }
  });

  it('stand beside each other: a subnet belongs to the one that has it', async () => {
    const [one, other] = await Promise.all([startOciEngine(), startOciEngine()]);
    try {
      const spec = { rootfs: stackRootfs(), network: `${base}.8.0/24` };
      await one.engine.create({ ...spec, handle: 'app' });
      const failure = await failureOf(other.engine.create({ ...spec, handle: 'app' }));
      expect(failure)
        .to.be.instanceOf(InvalidSpecError)
        .with.property('message', `the requested subnet (${base}.8.0/24) overlaps an existing subnet (${base}.8.0/24)`);
      await one.engine.destroy('app');
      await eventually(async () => await other.engine.create({ ...spec, handle: 'app' }));
    } finally {
      await Promise.all([one.dispose(), other.dispose()]);
    }
  });

  it('are not made with settings for names that would break files', async () => {
    const settings = await makeOciSettings();
    for (const [options, text] of [
      [{ dnsServers: ['dns.example'] }, 'dnsServers: invalid IP address: dns.example'],
      [{ additionalDnsServers: ['1.2.3.4\noptions x'] }, 'additionalDnsServers: invalid IP address'],
      [{ additionalHostEntries: ['1.2.3.4 a\n6.6.6.6 b'] }, 'additionalHostEntries: "1.2.3.4 a\\n6.6.6.6 b"'],
      [{ additionalHostEntries: ['data 1.2.3.4'] }, 'additionalHostEntries: "data 1.2.3.4"'],
    ] as const) {
      const make = () => createOciEngine({ ...settings, ...(options as object), logger: silentLogger });
      expect(make).to.throw(InvalidSpecError, text);
    }
    expect(readFileSync('/etc/hosts', 'utf8')).to.not.include('6.6.6.6');
  });
});
