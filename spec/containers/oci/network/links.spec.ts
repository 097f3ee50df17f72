import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { InvalidSpecError } from '../../../../lib/containers/errors.js';
import { createNetwork } from '../../../../lib/containers/oci/network/network.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { runCommand } from '../../../../lib/process/command.js';
import { type NetworkBench, startNetworkBench } from '../../../support/network-bench.js';

describe('the links of containers', () => {
  let bench: NetworkBench;
  let mark: string;
  const within = async (namespacePath: string, ...command: string[]): Promise<string> =>
    (await runCommand('nsenter', [`--net=${namespacePath}`, ...command])).stdout.trim();
  const sysctl = (namespacePath: string, name: string) => within(namespacePath, 'cat', `/proc/sys/net/ipv4/${name}`);
  const mtuOf = async (namespacePath: string) =>
    /mtu (\d+)/.exec(await within(namespacePath, 'ip', 'link', 'show', 'eth0'))?.[1];
  const hostMtuOf = (name: string) => readFileSync(`/sys/class/net/${name}/mtu`, 'utf8').trim();
  const hostSetting = (name: string) => readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').trim();

  before(async () => {
    bench = await startNetworkBench(3);
    mark = bench.mark;
  });

  afterEach(() => bench.clear());

  after(() => bench.close());

  it('have the MTU that is set, on either side and at the bridge', async () => {
    const network = await bench.open(`a${mark}`, { mtu: 1337 });
    const app = await bench.create(network, 'app');
    const shared = await bench.create(network, 'shared', { network: '10.188.1.0/24' });
    expect(await mtuOf(app.namespacePath)).to.equal('1337');
    expect(await mtuOf(shared.namespacePath)).to.equal('1337');
    for (const name of [app.hostInterface, shared.hostInterface, String(shared.bridge)]) {
      expect(hostMtuOf(name), name).to.equal('1337');
    }
  });

  it('have the MTU of the interface with the external address, and that address is told', async () => {
    await runCommand('ip', ['link', 'set', bench.outside.link, 'mtu', '1400']);
    const network = await bench.open(`b${mark}`, { externalIp: bench.outside.hostIp });
    const app = await bench.create(network, 'app');
    expect(app.externalIp).to.equal(bench.outside.hostIp);
    expect(await mtuOf(app.namespacePath)).to.equal('1400');
    await runCommand('ip', ['link', 'set', bench.outside.link, 'mtu', '9000']);
    const other = await bench.open(`c${mark}`, { externalIp: bench.outside.hostIp });
    expect(await mtuOf((await bench.create(other, 'app')).namespacePath)).to.equal('1500');
  });

  it('carry the TCP settings of the host, or those that are set', async () => {
    const network = await bench.open(`d${mark}`, { tcp: { tcp_retries2: 7, tcp_keepalive_time: 77 } });
    const { namespacePath } = await bench.create(network, 'app');
    expect(await sysctl(namespacePath, 'tcp_retries2')).to.equal('7');
    expect(await sysctl(namespacePath, 'tcp_keepalive_time')).to.equal('77');
    for (const name of ['tcp_keepalive_intvl', 'tcp_keepalive_probes', 'tcp_retries1']) {
      expect(await sysctl(namespacePath, name), name).to.equal(hostSetting(name));
    }
  });

  it('let everybody ping where programs cannot gain the right to; low ports stay with root', async () => {
    const closed = await bench.create(await bench.open(`e${mark}`), 'app');
    expect(await sysctl(closed.namespacePath, 'ping_group_range')).to.equal('1\t0');
    const network = await bench.open(`f${mark}`, { noNewPrivileges: true });
    const { namespacePath, hostInterface } = await bench.create(network, 'app');
    expect(await sysctl(namespacePath, 'ping_group_range')).to.equal('1\t2147483647');
    expect(await sysctl(namespacePath, 'ip_unprivileged_port_start')).to.equal('1024');
    expect(hostSetting(`conf/${hostInterface}/rp_filter`)).to.equal('1');
  });

  it('are not made with settings that make no sense', () => {
    for (const [options, text] of [
      [{ mtu: 20 }, 'mtu: 20'],
      [{ mtu: 1500.5 }, 'mtu: 1500.5'],
      [{ externalIp: 'here' }, 'invalid IP address: here'],
      [{ dnsServers: ['::1'] }, 'invalid IP address: ::1'],
      [{ denyNetworks: ['10.0.0.0'] }, 'invalid network: 10.0.0.0'],
      [{ allowNetworks: ['10.0.0.0'] }, 'invalid network: 10.0.0.0'],
      [{ tcp: { tcp_retries1: 0 } }, 'tcp.tcp_retries1: 0'],
      [{ pool: '10.0.0.0/99' }, 'invalid network: 10.0.0.0/99'],
    ] as const) {
      const make = () =>
        createNetwork({
          tag: 'f',
          portStateFile: join(bench.directory, 'x'),
          logger: silentLogger,
          ...(options as object),
        });
      expect(make).to.throw(InvalidSpecError, text);
    }
  });

  it('change their bandwidth while they are used, and count what passes', async () => {
    const network = await bench.open(`1${mark}`);
    for (const subnet of ['', '10.188.2.0/24']) {
      const app = await bench.create(network, `app${subnet}`, { network: subnet });
      const shapes = async () => [
        (await runCommand('tc', ['qdisc', 'show', 'dev', app.hostInterface])).stdout,
        await within(app.namespacePath, 'tc', 'qdisc', 'show', 'dev', 'eth0'),
      ];
      for (const [bandwidth, rate] of [
        [{ rate: 1, burst: 1 }, '8bit'],
        [{ rate: 125_000, burst: 100_000 }, '1Mbit'],
        [{ rate: 12_500_000_000, burst: 2 ** 40 }, '100Gbit'],
      ] as const) {
        await network.limitBandwidth(app, bandwidth);
        for (const shape of await shapes()) expect(shape).to.include('tbf').and.include(`rate ${rate} `);
      }
      await bench.serve(app.namespacePath, 8080, 'app');
      const before = (await network.traffic(app))!;
      expect(await bench.ask(app.containerIp, 8080)).to.include('app');
      const after = (await network.traffic(app))!;
      expect(after.receivedBytes).to.be.above(before.receivedBytes);
      expect(after.sentBytes).to.be.above(before.sentBytes);
    }
  });
});
