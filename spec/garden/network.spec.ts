import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { runCommand } from '../../lib/process/command.js';
import { eventually } from '../support/eventually.js';
import { type GardenProcess, startGarden } from '../support/garden.js';
import { GardenClient } from '../support/garden-client.js';

/** A /16 for the subnets that these containers ask for. */
const base = `10.${randomInt(110, 150)}`;

describe('the network of containers of bin/garden', function () {
  this.timeout(120_000);
  let garden: GardenProcess;
  let client: GardenClient;
  let hostServer: Server;
  let hostPort: number;

  before(async () => {
    hostServer = createServer((socket) => socket.end('host'));
    await new Promise<void>((resolve) => hostServer.listen(0, '0.0.0.0', resolve));
    hostPort = (hostServer.address() as { port: number }).port;
    garden = await startGarden({ deny_networks: ['0.0.0.0/0'] });
    client = new GardenClient(garden.socket);
  });

  after(async () => {
    hostServer.close();
    await garden.stop();
  });

  afterEach(() => client.destroyAll());

  /** Connects from a container: what the server says, or why there is none. */
  const ask = async (handle: string, address: unknown, port: unknown) => {
    const script = `exec 3<>/dev/tcp/${address}/${port} && cat <&3`;
    const { status, stdout, stderr } = await client.exec(handle, { path: 'bash', args: ['-c', script] });
    return status === 0 ? stdout : (/: ([A-Z][a-z ]+)$/m.exec(stderr)?.[1] ?? stderr);
  };
  const askFromHost = async (address: unknown, port: unknown) =>
    (await runCommand('bash', ['-c', `exec 3<>/dev/tcp/${address}/${port} && cat <&3`], { timeoutMs: 5_000 })).stdout;
  /** Greets with its handle on a port of the container. */
  const serve = async (handle: string, port: number) => {
    const program = `
import socket
server = socket.create_server(('0.0.0.0', ${port}))
while True:
    client, _ = server.accept()
    client.sendall(b'${handle}')
    client.close()`;
    await client.run(handle, { path: 'python3', args: ['-c', program] });
    await eventually(async () => ((await ask(handle, '127.0.0.1', port)) === handle ? true : undefined));
  };
  const mappedPort = async (handle: string) =>
    ((await client.info(handle)).MappedPorts as { HostPort: number; ContainerPort: number }[])[0]!;

  it('joins those of one static subnet', async () => {
    await client.create({ handle: 'one', network: `${base}.1.10/24` });
    await client.create({ handle: 'other', network: `${base}.1.0/24` });
    const ping = async (from: string, to: string) =>
      (await client.exec(from, `/dev/busybox ping -c 1 -W 2 ${to}`)).status;
    expect((await client.info('other')).ContainerIP).to.equal(`${base}.1.2`);
    expect(await ping('one', `${base}.1.2`)).to.equal(0);
    expect(await ping('other', `${base}.1.10`)).to.equal(0);
  });

  it('is closed towards the host, whatever its address', async () => {
    await client.create({ handle: 'c', netout_rules: [{ protocol: 0 }] });
    const { HostIP, ExternalIP } = await client.info('c');
    expect(await askFromHost('127.0.0.1', hostPort)).to.equal('host');
    for (const address of [HostIP, ExternalIP]) expect(await ask('c', address, hostPort)).to.equal('No route to host');
  });

  it('denies what is denied, and is opened by a rule for one port alone', async () => {
    await client.create({ handle: 'target', netin: [{ container_port: 8080 }, { container_port: 8081 }] });
    await serve('target', 8080);
    await serve('target', 8081);
    const { ExternalIP, MappedPorts } = await client.info('target');
    const [open, closed] = MappedPorts as { HostPort: number; ContainerPort: number }[];
    await client.create({ handle: 'c' });
    expect(await ask('c', ExternalIP, open!.HostPort)).to.equal('Connection refused');
    // Where a connection goes is judged after the port was mapped.
    await client.ask('POST', '/containers/c/net/out', { protocol: 1, ports: [{ start: 8080, end: 8080 }] });
    expect(await ask('c', ExternalIP, open!.HostPort)).to.equal('target');
    expect(await ask('c', ExternalIP, closed!.HostPort)).to.equal('Connection refused');
  });

  it('brings connections in at the external address and from the host itself', async () => {
    await client.create({ handle: 'app' });
    await client.ask('POST', '/containers/app/net/in', { host_port: 0, container_port: 0 });
    const { HostPort, ContainerPort } = await mappedPort('app');
    expect(HostPort).to.be.within(garden.portPool.start, garden.portPool.start + garden.portPool.size - 1);
    expect(ContainerPort).to.equal(HostPort);
    await serve('app', ContainerPort);
    const { ExternalIP } = await client.info('app');
    for (const address of [ExternalIP, '127.0.0.1']) expect(await askFromHost(address, HostPort)).to.equal('app');
  });

  it('lets root alone change the names that a container knows', async () => {
    await client.create({ handle: 'c' });
    for (const file of ['/etc/hosts', '/etc/resolv.conf']) {
      const refused = await client.exec('c', `echo 192.0.2.1 x >> ${file}`, { user: 'vcap' });
      expect(refused.status).not.to.equal(0);
      expect(refused.stderr).to.include('Permission denied');
      expect(await client.read('c', `echo 192.0.2.1 x >> ${file}; tail -1 ${file}`)).to.equal('192.0.2.1 x\n');
    }
  });
});
