import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ExhaustedError, InvalidSpecError } from '../../../../lib/containers/errors.js';
import { createNetwork } from '../../../../lib/containers/oci/network/network.js';
import type { NetworkLease } from '../../../../lib/containers/oci/ports.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { runCommand } from '../../../../lib/process/command.js';
import { eventually } from '../../../support/eventually.js';
import { type NetworkBench, startNetworkBench } from '../../../support/network-bench.js';

describe('the network of containers', () => {
  let bench: NetworkBench;
  let mark: string;
  const open: NetworkBench['open'] = (...args) => bench.open(...args);
  const create: NetworkBench['create'] = (...args) => bench.create(...args);
  const serve: NetworkBench['serve'] = (...args) => bench.serve(...args);
  const ask: NetworkBench['ask'] = (...args) => bench.ask(...args);
  const hostListener: NetworkBench['hostListener'] = (...args) => bench.hostListener(...args);
  const thingsOf: NetworkBench['thingsOf'] = (...args) => bench.thingsOf(...args);

  before(async () => {
    bench = await startNetworkBench(0);
    mark = bench.mark;
    await serve(bench.outside.namespacePath, 7000, 'outside');
    await serve(bench.outside.namespacePath, 7001, 'outside');
  });

  afterEach(() => bench.clear());

  after(() => bench.close());

  it('answers on mapped ports: from the host, its loopback, from outside, and from containers', async () => {
    const network = await open(`a${mark}`);
    const app = await create(network, 'app', { netIn: [{ containerPort: 8080 }] });
    const other = await create(network, 'other');
    await serve(app.namespacePath, 8080, 'app');
    const { hostPort } = app.mappedPorts[0]!;
    expect(await ask('127.0.0.1', hostPort)).to.equal(`app ${app.hostIp}`);
    expect(await ask(bench.outside.hostIp, hostPort)).to.include('app ');
    expect(await ask(app.externalIp, hostPort)).to.include('app ');
    expect(await ask(app.containerIp, 8080)).to.equal(`app ${app.hostIp}`);
    expect(await ask(bench.outside.hostIp, hostPort, bench.outside.namespacePath)).to.equal(`app ${bench.outside.ip}`);
    expect(await ask(bench.outside.hostIp, hostPort, other.namespacePath)).to.include('app ');
    expect(await ask(bench.outside.hostIp, hostPort, app.namespacePath)).to.include('app ');
    expect(await ask(app.hostIp, hostPort, app.namespacePath)).to.include('app ');
  });

  it('lets containers go out under an address of the host', async () => {
    const network = await open(`b${mark}`);
    const app = await create(network, 'app');
    expect(await ask(bench.outside.ip, 7000, app.namespacePath)).to.equal(`outside ${bench.outside.hostIp}`);
  });

  it('closes the host and other containers to containers', async () => {
    const network = await open(`c${mark}`);
    const [app, other] = [await create(network, 'app'), await create(network, 'other')];
    await serve(other.namespacePath, 8080, 'other');
    const port = await hostListener(0);
    expect(await ask('127.0.0.1', port)).to.equal('host');
    for (const address of [bench.outside.hostIp, app.hostIp, other.hostIp]) {
      expect(await ask(address, port, app.namespacePath)).to.equal('No route to host');
    }
    expect(await ask(other.containerIp, 8080, app.namespacePath)).to.equal('No route to host');
    expect(readFileSync(`/proc/sys/net/ipv6/conf/${app.hostInterface}/disable_ipv6`, 'utf8')).to.equal('1\n');
  });

  it('closes containers to the outside but for their mapped ports', async () => {
    const network = await open(`d${mark}`);
    const app = await create(network, 'app');
    await serve(app.namespacePath, 8080, 'app');
    await runCommand('ip', ['-n', bench.outside.link, 'route', 'add', bench.pool, 'via', bench.outside.hostIp]);
    try {
      expect(await ask(app.containerIp, 8080, bench.outside.namespacePath)).to.equal('No route to host');
    } finally {
      await runCommand('ip', ['-n', bench.outside.link, 'route', 'delete', bench.pool]);
    }
  });

  it('opens the host when it is told to', async () => {
    const network = await open(`e${mark}`, { allowHostAccess: true });
    const app = await create(network, 'app');
    expect(await ask(bench.outside.hostIp, await hostListener(0), app.namespacePath)).to.equal('host');
  });

  it('passes only what egress rules allow when all networks are denied', async () => {
    const network = await open(`f${mark}`, { denyNetworks: ['0.0.0.0/0'] });
    const networksOf = (address: string) => [{ start: address, end: address }];
    const rule = {
      protocol: 'tcp' as const,
      networks: networksOf(bench.outside.ip),
      ports: [{ start: 7000, end: 7000 }],
      log: true,
    };
    const [app, open7000] = [
      await create(network, 'app', { netIn: [{ containerPort: 8080 }] }),
      await create(network, 'open', { netOut: [rule] }),
    ];
    expect(await ask(bench.outside.ip, 7000, app.namespacePath)).to.equal('Connection refused');
    expect(await ask(bench.outside.ip, 7000, open7000.namespacePath)).to.include('outside');
    expect(await ask(bench.outside.ip, 7001, open7000.namespacePath)).to.equal('Connection refused');

    const changed = await network.netOut(app, [{ ...rule, ports: [{ start: 7001, end: 7001 }] }]);
    expect(changed.netOut).to.have.length(1);
    expect(await ask(bench.outside.ip, 7001, app.namespacePath)).to.include('outside');
    expect(await ask(bench.outside.ip, 7000, app.namespacePath)).to.equal('Connection refused');
    await network.netOut(changed, [{ protocol: 'all', networks: [{ start: '198.51.100.0', end: '198.51.100.9' }] }]);
    expect(await ask(bench.outside.ip, 7000, app.namespacePath)).to.include('outside');
    await serve(app.namespacePath, 8080, 'app');
    expect(await ask(bench.outside.hostIp, app.mappedPorts[0]!.hostPort, bench.outside.namespacePath)).to.include(
      'app',
    );
  });

  it('lets all containers reach allowed networks, whatever is denied', async () => {
    const all = await open(`8${mark}`, { denyNetworks: ['0.0.0.0/0'], allowNetworks: [`${bench.outside.ip}/32`] });
    expect(await ask(bench.outside.ip, 7000, (await create(all, 'app')).namespacePath)).to.include('outside');
    // What is not allowed by name stays closed, also to one with rules of its own.
    const others = await open(`9${mark}`, { denyNetworks: ['0.0.0.0/0'], allowNetworks: ['192.0.2.0/24'] });
    const elsewhere = { protocol: 'all' as const, networks: [{ start: '203.0.113.1', end: '203.0.113.1' }] };
    for (const netOut of [[], [elsewhere]]) {
      const app = await create(others, `app${netOut.length}`, { netOut });
      expect(await ask(bench.outside.ip, 7000, app.namespacePath)).to.equal('Connection refused');
    }
  });

  it('gives the same number inside and out, and a chosen one, when asked', async () => {
    const network = await open(`1${mark}`);
    const app = await create(network, 'app', { netIn: [{}, { hostPort: 19_999 }] });
    expect(app.mappedPorts).to.deep.equal([
      { hostPort: bench.ports.start, containerPort: bench.ports.start },
      { hostPort: 19_999, containerPort: 19_999 },
    ]);
    const more = await network.netIn(app, { hostPort: 19_998, containerPort: 80 });
    expect(more.mappedPorts).to.deep.equal([...app.mappedPorts, { hostPort: 19_998, containerPort: 80 }]);
  });

  it('passes over host ports that somebody listens on, and keeps mapped ones from others', async () => {
    await hostListener(bench.ports.start);
    const [one, other] = [await open(`2${mark}`), await open(`3${mark}`)];
    const first = await create(one, 'first', { netIn: [{}] });
    const second = await create(other, 'second', { netIn: [{}] });
    expect(first.mappedPorts[0]!.hostPort).to.equal(bench.ports.start + 1);
    expect(second.mappedPorts[0]!.hostPort).to.equal(bench.ports.start + 2);
  });

  it('goes on in the port pool after a restart', async () => {
    const one = await open(`4${mark}`);
    const app = await create(one, 'app', { netIn: [{}, {}] });
    await one.release(app);
    await one.stop();
    const next = await create(await open(`4${mark}`), 'next', { netIn: [{}] });
    expect(next.mappedPorts[0]!.hostPort).to.equal(bench.ports.start + 2);
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
    await hostListener(bench.ports.start);
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
    bench.run(app.namespacePath, program);
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
      ports: bench.ports,
      portStateFile: join(bench.directory, 'y'),
      logger: silentLogger,
    });
    const failure = await network.start().catch((error: Error) => error.message);
    expect(failure).to.include('198.51.100.0/24').and.include(bench.outside.link);
  });
});
