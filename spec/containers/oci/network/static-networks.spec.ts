import { existsSync, readdirSync } from 'node:fs';
import { expect } from 'chai';
import type { Network, NetworkLease } from '../../../../lib/containers/oci/ports.js';
import { runCommand } from '../../../../lib/process/command.js';
import { eventually } from '../../../support/eventually.js';
import { type NetworkBench, startNetworkBench } from '../../../support/network-bench.js';

describe('networks that callers ask for', () => {
  let bench: NetworkBench;
  let mark: string;
  /** A /16 of this spec's own. */
  let base: string;
  const failureOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'none',
      (error: Error) => error.message,
    );
  const ping = (address: string, namespacePath: string) =>
    runCommand('nsenter', [`--net=${namespacePath}`, 'busybox', 'ping', '-c', '1', '-W', '2', address]);
  const at = (network: Network, handle: string, subnet: string, rest = {}) =>
    bench.create(network, handle, { network: subnet, ...rest });
  const bridgesOf = (tag: string) => readdirSync('/sys/class/net').filter((name) => name.startsWith(`isth${tag}-b`));
  const linesOf = (tag: string) => bench.thingsOf(tag).filter((line) => line.startsWith('-'));

  before(async () => {
    bench = await startNetworkBench(1);
    mark = bench.mark;
    base = `10.${200 + (process.pid % 30)}`;
    await bench.serve(bench.outside.namespacePath, 7000, 'outside');
  });

  afterEach(() => bench.clear());

  after(() => bench.close());

  it('are shared by containers that reach each other, and nobody else', async () => {
    const network = await bench.open(`a${mark}`);
    const [one, other, stranger, pooled] = await Promise.all([
      at(network, 'one', `${base}.1.0/24`),
      at(network, 'other', `${base}.1.0/24`),
      at(network, 'stranger', `${base}.2.0/24`),
      bench.create(network, 'pooled'),
    ]);
    expect([one, other].map(({ containerIp }) => containerIp).sort()).to.deep.equal([`${base}.1.2`, `${base}.1.3`]);
    expect([one.hostIp, one.prefixLength, stranger.hostIp]).to.deep.equal([`${base}.1.1`, 24, `${base}.2.1`]);
    expect(bridgesOf(`a${mark}`)).to.have.length(2);
    await bench.serve(other.namespacePath, 8080, 'other');
    await ping(other.containerIp, one.namespacePath);
    expect(await bench.ask(other.containerIp, 8080, one.namespacePath)).to.equal(`other ${one.containerIp}`);
    for (const { namespacePath } of [stranger, pooled]) {
      expect(await bench.ask(other.containerIp, 8080, namespacePath)).to.equal('No route to host');
    }
    const port = await bench.hostListener(0);
    for (const address of [one.hostIp, stranger.hostIp, bench.outside.hostIp]) {
      expect(await bench.ask(address, port, one.namespacePath)).to.equal('No route to host');
    }
  });

  it('lead outside, and mapped ports lead to them from everywhere', async () => {
    const network = await bench.open(`b${mark}`);
    const app = await at(network, 'app', `${base}.1.0/24`, { netIn: [{ containerPort: 8080 }] });
    const sibling = await at(network, 'sibling', `${base}.1.0/24`);
    const pooled = await bench.create(network, 'pooled');
    await bench.serve(app.namespacePath, 8080, 'app');
    expect(await bench.ask(bench.outside.ip, 7000, app.namespacePath)).to.equal(`outside ${bench.outside.hostIp}`);
    const { hostPort } = app.mappedPorts[0]!;
    expect(await bench.ask('127.0.0.1', hostPort)).to.equal(`app ${app.hostIp}`);
    expect(await bench.ask(bench.outside.hostIp, hostPort)).to.include('app');
    for (const { namespacePath } of [bench.outside, app, sibling, pooled]) {
      expect(await bench.ask(bench.outside.hostIp, hostPort, namespacePath)).to.include('app ');
    }
  });

  it('have egress rules for each container', async () => {
    const network = await bench.open(`c${mark}`, { denyNetworks: ['0.0.0.0/0'] });
    const rule = { protocol: 'tcp' as const, ports: [{ start: 7000, end: 7000 }] };
    const open = await at(network, 'open', `${base}.1.0/24`, { netOut: [rule] });
    const closed = await at(network, 'closed', `${base}.1.0/24`);
    expect(await bench.ask(bench.outside.ip, 7000, open.namespacePath)).to.include('outside');
    expect(await bench.ask(bench.outside.ip, 7000, closed.namespacePath)).to.equal('Connection refused');
    await network.netOut(closed, [rule]);
    expect(await bench.ask(bench.outside.ip, 7000, closed.namespacePath)).to.include('outside');
    await bench.serve(open.namespacePath, 8080, 'open');
    expect(await bench.ask(open.containerIp, 8080, closed.namespacePath)).to.include('open');
  });

  it('give the address that is asked for, and refuse what cannot be', async () => {
    const network = await bench.open(`d${mark}`);
    const app = await at(network, 'app', `${base}.1.77/24`);
    expect(app.containerIp).to.equal(`${base}.1.77`);
    const before = bench.thingsOf(`d${mark}`);
    for (const [subnet, text] of [
      [`${base}.1.77/24`, 'the requested IP is already allocated'],
      [`${base}.1.1/24`, 'a container IP must not equal the gateway IP'],
      [`${base}.1.255/24`, 'a container IP must not equal the broadcast IP'],
      [`${base}.9.5`, 'a container IP must not equal the gateway IP'],
      [`${base}.1.0/25`, `the requested subnet (${base}.1.0/25) overlaps an existing subnet (${base}.1.0/24)`],
      [bench.pool, `the requested subnet (${bench.pool}) overlaps the dynamic allocation range (${bench.pool})`],
      ['198.51.101.0/25', 'the requested subnet (198.51.101.0/25) overlaps an existing subnet (198.51.101.0/24)'],
      ['X', 'invalid CIDR address: X/30'],
    ] as const) {
      expect(await failureOf(at(network, 'refused', subnet))).to.equal(text);
    }
    await eventually(() => expect(bench.thingsOf(`d${mark}`)).to.include.members(before));
    expect(
      await failureOf(
        at(network, 'x', `${base}.1.0/24`, { netOut: [{ protocol: 'all', ports: [{ start: 1, end: 1 }] }] }),
      ),
    ).to.equal('Ports cannot be specified for Protocol ALL');
    expect((await at(network, 'next', `${base}.1.0/24`)).containerIp).to.equal(`${base}.1.2`);
  });

  it('vanish with their last container, bridge and rules included', async () => {
    const tag = `e${mark}`;
    const network = await bench.open(tag, { spares: 0 });
    const before = bench.thingsOf(tag);
    const [one, other] = await Promise.all([
      at(network, 'one', `${base}.1.0/24`, { netIn: [{}], netOut: [{ protocol: 'all' }] }),
      at(network, 'other', `${base}.1.0/24`, { netIn: [{}], netOut: [{ protocol: 'all' }] }),
    ]);
    await network.release(one);
    await eventually(() => !existsSync(one.namespacePath) || undefined);
    expect(bridgesOf(tag)).to.have.length(1);
    expect(linesOf(tag).join('\n')).to.include(`-s ${base}.1.0/24 ! -o`);
    await network.release(other);
    await network.release(other);
    await eventually(() => expect(bench.thingsOf(tag)).to.deep.equal(before) && true);
  });

  it('are made anew while the last container of the old one is leaving', async () => {
    const network = await bench.open(`f${mark}`);
    let lease = await at(network, 'round', `${base}.1.0/24`);
    for (let round = 0; round < 5; round += 1) {
      await network.release(lease);
      lease = await at(network, `round-${round}`, `${base}.1.0/24`);
      await bench.serve(lease.namespacePath, 8080, 'round');
      expect(await bench.ask(lease.containerIp, 8080)).to.include('round');
    }
  });

  it('are found at once by those who remember the one that had their address before', async () => {
    const network = await bench.open(`0${mark}`);
    const sibling = await at(network, 'sibling', `${base}.1.3/24`);
    for (const handle of ['first', 'second', 'third']) {
      const lease = await eventually(() => at(network, handle, `${base}.1.2/24`));
      await bench.serve(lease.namespacePath, 8080, handle);
      expect(await bench.ask(lease.containerIp, 8080)).to.include(handle);
      expect(await bench.ask(lease.containerIp, 8080, sibling.namespacePath)).to.include(handle);
      await network.release(lease);
    }
  });

  it('belong to one engine at a time', async () => {
    const engines = await Promise.all([bench.open(`1${mark}`), bench.open(`2${mark}`)]);
    const results = await Promise.allSettled(engines.map((engine) => at(engine, 'app', `${base}.1.0/24`)));
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
    // Both give way when they meet at the same instant.
    expect(failures.length).to.be.within(1, 2);
    for (const failure of failures) {
      expect(failure).to.include(`(${base}.1.0/24) overlaps an existing subnet (${base}.1.0/24)`);
    }
  });

  it('outlive their engine: the next one adopts what is kept, and clears up the rest', async () => {
    const tag = `3${mark}`;
    const dead = await bench.open(tag, { spares: 0 });
    const kept = await at(dead, 'kept', `${base}.1.0/24`, { netIn: [{ containerPort: 8080 }, { hostPort: 19_900 }] });
    const lost = await at(dead, 'lost', `${base}.1.0/24`, { netOut: [{ protocol: 'all' }] });
    const stray = await at(dead, 'stray', `${base}.3.0/24`, { netIn: [{ hostPort: 19_900 }] });
    await bench.serve(kept.namespacePath, 8080, 'kept');

    const next = await bench.open(tag, { spares: 0 });
    expect(await bench.ask('127.0.0.1', kept.mappedPorts[0]!.hostPort)).to.include('kept');
    const lease = JSON.parse(JSON.stringify(kept)) as NetworkLease;
    expect(await next.adopt(lease)).to.equal(true);
    await next.release(lost);
    await next.reclaim([lease]);
    await eventually(() => !existsSync(lost.namespacePath) || undefined);
    expect(existsSync(stray.namespacePath)).to.equal(false);
    expect(bridgesOf(tag)).to.deep.equal([lease.bridge]);
    expect(linesOf(tag).join('\n')).to.not.include(`${base}.3.0/24`).and.not.include('"lost"');
    expect(lease.mappedPorts).to.deep.include({ hostPort: 19_900, containerPort: 19_900 });
    expect(await bench.ask('127.0.0.1', kept.mappedPorts[0]!.hostPort)).to.include('kept');
    const another = await at(next, 'another', `${base}.1.0/24`);
    expect(another.containerIp).to.equal(lost.containerIp);
    await ping(kept.containerIp, another.namespacePath);
    await next.release(another);
    await next.release(lease);
    await eventually(() => bridgesOf(tag).length === 0 || undefined);
    await dead.stop();
  });

  it('of which the last container was lost are removed at start', async () => {
    const tag = `4${mark}`;
    const dead = await bench.open(tag, { spares: 0 });
    const lost = await at(dead, 'lost', `${base}.1.0/24`);
    await runCommand('ip', ['netns', 'delete', lost.hostInterface]);
    const next = await bench.open(tag, { spares: 0 });
    expect(await next.adopt(lost)).to.equal(false);
    await next.release(lost);
    await next.reclaim([]);
    await eventually(() => bridgesOf(tag).length === 0 || undefined);
    await eventually(() => expect(linesOf(tag).join('\n')).to.not.include(base) && true);
    await dead.stop();
  });

  it('are not harmed by the second release of one that had their bridge’s name before', async () => {
    const tag = `6${mark}`;
    const network = await bench.open(tag, { spares: 0 });
    const gone = await at(network, 'gone', `${base}.1.0/24`);
    await network.release(gone);
    await eventually(() => bridgesOf(tag).length === 0 || undefined);
    // The name is free a moment after the bridge has gone.
    const first = await eventually(async () => {
      const lease = await at(network, 'first', `${base}.2.0/24`);
      if (lease.bridge === gone.bridge) return lease;
      await network.release(lease);
      return undefined;
    });
    const second = await at(network, 'second', `${base}.2.0/24`);
    // Neither by the one that took the link's name, nor when that has gone, too.
    await network.release(gone);
    await network.release(first);
    await eventually(() => !existsSync(first.namespacePath) || undefined);
    await network.release(gone);
    await network.stop();
    await bench.serve(second.namespacePath, 8080, 'second');
    expect(await bench.ask(second.containerIp, 8080)).to.include('second');
  });

  it('hold many containers that come and go at once', async () => {
    const tag = `5${mark}`;
    const network = await bench.open(tag, { spares: 0 });
    const before = bench.thingsOf(tag);
    const handles = Array.from({ length: 12 }, (_, number) => `c${number}`);
    const leases = await Promise.all(
      handles.map((handle) => at(network, handle, `${base}.1.0/24`, { netIn: [{}], netOut: [{ protocol: 'all' }] })),
    );
    expect(new Set(leases.map(({ containerIp }) => containerIp)).size).to.equal(12);
    await Promise.all(leases.map((lease) => network.release(lease)));
    await eventually(() => expect(bench.thingsOf(tag)).to.deep.equal(before) && true);
  });
});
