import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect } from 'chai';
import type { NetOutRule } from '../../../../lib/containers/engine.js';
import { ExhaustedError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import type { NetworkLease } from '../../../../lib/containers/oci/ports.js';
import { runCommand } from '../../../../lib/process/command.js';
import { eventually } from '../../../support/eventually.js';
import { type NetworkBench, startNetworkBench } from '../../../support/network-bench.js';

describe('what is opened to and from containers', () => {
  let bench: NetworkBench;
  let mark: string;
  const failureOf = (promise: Promise<unknown>): Promise<Error> =>
    promise.then(
      () => new Error('none'),
      (error: Error) => error,
    );
  const tcp = (start: number, end = start): NetOutRule => ({ protocol: 'tcp', ports: [{ start, end }] });
  const rulesOf = (tag: string, chain: string) =>
    bench.thingsOf(tag).filter((line) => line.startsWith(`-A isthmus-${tag}-${chain} `));

  before(async () => {
    bench = await startNetworkBench(2);
    mark = bench.mark;
    await bench.serve(bench.outside.namespacePath, 7000, 'outside');
    await bench.serve(bench.outside.namespacePath, 7001, 'outside');
  });

  afterEach(() => bench.clear());

  after(() => bench.close());

  it('are ports of the pool until it is used up', async () => {
    const network = await bench.open(`a${mark}`, { ports: { start: bench.ports.start, size: 2 } });
    const app = await bench.create(network, 'app', { netIn: [{}, {}] });
    const failure = await failureOf(network.netIn(app, {}));
    expect(failure).to.be.instanceOf(ExhaustedError).with.property('message', 'port pool is exhausted');
    const other = await failureOf(bench.create(network, 'other', { netIn: [{}] }));
    expect(other).to.be.instanceOf(ExhaustedError);
    const { mappedPorts } = await network.netIn(app, { hostPort: bench.ports.start + 20 });
    expect(mappedPorts).to.have.length(3);
    await network.release(app);
    // Ports come back with the rules gone.
    const next = await eventually(() => bench.create(network, 'next', { netIn: [{}] }));
    expect(next.mappedPorts[0]!.hostPort).to.equal(bench.ports.start);
  });

  it('are no numbers that are no ports', async () => {
    const network = await bench.open(`b${mark}`);
    const app = await bench.create(network, 'app');
    for (const [request, text] of [
      [{ hostPort: 65_536 }, 'netIn.hostPort: 65536 is not a port (0 to 65535)'],
      [{ hostPort: -1 }, 'netIn.hostPort: -1 is not a port (0 to 65535)'],
      [{ containerPort: 1.5 }, 'netIn.containerPort: 1.5 is not a port (0 to 65535)'],
      [{ containerPort: Number.NaN }, 'netIn.containerPort: NaN is not a port (0 to 65535)'],
    ] as const) {
      const failure = await failureOf(network.netIn(app, request));
      expect(failure).to.be.instanceOf(InvalidSpecError).with.property('message', text);
    }
  });

  it('keep host ports outside the pool, and such that are mapped twice, over a restart', async () => {
    const tag = `c${mark}`;
    const dead = await bench.open(tag, { spares: 0 });
    const hostPort = bench.ports.start + 50;
    const mapped = (handle: string) => bench.create(dead, handle, { netIn: [{ hostPort, containerPort: 8080 }] });
    const leases = [await mapped('first'), await mapped('second')];
    for (const { namespacePath, handle } of leases) await bench.serve(namespacePath, 8080, String(handle));
    expect(await bench.ask('127.0.0.1', hostPort)).to.include('first');
    const next = await bench.open(tag, { spares: 0 });
    const kept = JSON.parse(JSON.stringify(leases)) as NetworkLease[];
    for (const lease of kept) expect(await next.adopt(lease)).to.equal(true);
    await next.reclaim(kept);
    expect(kept.map(({ mappedPorts }) => mappedPorts)).to.deep.equal([
      [{ hostPort, containerPort: 8080 }],
      [{ hostPort, containerPort: 8080 }],
    ]);
    expect(await bench.ask('127.0.0.1', hostPort)).to.include('first');
    await next.release(kept[0]!);
    await eventually(async () => (await bench.ask('127.0.0.1', hostPort)).includes('second') || undefined);
    await dead.stop();
  });

  it('are networks by all rules of a call or by none, the last one in front', async () => {
    const tag = `d${mark}`;
    const network = await bench.open(tag, { denyNetworks: ['0.0.0.0/0'], spares: 0 });
    const app = await bench.create(network, 'app', { netOut: [tcp(1), tcp(2)] });
    const id = app.hostInterface.split('-')[1]!;
    const before = rulesOf(tag, id);
    const failure = await failureOf(network.netOut(app, [tcp(7000), { ...tcp(1), protocol: 'all' }]));
    expect(failure.message).to.equal('Ports cannot be specified for Protocol ALL');
    expect(rulesOf(tag, id)).to.deep.equal(before);
    expect(await bench.ask(bench.outside.ip, 7000, app.namespacePath)).to.equal('Connection refused');

    const changed = await network.netOut(app, [tcp(3), tcp(7000, 7001)]);
    const ports = rulesOf(tag, id).map((line) => / --dport (\S+)/.exec(line)?.[1]);
    expect(ports).to.deep.equal(['7000:7001', '3', '2', '1', undefined]);
    expect(changed.netOut).to.have.length(4);
    for (const port of [7000, 7001]) {
      expect(await bench.ask(bench.outside.ip, port, app.namespacePath)).to.include('outside');
    }
  });

  it('accept every form of rule that clients write', async () => {
    const network = await bench.open(`e${mark}`, { denyNetworks: ['0.0.0.0/0'] });
    const { ip } = bench.outside;
    const [before, behind] = ['198.51.102.0', '198.51.102.9'];
    const forms: [NetOutRule, boolean][] = [
      [{ protocol: 'all' }, true],
      [{ protocol: 'tcp' }, true],
      [{ protocol: 'udp' }, false],
      [{ protocol: 'all', networks: [{ start: ip, end: '' }] }, true],
      [{ protocol: 'all', networks: [{ start: '', end: ip }] }, true],
      [{ protocol: 'all', networks: [{ start: '', end: behind }] }, false],
      [{ protocol: 'tcp', networks: [{ start: before, end: behind }], ports: [{ start: 0, end: 7000 }] }, true],
      [{ protocol: 'tcp', networks: [{ start: behind, end: before }] }, false],
      [{ protocol: 'icmp', icmp: { type: 8, code: 0 } }, false],
    ];
    for (const [index, [rule, isOpen]] of forms.entries()) {
      const app = await bench.create(network, `app-${index}`, { netOut: [rule] });
      const answer = await bench.ask(ip, 7000, app.namespacePath);
      expect(answer.startsWith('outside'), JSON.stringify(rule)).to.equal(isOpen);
      const ping = ['busybox', 'ping', '-c', '1', '-W', '1', ip];
      const isEchoed = await runCommand('nsenter', [`--net=${app.namespacePath}`, ...ping]).then(
        () => true,
        () => false,
      );
      const letsEchoes = rule.protocol === 'icmp' || (rule.protocol === 'all' && isOpen);
      expect(isEchoed, JSON.stringify(rule)).to.equal(letsEchoes);
    }
  });

  it('are written to the kernel log under the beginning of the handle, the first packet of each connection', async () => {
    const network = await bench.open(`f${mark}`);
    const handle = `log-${process.pid}-${'x'.repeat(40)}`;
    const app = await bench.create(network, handle, { netOut: [{ ...tcp(7000), log: true }] });
    expect(await bench.ask(bench.outside.ip, 7000, app.namespacePath)).to.include('outside');
    expect(await bench.ask(bench.outside.ip, 7001, app.namespacePath)).to.include('outside');
    const lines = await eventually(async () => {
      const { stdout } = await runCommand('dmesg', []);
      const found = stdout.split('\n').filter((line) => line.includes(`SRC=${app.containerIp} `));
      return found.some((line) => line.includes(`${handle.slice(0, 28)} IN=`)) ? found : undefined;
    });
    const ours = lines.filter((line) => line.includes(handle.slice(0, 28)));
    expect(ours.map((line) => / DPT=(\d+)/.exec(line)?.[1])).to.deep.equal(['7000']);
  });

  it('are name servers on the host, for that alone', async () => {
    const address = bench.outside.hostIp;
    const network = await bench.open(`1${mark}`, { dnsServers: [address] });
    const app = await bench.create(network, 'app');
    const stream = createServer((socket) => socket.end('name server'));
    const datagrams = createSocket('udp4');
    datagrams.on('message', (_, from) => datagrams.send('name server', from.port, from.address));
    try {
      stream.listen(53, address);
      datagrams.bind(53, address);
      await Promise.all([once(stream, 'listening'), once(datagrams, 'listening')]);
      expect(await bench.ask(address, 53, app.namespacePath)).to.equal('name server');
      const ask = `const s = require('dgram').createSocket('udp4'); s.on('message', (m) => { process.stdout.write(m); s.close(); }); s.send('?', 53, '${address}');`;
      const { stdout } = await runCommand('nsenter', [`--net=${app.namespacePath}`, process.execPath, '-e', ask]);
      expect(stdout).to.equal('name server');
      expect(await bench.ask(address, await bench.hostListener(0), app.namespacePath)).to.equal('No route to host');
    } finally {
      stream.close();
      datagrams.close();
    }
  });

  it('come about while others hold the lock of the firewall, and change rules without end', async () => {
    const tag = `2${mark}`;
    const network = await bench.open(tag, { spares: 0 });
    const before = bench.thingsOf(tag);
    const foreign = `isth-foreign-${mark}`;
    await runCommand('iptables', ['-w', '-N', foreign]);
    const churn = `while :; do iptables -w -A ${foreign} -d 198.51.102.77 -j ACCEPT; iptables -w -D ${foreign} 1; done`;
    const others = [
      spawn('bash', ['-c', churn], { stdio: 'ignore', detached: true }),
      spawn('flock', ['/run/xtables.lock', 'sleep', '60'], { stdio: 'ignore', detached: true }),
    ];
    try {
      const handles = Array.from({ length: 8 }, (_, number) => `c${number}`);
      const leases = await Promise.all(
        handles.map((handle) => bench.create(network, handle, { netIn: [{}], netOut: [tcp(7000)] })),
      );
      expect(rulesOf(tag, 'mapped')).to.have.length(8);
      await Promise.all(leases.map((lease) => network.release(lease)));
      await eventually(() => expect(bench.thingsOf(tag)).to.deep.equal(before) && true);
    } finally {
      for (const { pid } of others) process.kill(-pid!, 'SIGKILL');
      await Promise.all(others.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
      await runCommand('iptables', ['-w', '-F', foreign]);
      await runCommand('iptables', ['-w', '-X', foreign]);
    }
  });
});
